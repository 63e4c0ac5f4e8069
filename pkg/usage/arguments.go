package usage

import (
	"fmt"
	"strings"

	"github.com/limeload/limeload/pkg/config"
	"github.com/spf13/cobra"
)

// explainArguments has c, and the commands below it, say what is wrong with arguments and
// what would be right; by itself the library calls a file that was not given with -c an
// unknown command.
func explainArguments(c *cobra.Command) {
	for _, below := range c.Commands() {
		explainArguments(below)
	}
	check := c.Args
	if check == nil || c.Name() == "help" { // which asks Argument itself
		return
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if check(c, args) == nil {
			return missingFlags(c)
		}
		return Argument(c, args)
	}
}

// Argument is the error of arguments that c does not take.
func Argument(c *cobra.Command, args []string) error {
	var names, given []string
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() {
			names = append(names, below.Name())
		}
	}
	for _, a := range args {
		given = append(given, fmt.Sprintf("%q", a))
	}
	switch {
	case len(names) > 0 && len(args) > 0:
		return fmt.Errorf("unknown command %s for %q%s", given[0], c.CommandPath(), config.DidYouMean(args[0], names))
	case len(args) == 0:
		given = []string{"nothing"}
	}
	return fmt.Errorf("%s: got %s; want %s", c.Name(), strings.Join(given, " "), strings.TrimSpace(c.Parent().CommandPath()+" "+c.Use))
}
