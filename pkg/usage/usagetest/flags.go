// Package usagetest is what the commands of every program must say of their flags.
package usagetest

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Flags tries every flag of every command below root that cannot have just any value, of which
// there must be some at least: it says what is wrong with one, where, and what would be right,
// in words that are not those of a function that parses. root makes the commands anew.
func Flags(t *testing.T, root func() *cobra.Command, least int) {
	t.Helper()
	tried := 0
	var try func(path []string, c *cobra.Command)
	try = func(path []string, c *cobra.Command) {
		for _, below := range c.Commands() {
			try(append(path[:len(path):len(path)], below.Name()), below)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			switch f.Value.Type() {
			case "string", "stringArray", "text", "stringSlice":
				return
			}
			tried++
			whole := root()
			whole.SetArgs(append(path[:len(path):len(path)], "--"+f.Name+"=many limes"))
			err := whole.Execute()
			if err == nil {
				t.Errorf("%s --%s: got no error; want one", c.CommandPath(), f.Name)
				return
			}
			got, where := err.Error(), c.Name()+": --"+f.Name+` "many limes": `
			if !strings.HasPrefix(got, where) || !strings.Contains(got, "want") || strings.Contains(got, "\n") {
				t.Errorf("%s: got %q; want one line that begins with %q and says what is wanted", c.CommandPath(), got, where)
			}
			for _, internal := range []string{"strconv", "parsing", "time:", "invalid syntax"} {
				if strings.Contains(got, internal) {
					t.Errorf("%s: got %q; want words for a person", c.CommandPath(), got)
				}
			}
		})
	}
	try(nil, root())
	if tried < least {
		t.Errorf("got %d flags; want all that can be wrong", tried)
	}
}
