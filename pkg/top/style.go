package top

import (
	"strings"
	"unicode/utf8"

	"github.com/limeload/limeload/pkg/show"
)

// style is how a span looks. Colours are the terminal's own sixteen, so that they fit
// its theme; every one of them goes with a word that says the same.
type style string

const (
	plain  style = ""
	bold   style = "1"
	faint  style = "2"
	chosen style = "7" // reversed
	good   style = "32"
	poor   style = "33"
	bad    style = "1;31"
	lime   style = "1;92"
)

// span is text in one style.
type span struct {
	text  string
	style style
}

// line is spans from left to right.
type line []span

// cut is l in at most width characters.
func (l line) cut(width int) line {
	for i, s := range l {
		n := utf8.RuneCountInString(s.text)
		if n > width {
			return append(l[:i:i], span{show.Cut(s.text, width), s.style})
		}
		width -= n
	}
	return l
}

// in is all of l in one style.
func (l line) in(s style) line {
	return line{{l.text(), s}}
}

// text is l without its styles.
func (l line) text() string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(s.text)
	}
	return b.String()
}

// render writes lines with escape sequences (ECMA-48, SGR).
func render(lines []line) string {
	var b strings.Builder
	for i, l := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, s := range l {
			if s.style == plain {
				b.WriteString(s.text)
				continue
			}
			b.WriteString("\x1b[" + string(s.style) + "m" + s.text + "\x1b[m")
		}
	}
	return b.String()
}
