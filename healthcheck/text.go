package healthcheck

import (
	"strings"
	"unicode"
)

const (
	// maxText is how much of what a server says about itself is shown, in bytes.
	maxText = 200

	// maxReason is the same for all that is wrong with an answer, our own words included:
	// the names in a certificate, say, and that none of them is the right one.
	maxReason = 600
)

// firstLine is the first line with anything on it of what somebody else wrote: cut to
// maxText, and without what a terminal would not print.
func firstLine(s string) string {
	for line := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if line = strings.TrimSpace(printable(line, maxText)); line != "" {
			return line
		}
	}
	return ""
}

// printable is s cut to most bytes, with a '.' for everything that is not printed.
func printable(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		if r == '\t' {
			return ' '
		}
		return '.'
	}, strings.ToValidUTF8(s, "."))
}
