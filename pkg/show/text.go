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

// CutMiddle is Cut that keeps both ends, where a name has its kind and its number.
func CutMiddle(s string, width int) string {
	r := []rune(s)
	switch {
	case width <= 0:
		return ""
	case len(r) <= width:
		return s
	}
	front := width / 2
	return string(r[:front]) + "…" + string(r[len(r)-(width-front-1):])
}

// Wrap is text in lines of at most width characters, each of which begins with indent and
// ends with a line feed. A word that is longer has a line of its own. With a width of 0
// it is one line.
func Wrap(text string, width int, indent string) string {
	var b strings.Builder
	used := 0 // of the line under way; 0 before its first word
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case used == 0:
			b.WriteString(indent)
			used = utf8.RuneCountInString(indent)
		case width > 0 && used+1+n > width:
			b.WriteString("\n" + indent)
			used = utf8.RuneCountInString(indent)
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	if used > 0 {
		b.WriteByte('\n')
	}
	return b.String()
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
