package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/limeload/limeload/pkg/config"
)

// unprobed is a configuration whose first pool, that of the listener, leads to backend;
// nothing of it moves by itself.
func unprobed(t *testing.T, backend string, pools ...string) *config.Config {
	text := "shutdown = { drain_timeout = \"1h\" }\n[[listener]]\nname = \"front\"\nlisten = [\"127.0.0.1:0\"]\npool = \"" + pools[0] + "\"\n"
	for _, name := range pools {
		text += fmt.Sprintf("[[pool]]\nname = %q\nhealth = { type = \"none\" }\nbackend = [{ address = %q }, { address = \"127.0.0.1:1\", weight = 0 }]\n", name, backend)
	}
	return parse(t, "%s", text)
}

// summary is what a snapshot says of pools, one a line.
func summary(pools []PoolSnapshot) string {
	var b strings.Builder
	for _, p := range pools {
		fmt.Fprintf(&b, "%s: removed %v, usable %d, quorum %d, connects %d, up %d, down %d\n", p.Name, p.Removed, p.Usable, p.Quorum, p.Connect.Count(), p.Up, p.Down)
		for _, r := range slices.Concat(p.Backends, p.Leaving) {
			fmt.Fprintf(&b, "  %s: removed %v, active %d, usable %v, weight %d, sessions %d, dials %d, up %d, down %d, check %q, at %v\n",
				r.Name, r.Removed, r.Active, r.Usable, r.Weight, r.Sessions, r.Dials, r.Up, r.Down, r.Check.ID, r.Addrs)
		}
	}
	return b.String()
}

// The memory of other snapshots, with more pools and backends or fewer, leaves no trace
// in the next one.
func TestSnapshotIntoUsesMemoryAgain(t *testing.T) {
	echo := newEcho(t, "127.0.0.1:0").Addr().String()
	s := start(t, unprobed(t, echo, "pool", "second", "third"))
	chatting(t, front(s))
	counted(t, s, 8)
	var again Snapshot
	s.SnapshotInto(&again, nil)
	for _, pools := range [][]string{{"pool"}, {"third", "second", "fourth"}, {"other"}, {"pool", "second", "third", "fourth"}} {
		apply(t, s, unprobed(t, echo, pools...))
		s.SnapshotInto(&again, func() {})
		if got, want := summary(again.Pools), summary(s.Snapshot().Pools); got != want {
			t.Errorf("%v: in the memory of others:\n%s\nwant\n%s", pools, got, want)
		}
	}
}

// While a snapshot pauses the configuration may change. Then it is one of what runs now.
func TestSnapshotOfAChangeInAPause(t *testing.T) {
	echo := newEcho(t, "127.0.0.1:0").Addr().String()
	s := start(t, unprobed(t, echo, "pool", "second", "third"))
	chatting(t, front(s))
	counted(t, s, 8)
	next, paused := unprobed(t, echo, "third", "second", "fourth"), 0
	var snap Snapshot
	s.SnapshotInto(&snap, func() {
		if paused++; paused == 1 {
			apply(t, s, next)
		}
	})
	if got, want := summary(snap.Pools), summary(s.Snapshot().Pools); got != want {
		t.Errorf("with a change in a pause:\n%s\nwant\n%s", got, want)
	}
	if paused != 1 {
		t.Errorf("got %d pauses; want none after the change", paused)
	}
}

func TestOverviewAndPoolAreThoseOfTheSnapshot(t *testing.T) {
	echo := newEcho(t, "127.0.0.1:0").Addr().String()
	s := start(t, unprobed(t, echo, "pool", "second"))
	chatting(t, front(s))
	counted(t, s, 8)
	compare := func(when string) {
		t.Helper()
		snap, o := s.Snapshot(), s.Overview()
		want := Overview{Engine: snap.Engine, Loops: len(snap.Loops), Sessions: snap.Sessions, Limit: snap.Limit, Listeners: len(snap.Listeners), Pools: len(snap.Pools)}
		if o != want {
			t.Errorf("%s: got %+v; want %+v", when, o, want)
		}
		for _, want := range snap.Pools {
			p, ok := s.Pool(want.Name)
			if got, want := summary([]PoolSnapshot{p}), summary([]PoolSnapshot{want}); got != want || !ok {
				t.Errorf("%s: pool: got %v,\n%s\nwant\n%s", when, ok, got, want)
			}
		}
	}
	compare("running")
	apply(t, s, unprobed(t, echo, "other"))
	compare("with what is leaving")
	if p, ok := s.Pool("pool"); !ok || !p.Removed || len(p.Leaving) != 1 {
		t.Errorf("a pool that is leaving: got %+v, %v; want its one busy backend", p, ok)
	}
	if _, ok := s.Pool("second"); ok {
		t.Error("got a pool that was removed and has no sessions")
	}
}
