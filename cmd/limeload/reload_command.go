package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/show"
	"github.com/spf13/cobra"
)

func newReload() *cobra.Command {
	var r remote
	var dryRun, reset bool
	c := &cobra.Command{
		Use:   "reload [--dry-run] [--reset-overrides]",
		Short: "Have a running limeload read its configuration again",
		Long: `Have a running limeload read its configuration again, change what differs, and say what
that was. No connection is lost. A file with problems changes nothing, and all of
them are told.

What was changed by hand (modes, weights, backends) stays, so that a reload does not
un-drain a server; with --reset-overrides it goes back to what the file says.

Exit status: 0 done, 1 limeload does not answer, 2 the file has problems.`,
		Example: `  limeload reload --dry-run
  limeload reload`,
		Args: cobra.NoArgs,
	}
	r.flags(c.Flags())
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would change")
	c.Flags().BoolVar(&reset, "reset-overrides", false, "go back to what the file says of modes, weights and backends")
	c.RunE = r.run(func(c *call) error {
		changes, err := c.Reload(c.ctx, dryRun, reset)
		switch {
		case err != nil:
			return reloadError(err)
		case r.json():
			return c.writeJSON(changes)
		}
		return printChanges(c, changes, dryRun)
	})
	return c
}

// reloadError tells every problem of a file, each on a line that stands for itself.
func reloadError(err error) error {
	var e *client.Error
	if !errors.As(err, &e) || e.Status != http.StatusUnprocessableEntity || len(e.Problems) == 0 {
		return err
	}
	lines := make([]error, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		lines = append(lines, errors.New(show.Clean(p.Message)))
	}
	return usage(errors.Join(append(lines, errors.New("reload: "+e.Detail))...))
}

func printChanges(c *call, changes []client.Change, dryRun bool) error {
	var b strings.Builder
	var t config.Tally
	for i := range changes {
		fmt.Fprintln(&b, show.Clean(changeText(&changes[i])))
		t.Add(config.Change{Path: changes[i].Key, Restart: changes[i].Restart, Overridden: changes[i].Overridden})
	}
	switch {
	case len(changes) == 0:
		b.WriteString("nothing differs\n")
	case dryRun:
		fmt.Fprintf(&b, "%s; nothing was done\n", show.Clean(t.Phrase("to make")))
	default:
		fmt.Fprintf(&b, "reloaded: %s\n", show.Clean(t.String()))
	}
	_, err := c.out.Write([]byte(b.String()))
	return err
}

// changeText is a change as the log tells it.
func changeText(c *client.Change) string {
	text := c.Key
	switch {
	case c.Old == "" && c.New == "":
	case c.Old == "":
		text += ": added"
	case c.New == "":
		text += ": removed"
	default:
		text += ": " + c.Old + " -> " + c.New
	}
	if c.Restart {
		text += " (needs a restart)"
	}
	if c.Overridden {
		text += " (without effect under an override)"
	}
	return text
}
