// Package usage says what is wrong with a command line: in one line, which command and which
// flag or argument it is about, what it got, and what would be right.
//
//	check: --timeout 5: duration "5" has no unit; want "5s" or "5ms", for example
//	check: unknown flag --tiemout; did you mean --timeout?
//	drain: got nothing; want limeload backends drain POOL/BACKEND...
//
// By itself the library for commands says what the function said that could not parse
// something.
package usage

import "github.com/spf13/cobra"

// Explain has root, and the commands below it, say so. It is called when root has all of
// its commands.
func Explain(root *cobra.Command) {
	root.SetFlagErrorFunc(flagError)
	explainArguments(root)
}
