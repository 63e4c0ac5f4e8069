package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
	"github.com/spf13/cobra"
)

// maxWeight is the greatest weight of a backend.
const maxWeight = 256

// mode is what a person says of a backend, and how its command explains it.
type mode struct {
	name, short, long string
	waits             string // for what, with --wait
}

var modes = []mode{
	{
		name: "drain", short: "Give a backend no new sessions; those it has go on",
		long: `Give backends no new sessions. Those they have go on for as long as they want, and
probes go on too.`,
		waits: "the last session has ended",
	},
	{
		name: "ready", short: "Give a backend new sessions again",
		long: `Give backends new sessions again. One that was in maintenance is probed at once, and
gets sessions after the first good answer.`,
		waits: "new sessions can go there",
	},
	{
		name: "maintenance", short: "Drain a backend, and do not probe it",
		long: `Give backends no new sessions, and do not probe them: for work on a server that is
to be left alone. Sessions go on for as long as they want.`,
		waits: "the last session has ended",
	},
}

func newBackendsMode(r *remote, m mode) *cobra.Command {
	var w waiting
	c := &cobra.Command{
		Use:               m.name + " POOL/BACKEND... [--wait [--timeout DURATION]]",
		Short:             m.short,
		Long:              m.long,
		Example:           "  limeload backends " + m.name + " postgres/pg-1 --wait",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: r.completeBackends,
		RunE:              r.run(func(c *call) error { return setMode(c, m.name, &w, r.json()) }),
	}
	w.flags(c.Flags(), m.waits)
	return c
}

func setMode(c *call, mode string, w *waiting, asJSON bool) error {
	if err := w.check(); err != nil {
		return err
	}
	where, err := c.find(c.args)
	if err != nil {
		return err
	}
	until := w.untilIdle
	if mode == "ready" {
		until = w.untilUsable
	}
	if err := change(c, where, client.Settings{Mode: &mode}, asJSON, w.wait); err != nil || !w.wait {
		return err
	}
	return afterwards(c, where, until(c, where), asJSON)
}

// afterwards ends a command that has waited, with that error or none: a program is told
// what became of the backends, not what they were when it began.
func afterwards(c *call, where []client.Place, waited error, asJSON bool) error {
	if !asJSON || c.ctx.Err() != nil {
		return waited
	}
	rows := []backendJSON{}
	for _, at := range where {
		b, err := c.Backend(c.ctx, at.Pool, at.Backend)
		if err != nil {
			return cmp.Or(waited, err)
		}
		rows = append(rows, backendJSON{at.Pool, b})
	}
	return cmp.Or(waited, c.writeJSON(rows))
}

func newBackendsWeight(r *remote) *cobra.Command {
	return &cobra.Command{
		Use:   "weight POOL/BACKEND WEIGHT",
		Short: "Change the weight of a backend",
		Long: `Change the weight of a backend, 0 to 256. At weight 2 it gets twice the sessions of one
at weight 1, at 0 no new ones.`,
		Example:           "  limeload backends weight postgres/pg-1 5",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: r.completeFirst(r.completeBackends),
		RunE: r.run(func(c *call) error {
			weight, err := strconv.Atoi(c.args[1])
			if err != nil || weight < 0 || weight > maxWeight {
				return usage(fmt.Errorf("weight %s: want a number from 0 to %d", c.args[1], maxWeight))
			}
			where, err := c.find(c.args[:1])
			if err != nil {
				return err
			}
			return change(c, where, client.Settings{Weight: &weight}, r.json(), false)
		}),
	}
}

// find reads the names of backends. If one of them is wrong there are none, so that
// nothing is changed by half.
func (c *call) find(names []string) (where []client.Place, err error) {
	pools, err := c.Pools(c.ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		at, err := client.Find(pools, name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(where, at) {
			where = append(where, at)
		}
	}
	return where, nil
}

// change makes s of backends and tells what they are then; a program that waits is told
// later.
func change(c *call, where []client.Place, s client.Settings, asJSON, wait bool) error {
	rows := []backendJSON{}
	for _, at := range where {
		b, err := c.ChangeBackend(c.ctx, at.Pool, at.Backend, s)
		if err != nil {
			return err
		}
		rows = append(rows, backendJSON{at.Pool, b})
		if !asJSON {
			fmt.Fprintln(c.out, show.Clean(standing(at, &b)))
		}
	}
	if asJSON && !wait {
		if err := c.writeJSON(rows); err != nil {
			return err
		}
	}
	if err := warnForgotten(c, where); err != nil {
		return err
	}
	return warnUnusable(c, where)
}

// standing says how a backend is after a change.
func standing(at client.Place, b *client.Backend) string {
	text := fmt.Sprintf("%s: %s, weight %d, ", at, b.Mode, b.Weight)
	if b.Usable {
		text += "usable"
	} else {
		text += "no new sessions (" + cmp.Or(b.Excluded, b.Health) + ")"
	}
	return text + "; " + show.Plural(int(b.Active), "live session")
}

// warnUnusable tells of pools that a change has left without a usable backend: who
// made it at night wants to know at once.
func warnUnusable(c *call, where []client.Place) error {
	pools, err := c.Pools(c.ctx)
	if err != nil {
		return err
	}
	for i := range pools {
		p := &pools[i]
		touched := slices.ContainsFunc(where, func(at client.Place) bool { return at.Pool == p.Name })
		if touched && p.Usable == 0 {
			c.remark("warning: pool %s has no usable backend: new clients are refused", p.Name)
		}
	}
	return nil
}

func newBackendsAdd(r *remote) *cobra.Command {
	var n client.NewBackend
	var weight int
	var w waiting
	c := &cobra.Command{
		Use:   "add POOL ADDRESS [--name NAME] [--weight N] [--wait [--timeout DURATION]]",
		Short: "Add a backend to a pool",
		Long: `Add a backend to a pool. It gets no sessions before its first good probe. A reload does
not remove it; to keep it, write it into the file too.`,
		Example:           "  limeload backends add postgres 10.0.0.13:5432 --name pg-3 --wait --timeout 30s",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: r.completeFirst(r.completePools),
	}
	f := c.Flags()
	f.StringVar(&n.Name, "name", "", "`name` of the backend (default its address)")
	f.IntVar(&weight, "weight", 1, "`number` from 0 to 256")
	f.IntVar(&n.MaxConnections, "max-connections", 0, "most sessions at one time, a `number`; 0 = no limit")
	f.BoolVar(&n.Backup, "backup", false, "use it only while no other backend is usable")
	w.flags(f, "new sessions can go there")
	c.RunE = r.run(func(c *call) error {
		if weight < 0 || weight > maxWeight {
			return usage(fmt.Errorf("--weight %d: want a number from 0 to %d", weight, maxWeight))
		}
		n.Address, n.Weight = c.args[1], &weight
		return addBackend(c, c.args[0], n, &w, r.json())
	})
	return c
}

func addBackend(c *call, pool string, n client.NewBackend, w *waiting, asJSON bool) error {
	if err := w.check(); err != nil {
		return err
	}
	pools, err := c.Pools(c.ctx)
	if err != nil {
		return err
	}
	if _, err := client.FindPool(pools, pool); err != nil {
		return err
	}
	b, err := c.AddBackend(c.ctx, pool, n)
	if err != nil {
		return err
	}
	at := client.Place{Pool: pool, Backend: b.Name}
	switch {
	case !asJSON:
		_, err = fmt.Fprintln(c.out, show.Clean("added "+standing(at, &b)))
	case !w.wait:
		err = c.writeJSON([]backendJSON{{pool, b}})
	}
	if err == nil {
		err = warnForgotten(c, []client.Place{at})
	}
	if err != nil || !w.wait {
		return err
	}
	where := []client.Place{at}
	return afterwards(c, where, w.untilUsable(c, where), asJSON)
}

func newBackendsRemove(r *remote) *cobra.Command {
	var w waiting
	var force bool
	c := &cobra.Command{
		Use:   "remove POOL/BACKEND... [--force] [--wait [--timeout DURATION]]",
		Short: "Remove a backend from its pool",
		Long: `Remove backends from their pools. Their sessions may go on for the drain timeout of the
configuration, and are then cut; with --force they are cut at once. A reload does not
bring a removed backend back; limeload reload --reset-overrides does.`,
		Example:           "  limeload backends remove postgres/pg-3 --wait",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: r.completeBackends,
	}
	c.Flags().BoolVar(&force, "force", false, "cut its sessions at once")
	w.flags(c.Flags(), "the last session has ended")
	c.RunE = r.run(func(c *call) error { return removeBackends(c, force, &w, r.json()) })
	return c
}

// removedJSON is a backend that was removed, with the sessions that it had then.
type removedJSON struct {
	Pool     string `json:"pool"`
	Backend  string `json:"backend"`
	Sessions int    `json:"sessions"`
}

func removeBackends(c *call, force bool, w *waiting, asJSON bool) error {
	if err := w.check(); err != nil {
		return err
	}
	where, err := c.find(c.args)
	if err != nil {
		return err
	}
	rows := []removedJSON{}
	for _, at := range where {
		if err := c.RemoveBackend(c.ctx, at.Pool, at.Backend, force); err != nil {
			return err
		}
		live, err := sessionsAt(c, at)
		if err != nil {
			return err
		}
		rows = append(rows, removedJSON{at.Pool, at.Backend, live})
		if !asJSON {
			fmt.Fprintf(c.out, "removed %s; %s\n", show.Clean(at.String()), show.Plural(live, "live session"))
		}
	}
	if asJSON {
		if err := c.writeJSON(rows); err != nil {
			return err
		}
	}
	if err := warnForgotten(c, where); err != nil {
		return err
	}
	if err := warnUnusable(c, where); err != nil || !w.wait {
		return err
	}
	return w.untilIdle(c, where)
}
