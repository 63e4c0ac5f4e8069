// Package show writes what operators read in a terminal: numbers with units that fit a
// column, times as people say them, tables with aligned columns, and lines of little
// bars.
//
// What it is given may come from a peer (a probe's words hold what a server said), so
// text is made harmless first: a terminal obeys control characters.
package show
