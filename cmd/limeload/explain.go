package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
	"github.com/spf13/cobra"
)

func newExplain() *cobra.Command {
	var r remote
	var listener, from string
	c := &cobra.Command{
		Use:   "explain [--listener NAME] --client ADDR",
		Short: "Say which backend a connection would get now, and why",
		Long: `Say which backend a connection from a client would get now, and why: the algorithm, every
candidate with its load, and who is out of the question for what reason since when.
It is the pick itself that answers, without a connection and without taking anybody's
turn.`,
		Example: `  limeload explain --listener postgres --client 10.1.2.3`,
		Args:    cobra.NoArgs,
		RunE:    r.run(func(c *call) error { return explain(c, listener, from, r.json()) }),
	}
	r.flags(c.Flags())
	c.Flags().StringVar(&listener, "listener", "", "`name` of the listener; may be left out where there is only one")
	c.Flags().StringVar(&from, "client", "", "IP `address` of the client, or unix")
	c.MarkFlagRequired("client")
	complete(c, "listener", r.completeListeners)
	return c
}

func explain(c *call, listener, from string, asJSON bool) error {
	listener, err := c.onlyListener(listener)
	if err != nil {
		return err
	}
	e, err := c.Explain(c.ctx, listener, from)
	switch {
	case err != nil:
		return err
	case asJSON:
		return c.writeJSON(e)
	}
	return printExplanation(c.out, &e)
}

// onlyListener checks the name of a listener; an empty one is the only one's.
func (c *call) onlyListener(name string) (string, error) {
	all, err := c.Listeners(c.ctx)
	switch {
	case err != nil:
		return "", err
	case name == "" && len(all) == 1:
		return all[0].Name, nil
	case name == "" && len(all) > 1:
		return "", usage(fmt.Errorf("which listener? Name one of %s with --listener", strings.Join(client.ListenerNames(all), ", ")))
	}
	_, err = client.FindListener(all, name)
	return name, err
}

func printExplanation(w io.Writer, e *client.Explanation) error {
	pick := "none"
	for i := range e.Candidates {
		if c := &e.Candidates[i]; c.Backend == e.Backend && e.Backend != "" {
			pick = c.Backend
			if c.Address != c.Backend {
				pick += " (" + c.Address + ")"
			}
		}
	}
	if e.RefusedBy != "" {
		fmt.Fprintln(w, show.Clean("refused  "+e.RefusedBy))
		pick += ", were it not refused"
	}
	fmt.Fprintln(w, show.Clean("pick     "+pick))
	fmt.Fprintln(w, show.Clean("why      "+e.Reason))
	fmt.Fprintln(w, show.Clean(fmt.Sprintf("for      client %s of listener %s, pool %s", e.Client, e.Listener, e.Pool)))
	fmt.Fprintln(w)
	return candidateTable(e).Write(w)
}

func candidateTable(e *client.Explanation) *show.Table {
	now := time.Now()
	t := show.NewTable("", "BACKEND", "HEALTH", "MODE", ">LOAD", ">ACTIVE", ">WEIGHT", "LAST PROBE", "SINCE", "AGAINST IT")
	for i := range e.Candidates {
		c := &e.Candidates[i]
		mark := " "
		if c.Backend == e.Backend {
			mark = ">"
		}
		b := client.Backend{Active: c.Active, MaxConnections: c.MaxConnections, Weight: c.Weight, Effective: c.EffectiveWeight}
		load := ""
		if c.Weight > 0 {
			load = fmt.Sprintf("%.3g", c.Load)
		}
		since := ""
		if c.Excluded != "" && c.Since != nil {
			since = show.Ago(now, c.Since)
		}
		t.Row(mark, c.Backend, c.Health, c.Mode, load, activeOf(&b), weightOf(&b), lastProbe(c, now), since, c.Excluded)
	}
	return t
}

// lastProbe is what the last probe said, and when.
func lastProbe(c *client.Candidate, now time.Time) string {
	if c.Probe == "" {
		return ""
	}
	said := c.Probe
	if c.ProbeReason != "" {
		said += " (" + c.ProbeReason + ")"
	}
	return said + ", " + show.Ago(now, c.ProbeAt) + " ago"
}
