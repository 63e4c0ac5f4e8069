// Package watch tells when the content of a file has changed.
//
// A file is seldom changed in place. Editors write another one and rename it, and
// Kubernetes swaps a link to a directory:
//
//	/etc/limeload/limeload.toml -> ..data/limeload.toml
//	/etc/limeload/..data        -> ..2026_05_04_10_00_00.123
//
// So what is watched are directories: that of every link on the way to the file, and
// that of the file itself. Whatever happens to one of those names starts a wait; when
// nothing has happened for a moment, the way is followed anew and the content compared
// with what it was. Only another content is news: a touch, a changed mode or an
// editor's temporary file is not, and neither is a file that is missing or empty,
// which is one that is just being replaced.
//
// A writer that pauses for longer than a moment in the middle of a file cannot be told
// from one that is done. Who renames a finished file over the old one is safe.
//
// Network file systems do not tell of changes that other machines make, and a
// directory that is replaced takes its watch with it: therefore the content is also
// looked at every few seconds.
package watch
