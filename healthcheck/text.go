package healthcheck

import (
	"strings"
	"unicode"
)

// maxText is how much of what a server says about itself is shown, in bytes.
const maxText = 200

// firstLine is the first line with anything on it of what somebody else wrote: cut to
// maxText, and without what a terminal would not print.
func firstLine(s string) string {
	for line := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if line = strings.TrimSpace(printable(line)); line != "" {
			return line
		}
	}
	return ""
}

// printable is s cut to maxText, with a '.' for everything that is not printed.
func printable(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
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
