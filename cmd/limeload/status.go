package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
	"github.com/spf13/cobra"
)

func newStatus() *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "status",
		Short: "Say how a running limeload is",
		Long: `Say how a running limeload is: whether clients can be served, by which listeners and
pools, what is wrong with the backends that get no new sessions, and which clients access
lists and limits have refused since the start.

Exit status: 0 it is ready, 1 it is not or does not answer, 2 usage.`,
		Example: `  limeload status
  limeload status --admin 10.0.0.5:5480 --token-file /etc/limeload/token`,
		Args: cobra.NoArgs,
		RunE: r.run(func(c *call) error { return status(c, r.json()) }),
	}
	r.flags(c.Flags())
	return c
}

// statusJSON is what scripts read: the resources of the API that it is made of.
type statusJSON struct {
	Status    client.Status     `json:"status"`
	Listeners []client.Listener `json:"listeners"`
	Pools     []client.Pool     `json:"pools"`
}

func status(c *call, asJSON bool) (err error) {
	var s statusJSON
	if s.Status, err = c.Status(c.ctx); err != nil {
		return err
	}
	if s.Listeners, err = c.Listeners(c.ctx); err != nil {
		return err
	}
	if s.Pools, err = c.Pools(c.ctx); err != nil {
		return err
	}
	if asJSON {
		err = c.writeJSON(s)
	} else {
		err = c.printStatus(&s)
	}
	if err == nil && !s.Status.Ready {
		return &exitError{status: exitFailed}
	}
	return err
}

func (c *call) printStatus(s *statusJSON) error {
	c.printProcess(&s.Status)
	tables := []*show.Table{listenerTable(s.Listeners), poolTable(s.Pools)}
	if refused := refusedTable(s.Listeners, s.Status.Time); refused != nil {
		tables = append(tables, refused)
	}
	for _, t := range tables {
		fmt.Fprintln(c.out)
		if err := c.table(t); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) printProcess(s *client.Status) {
	ready, colour := "yes", good
	if !s.Ready {
		ready, colour = "NO: "+s.Reason, bad
	}
	sessions := fmt.Sprint(s.Sessions)
	if s.Limit > 0 {
		sessions += fmt.Sprintf(" of at most %d", s.Limit)
	}
	file := cmp.Or(s.ConfigFile, "none: flags alone")
	for _, line := range []struct{ name, value string }{
		{"ready", ready},
		{"sessions", sessions},
		{"uptime", show.Seconds(s.Uptime)},
		{"engine", fmt.Sprintf("%s, %s", s.Engine, show.Plural(s.Loops, "loop"))},
		{"file", file},
		{"state file", s.StateFile},
		{"overrides", overridden(s.Overrides)},
		{"version", s.Version},
	} {
		if line.value == "" {
			continue
		}
		text := strings.TrimPrefix(show.Wrap(show.Clean(line.value), c.screen.width, statusIndent), statusIndent)
		if line.name == "ready" {
			text = c.screen.paint(colour, strings.TrimSuffix(text, "\n")) + "\n"
		}
		fmt.Fprintf(c.out, "%-10s  %s", line.name, text)
	}
}

const statusIndent = "            "

func overridden(n int) string {
	if n == 0 {
		return ""
	}
	return show.Plural(n, "backend") + ", not as the file says (limeload backends)"
}

func listenerTable(all []client.Listener) *show.Table {
	t := show.NewTable("LISTENER", "ADDRESS", "POOL", ">ACTIVE", ">SESSIONS", ">UP", ">DOWN", "NOTE")
	for i := range all {
		l := &all[i]
		note := ""
		switch {
		case l.Removed:
			note = "removed; its last sessions live"
		case l.Held > 0:
			note = fmt.Sprintf("%d held by a limit", l.Held)
		}
		t.Row(l.Name, strings.Join(l.Addresses, " "), l.Pool, fmt.Sprint(l.Active), show.Count(float64(l.Sessions)),
			show.Bytes(float64(l.BytesUp)), show.Bytes(float64(l.BytesDown)), note)
	}
	return t
}

func poolTable(all []client.Pool) *show.Table {
	t := show.NewTable("POOL", ">USABLE", ">ACTIVE", "NOTE")
	for i := range all {
		p := &all[i]
		var active int64
		for _, b := range slices.Concat(p.Backends, p.Leaving) {
			active += b.Active
		}
		t.Row(p.Name, fmt.Sprintf("%d of %d", p.Usable, len(p.Backends)), fmt.Sprint(active), troubles(p))
	}
	return t
}

// maxTroubles is how many backends a line of a pool tells of.
const maxTroubles = 3

// troubles says what is against a pool's backends, the first few of them, and whom they
// keep waiting.
func troubles(p *client.Pool) string {
	var all []string
	if p.Split != "" {
		all = append(all, "several primaries: "+p.Split)
	}
	for i := range p.Backends {
		if b := &p.Backends[i]; !b.Usable {
			all = append(all, b.Name+": "+cmp.Or(b.Excluded, b.Reason, b.Health))
		}
	}
	if more := len(all) - maxTroubles; more > 0 {
		all = append(all[:maxTroubles], fmt.Sprintf("and %d more", more))
	}
	if p.Held > 0 {
		all = append(all, fmt.Sprintf("%d held by the backends' rate", p.Held))
	}
	return strings.Join(all, "; ")
}
