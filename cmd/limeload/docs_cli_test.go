package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const cliPreamble = `# Commands

Written by ` + "`go test ./cmd/limeload -run TestCommandReference -update`" + ` from what the program itself says.

Exit statuses, the log and what to do when are in [operations](operations.md); keys of the file in
[configuration](configuration.md).
`

// docs/cli.md is what the program says of its commands.
func TestCommandReference(t *testing.T) {
	const path = "docs/cli.md"
	want := cliPreamble + commandsOf(newRoot())
	if *update {
		if err := os.WriteFile("../../"+path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := read(t, path); got != want {
		t.Errorf("%s is out of date: go test ./cmd/limeload -run %s -update", path, t.Name())
	}
}

// Every command explains itself: what it does in a line and in more, and an example.
func TestCommandsExplainThemselves(t *testing.T) {
	for _, c := range all(newRoot()) {
		if c.Short == "" || c.Long == "" {
			t.Errorf("%s has no text", c.CommandPath())
		}
		for line := range strings.Lines(c.Long) {
			if len(line) > 100 {
				t.Errorf("%s: a line of %d characters does not fit a terminal: %s", c.CommandPath(), len(line), line)
			}
		}
	}
}

// all are the commands below c that are the program's own, each after its parent.
func all(c *cobra.Command) (list []*cobra.Command) {
	for _, sub := range c.Commands() {
		if sub.Name() == "help" || sub.Name() == "completion" {
			continue
		}
		list = append(append(list, sub), all(sub)...)
	}
	return list
}

func commandsOf(root *cobra.Command) string {
	var b strings.Builder
	for _, c := range all(root) {
		writeCommand(&b, c)
	}
	return b.String()
}

func writeCommand(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n", c.CommandPath(), fenced(strings.TrimSuffix(c.UseLine(), " [flags]")))
	fmt.Fprintf(b, "%s\n", fenced(strings.TrimRight(c.Long, "\n")))
	if c.Example != "" {
		fmt.Fprintf(b, "For example:\n\n%s\n", fenced(strings.ReplaceAll(c.Example[2:], "\n  ", "\n")))
	}
	if flags := flagsOf(c.LocalFlags()); flags != "" {
		fmt.Fprintf(b, "| flag | default | meaning |\n|---|---|---|\n%s", flags)
	}
	if c.HasParent() && c.Parent().HasParent() {
		fmt.Fprintf(b, "\nand the flags of `%s` for where the API is: `--admin`, `--token-file`, `-o`.\n", c.Parent().CommandPath())
	}
}

func fenced(text string) string { return "```\n" + text + "\n```\n" }

func flagsOf(fs *pflag.FlagSet) string {
	var b strings.Builder
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden {
			return
		}
		kind, meaning := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if kind != "" {
			name += " " + strings.ToUpper(kind)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, defaultOf(f), strings.ReplaceAll(meaning, "|", `\|`))
	})
	return b.String()
}

func defaultOf(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "[]", "false":
		return ""
	}
	return "`" + f.DefValue + "`"
}
