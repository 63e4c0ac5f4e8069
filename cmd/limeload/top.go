package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/limeload/limeload/pkg/top"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// fastest is the least interval of top: the requests of a faster one would be the load.
const fastest = 100 * time.Millisecond

func newTop() *cobra.Command {
	var r remote
	var interval time.Duration
	c := &cobra.Command{
		Use:   "top [--interval DURATION]",
		Short: "Watch backends and sessions live",
		Long: `Watch a running limeload: what it moves, its backends, and its sessions.

  up down pgup pgdn  select          tab    switch between backends and sessions
  d r m              drain, ready, maintenance for the selected backend
  k                  kill the selected session, or all of the selected backend
  enter              only the sessions of the selected backend; esc or enter: all
  o                  order of the sessions: age, idle, bytes, client
  q                  quit

Every change asks first. Without a terminal one frame is written as text. NO_COLOR
turns colours off.`,
		Example: `  limeload top
  limeload top --interval 5s | tee frame.txt`,
		Args: cobra.NoArgs,
	}
	r.flags(c.Flags())
	c.Flags().MarkHidden("output") // the error of which says what to use instead
	c.Flags().DurationVar(&interval, "interval", time.Second, "`duration` from one look to the next")
	c.RunE = r.run(func(c *call) error {
		switch {
		case r.json():
			return usage(errors.New("top: -o json is not for a view; use status, backends and sessions"))
		case interval < fastest:
			return usage(fmt.Errorf("--interval %s: want %s or more", interval, fastest))
		case !interactive():
			return top.Print(c.ctx, c.Client, interval, c.out)
		}
		if _, err := c.Status(c.ctx); err != nil {
			return err // on a screen that stays
		}
		return top.Run(c.ctx, c.Client, interval, os.Stdin, os.Stdout)
	})
	return c
}

// interactive reports whether a person looks at a terminal that can place text.
func interactive() bool {
	term := os.Getenv("TERM")
	return isatty.IsTerminal(os.Stdin.Fd()) && isatty.IsTerminal(os.Stdout.Fd()) && term != "" && term != "dumb"
}
