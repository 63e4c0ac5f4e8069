package show

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean is text in one line that a terminal does not obey: what is not printable is
// escaped as in a Go string.
func Clean(s string) string {
	if !strings.ContainsFunc(s, unprintable) && utf8.ValidString(s) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// Cut is s in at most width characters; where it is longer it ends with an ellipsis.
func Cut(s string, width int) string {
	if width <= 0 {
		return ""
	}
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	r := []rune(s)
	return string(r[:width-1]) + "…"
}

// CutFront is Cut that keeps the end, where names of one kind differ.
func CutFront(s string, width int) string {
	r := []rune(s)
	switch {
	case width <= 0:
		return ""
	case len(r) <= width:
		return s
	}
	return "…" + string(r[len(r)-width+1:])
}

// Pad is s in exactly width characters, cut or with spaces behind it; before it where
// right is set.
func Pad(s string, width int, right bool) string {
	s = Cut(s, width)
	space := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
	if right {
		return space + s
	}
	return s + space
}
