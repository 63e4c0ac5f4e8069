package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
	"github.com/spf13/cobra"
)

// eventOptions are the flags of events.
type eventOptions struct {
	follow bool
	after  uint64
	last   int
}

func newEvents() *cobra.Command {
	var r remote
	var o eventOptions
	c := &cobra.Command{
		Use:   "events [-f] [--after ID] [-n NUMBER]",
		Short: "Tell what happened, and with -f what happens",
		Long: `Tell what happened: changes of health and mode, overrides, reloads, listeners that opened
and closed. limeload keeps the latest 1024 events. With -f it begins with the latest 10,
unless -n or --after say otherwise, and goes on as they happen until it is interrupted,
also over a restart of limeload.

With -o json and -f each line is one event, else all of them are one array.`,
		Example: `  limeload events -n 20
  limeload events -f`,
		Args: cobra.NoArgs,
	}
	r.flags(c.Flags())
	f := c.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with events as they happen")
	f.Uint64Var(&o.after, "after", 0, "only events after the one with this `ID`")
	f.IntVarP(&o.last, "last", "n", 0, "begin with the latest `number` of those that are kept; 0 = all")
	c.RunE = r.run(func(c *call) error {
		switch {
		case o.last < 0:
			return usage(fmt.Errorf("--last %d: want 0 or more", o.last))
		case !o.follow:
			return listEvents(c, &o, r.json())
		case !f.Changed("last") && !f.Changed("after"):
			o.last = followFrom
		}
		return followEvents(c, &o, r.json())
	})
	return c
}

// followFrom is how many events that were before are told before those to come.
const followFrom = 10

// listEvents tells of the events that are kept.
func listEvents(c *call, o *eventOptions, asJSON bool) error {
	events, err := c.latest(o)
	switch {
	case err != nil:
		return err
	case asJSON:
		return c.writeJSON(events)
	}
	width := 0
	for i := range events {
		width = max(width, utf8.RuneCountInString(subject(&events[i])))
	}
	for i := range events {
		fmt.Fprintln(c.out, eventText(&events[i], time.Now(), width))
	}
	return nil
}

// latest are the kept events that o wants.
func (c *call) latest(o *eventOptions) ([]client.Event, error) {
	events, err := c.Events(c.ctx, o.after)
	if o.last > 0 {
		events = events[max(0, len(events)-o.last):]
	}
	return events, err
}

// comeBack is how long followEvents waits before it looks for a server that has gone.
const comeBack = time.Second

// followEvents tells of events until the person has enough. When the connection breaks it
// comes back for what it has missed. After a restart everything is new.
func followEvents(c *call, o *eventOptions, asJSON bool) error {
	process, err := c.Status(c.ctx)
	if err != nil {
		return err
	}
	events, err := c.latest(o)
	if err != nil {
		return err
	}
	after := o.after
	tell := func(e client.Event) error {
		after = e.ID
		return tellEvent(c, &e, asJSON)
	}
	for _, e := range events {
		if err := tell(e); err != nil {
			return err
		}
	}
	for {
		err := c.Follow(c.ctx, after, tell)
		var lost *client.Unreachable
		switch {
		case errors.Is(err, context.Canceled):
			return nil
		case !errors.Is(err, client.ErrStreamEnded) && !errors.As(err, &lost):
			return err
		}
		c.remark("%v; looking for it again", err)
		now, err := c.awaitStatus()
		switch {
		case errors.Is(err, context.Canceled):
			return nil
		case err != nil:
			return err
		}
		if !now.Started.Equal(process.Started) {
			c.remark("limeload was restarted")
			process, after = now, 0
		}
	}
}

// awaitStatus waits for a server that answers, until the context ends. What a server
// refuses, it would refuse again: the token may be another one by now.
func (c *call) awaitStatus() (client.Status, error) {
	for {
		select {
		case <-time.After(comeBack):
		case <-c.ctx.Done():
			return client.Status{}, c.ctx.Err()
		}
		s, err := c.Status(c.ctx)
		var refused *client.Error
		if err == nil || errors.As(err, &refused) {
			return s, err
		}
	}
}

// followWidth is the width of what an event is about where later ones are not known.
const followWidth = 16

// tellEvent writes an event that just happened.
func tellEvent(c *call, e *client.Event, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(c.out).Encode(e)
	}
	_, err := fmt.Fprintln(c.out, eventText(e, time.Now(), followWidth))
	return err
}

// eventText is an event as a line. A reason of more lines, as the problems of a file are,
// goes on below.
func eventText(e *client.Event, now time.Time, width int) string {
	text := e.New
	if e.Old != "" {
		text = e.Old + " -> " + e.New
	}
	reason := strings.Split(strings.TrimRight(e.Reason, "\n"), "\n")
	if len(reason) == 1 && reason[0] != "" {
		text += ": " + reason[0]
	}
	line := fmt.Sprintf("%s  %-8s  %-*s  %s", show.Clock(now, e.Time), show.Clean(e.Kind), width, subject(e), show.Clean(text))
	if len(reason) > 1 {
		for _, r := range reason {
			line += "\n          " + show.Clean(r)
		}
	}
	return line
}

// subject is what an event is about; "-" for the whole process.
func subject(e *client.Event) string {
	about := cmp.Or(e.Listener, e.Pool, "-")
	if e.Backend != "" {
		about = client.Place{Pool: e.Pool, Backend: e.Backend}.String()
	}
	return show.Clean(about)
}
