package main

import (
	"io"
	"os"

	"github.com/charmbracelet/x/term"
)

// terminal is what can be said of where results are written. The zero value is no
// terminal: lines are as long as they are, without colours, for programs and files.
type terminal struct {
	width   int // of a line, in characters; 0 = no bound
	colours bool
}

// terminalOf looks at where results go. Colours are off with NO_COLOR, as
// no-color.org has it, and on a terminal that knows none.
func terminalOf(w io.Writer) terminal {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(f.Fd()) {
		return terminal{}
	}
	width, _, err := term.GetSize(f.Fd())
	if err != nil {
		width = 0
	}
	kind := os.Getenv("TERM")
	return terminal{width, os.Getenv("NO_COLOR") == "" && kind != "" && kind != "dumb"}
}

// Colours are the terminal's own, as those of top; each goes with a word that says the
// same.
const (
	good = "32"
	poor = "33"
	bad  = "1;31"
)

// paint is text in a colour, where there are any (ECMA-48, SGR).
func (t terminal) paint(colour, text string) string {
	if !t.colours {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[m"
}
