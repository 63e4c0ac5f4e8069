package config

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// File, Line and Column say where; lines and columns (bytes) count from 1.
	// All are zero for a value that came from a flag or from Go code.
	File         string
	Line, Column int

	// Path is the key's, as in pool[0].backend[2].weight, or the flag as it
	// was given, as in --listen :99999.
	Path string

	// Text says what is wrong and what would be right, without the path.
	Text string
}

// String is one line: FILE:LINE: PATH: TEXT, without what is not known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	return b.String() + p.Text
}

// Problems is the error of Validate and of Overlay: one problem or more. Those
// of the file come first, in its order.
type Problems []Problem

// Error is one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// err is nil without problems: a nil Problems in an error would not be.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// sort puts what has a position first, in the order of the file. What has none
// keeps the order in which it was found.
func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.lineOrLast(), b.lineOrLast()), cmp.Compare(a.Column, b.Column))
	})
}

func (p Problem) lineOrLast() int {
	if p.Line == 0 {
		return math.MaxInt
	}
	return p.Line
}

// SyntaxError is the error of Load and Parse for a file that is not TOML, or
// in which a value has the wrong type. It comes alone: what follows it in the
// file was not understood.
type SyntaxError struct{ Problem }

// Error is one line: FILE:LINE:COLUMN: PATH: TEXT.
func (e *SyntaxError) Error() string {
	where := fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
	if e.Path == "" {
		return where + e.Text
	}
	return where + e.Path + ": " + e.Text
}
