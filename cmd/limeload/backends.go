package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
	"github.com/spf13/cobra"
)

func newBackends() *cobra.Command {
	var r remote
	var pool string
	list := r.run(func(c *call) error { return listBackends(c, pool, r.json()) })
	c := &cobra.Command{
		Use:   "backends",
		Short: "List and change the backends of a running limeload",
		Long: `List the backends of a running limeload, or change them. What is changed here is an
override: it lies over the file, survives reloads, and ends with the process unless
[admin] state_file keeps it. limeload reload --reset-overrides goes back to the file.

A backend is named POOL/BACKEND, or BACKEND alone where only one pool has it.`,
		Example: `  limeload backends
  limeload backends drain postgres/pg-1 --wait --timeout 10m
  limeload backends ready postgres/pg-1`,
		Args: cobra.NoArgs,
		RunE: list,
	}
	r.flags(c.PersistentFlags())
	ls := &cobra.Command{
		Use:   "list [--pool NAME]",
		Short: "List the backends",
		Long: `List the backends with what probes say (health), what a person says (mode), how many
sessions they have, and why one gets no new sessions.`,
		Args: cobra.NoArgs,
		RunE: list,
	}
	for _, with := range []*cobra.Command{c, ls} {
		with.Flags().StringVar(&pool, "pool", "", "only of this pool, by `name`")
		complete(with, "pool", r.completePools)
	}
	c.AddCommand(ls, newBackendsAdd(&r), newBackendsWeight(&r), newBackendsRemove(&r))
	for _, m := range modes {
		c.AddCommand(newBackendsMode(&r, m))
	}
	return c
}

// backendJSON is a backend with the pool that it belongs to.
type backendJSON struct {
	Pool string `json:"pool"`
	client.Backend
}

func listBackends(c *call, pool string, asJSON bool) error {
	pools, err := c.Pools(c.ctx)
	if err != nil {
		return err
	}
	if pool != "" {
		p, err := client.FindPool(pools, pool)
		if err != nil {
			return err
		}
		pools = []client.Pool{*p}
	}
	rows := []backendJSON{}
	for i := range pools {
		for _, b := range slices.Concat(pools[i].Backends, pools[i].Leaving) {
			rows = append(rows, backendJSON{pools[i].Name, b})
		}
	}
	if asJSON {
		return c.writeJSON(rows)
	}
	if err := c.table(backendTable(rows)); err != nil {
		return err
	}
	return remarkAbsent(c, pools)
}

// remarkAbsent tells of the overrides that the table does not show.
func remarkAbsent(c *call, pools []client.Pool) error {
	overrides, err := c.Overrides(c.ctx)
	if err != nil {
		return err
	}
	for _, o := range overrides {
		at := show.Clean(client.Place{Pool: o.Pool, Backend: o.Backend}.String())
		switch shown := slices.ContainsFunc(pools, func(p client.Pool) bool { return p.Name == o.Pool }); {
		case shown && o.Removed && !o.Idle:
			c.remark("%s was removed by hand; limeload reload --reset-overrides brings it back", at)
		case shown && o.Idle:
			c.remark("%s is not in the file any more; its override (%s) counts if it comes back", at, overrideOf(&o.Override))
		}
	}
	return nil
}

func backendTable(rows []backendJSON) *show.Table {
	now := time.Now()
	t := show.NewTable("POOL", "BACKEND", "ADDRESS", "HEALTH", "SINCE", "MODE", ">ACTIVE", ">WEIGHT", ">SESSIONS", ">FAILED", "NOTE")
	for i := range rows {
		b := &rows[i]
		t.Row(b.Pool, b.Name, b.Address, b.Health, show.Ago(now, b.Since), b.Mode, activeOf(&b.Backend), weightOf(&b.Backend),
			show.Count(float64(b.Sessions)), show.Count(float64(b.DialFailures)), noteOn(&b.Backend))
	}
	return t
}

// activeOf is live sessions, and of how many at most.
func activeOf(b *client.Backend) string {
	if b.MaxConnections == 0 {
		return fmt.Sprint(b.Active)
	}
	return fmt.Sprintf("%d/%d", b.Active, b.MaxConnections)
}

// weightOf is the weight, and before it the one that counts now if it is another.
func weightOf(b *client.Backend) string {
	if b.Effective == float64(b.Weight) || b.Mode == "removed" {
		return fmt.Sprint(b.Weight)
	}
	return fmt.Sprintf("%.3g/%d", b.Effective, b.Weight)
}

// noteOn is what else a person should know of a backend: first why it gets no new
// sessions.
func noteOn(b *client.Backend) string {
	var notes []string
	add := func(note string) {
		if note != "" {
			notes = append(notes, note)
		}
	}
	add(b.Excluded)
	if b.Backup {
		add("backup")
	}
	add(b.Role)
	if b.LagSeconds != nil {
		add(show.Seconds(*b.LagSeconds) + " behind")
	}
	if b.Breaker != "closed" && b.Breaker != "" && !strings.Contains(b.Excluded, "breaker") {
		add("breaker " + b.Breaker)
	}
	if b.Probe == "unknown" {
		add("probe could not run: " + b.Reason)
	}
	if b.Override != nil && !b.Override.Idle {
		add("override: " + overrideOf(b.Override))
	}
	return strings.Join(notes, "; ")
}

// overrideOf names what differs from the file.
func overrideOf(o *client.Override) string {
	var what []string
	for _, w := range []struct {
		name string
		is   bool
	}{
		{"added", o.Added}, {"removed", o.Removed}, {"mode", o.Mode != ""}, {"weight", o.Weight != nil}, {"max_connections", o.MaxConnections != nil},
	} {
		if w.is {
			what = append(what, w.name)
		}
	}
	text := strings.Join(what, ", ")
	if o.Persisted {
		text += " (kept over restarts)"
	}
	return text
}
