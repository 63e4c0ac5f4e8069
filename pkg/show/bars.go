package show

import "strings"

// bars are eight heights of a line of bars; nothing at all is a space, so that the least
// there is can be told from none.
var bars = []rune("▁▂▃▄▅▆▇█")

// Bars is the last width points as a line of bars, of which the highest is most; the
// highest of the points where that is not more than 0. Points are at least 0. What is
// missing before them is blank.
func Bars(points []float64, width int, most float64) string {
	points = points[max(0, len(points)-width):]
	if most <= 0 {
		for _, p := range points {
			most = max(most, p)
		}
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", width-len(points)))
	for _, p := range points {
		switch {
		case p <= 0 || most <= 0:
			b.WriteByte(' ')
		default:
			b.WriteRune(bars[min(len(bars)-1, int(p/most*float64(len(bars))))])
		}
	}
	return b.String()
}
