package main

import (
	"fmt"
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
candidate with its load, and who is out of the question for what reason since when. Where
an access list or a limit is in the client's way, it names the rule, and says whether the
client would be refused, held until it fits, or queued in the kernel.
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
	return c.printExplanation(&e)
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

func (c *call) printExplanation(e *client.Explanation) error {
	pick := "none"
	for i := range e.Candidates {
		if b := &e.Candidates[i]; b.Backend == e.Backend && e.Backend != "" {
			pick = b.Backend
			if b.Address != b.Backend {
				pick += " (" + b.Address + ")"
			}
		}
	}
	if e.RefusedBy != "" {
		colour := poor // it may still get in
		if e.Outcome == "refused" {
			colour = bad
		}
		c.fact(c.screen.paint(colour, fmt.Sprintf("%-7s", e.Outcome)), e.RefusedBy)
		pick += ", were it not " + e.Outcome
	}
	c.fact("pick   ", pick)
	c.fact("why    ", reasonOf(e))
	c.fact("for    ", fmt.Sprintf("client %s of listener %s, pool %s", e.Client, e.Listener, e.Pool))
	fmt.Fprintln(c.out)
	return c.table(candidateTable(e))
}

// fact writes a line of an explanation; a long one goes on below its text.
func (c *call) fact(name, text string) {
	lines := show.Wrap(show.Clean(text), c.screen.width, factIndent)
	fmt.Fprint(c.out, name, "  ", strings.TrimPrefix(lines, factIndent))
}

const factIndent = "         "

// reasonOf is the sentence without what keeps the client out, which has a line of its own.
func reasonOf(e *client.Explanation) string {
	if _, why, ok := strings.Cut(e.Reason, "; if it were not: "); ok && e.RefusedBy != "" {
		return why
	}
	return e.Reason
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
