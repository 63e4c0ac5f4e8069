package server

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
)

// paths are what changes are about, with why they have no effect.
func paths(changes []config.Change) (all []string) {
	for _, c := range changes {
		all = append(all, c.String())
	}
	return all
}

func TestDryRun(t *testing.T) {
	s, conf, a, _ := twoBackends(t)
	c := newEcho(t, "127.0.0.1:0").Addr().String()
	conf.backends = []string{a, c}
	conf.top += "\nengine = { threads = 7 }"
	state := s.state.Load()
	planned, err := s.Reload(t.Context(), conf.config(t), Reload{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(planned) != 3 || !planned[2].Restart {
		t.Errorf("planned %v; want one backend less, one more, and threads that need a restart", planned)
	}
	if s.state.Load() != state || row(s, c) != nil {
		t.Error("a dry run changed something")
	}
	if done := apply(t, s, conf.config(t)); !slices.Equal(done, planned) {
		t.Errorf("changed %v; want %v as planned", done, planned)
	}
	if again, err := s.Reload(t.Context(), conf.config(t), Reload{DryRun: true}); err != nil || len(again) != 1 {
		t.Errorf("planned %v, %v for what runs; want only what needs a restart", again, err)
	}
}

// A backend that was added by hand is the file's as soon as that has it: it goes when the
// file drops it. What else a person said of it counts all the same.
func TestFileTakesOverAnAddition(t *testing.T) {
	s, conf, _, _ := twoBackends(t)
	c := newEcho(t, "127.0.0.1:0").Addr().String()
	added := backendAt(t, c)
	added.Weight = 5
	err := errors.Join(
		s.AddBackend(t.Context(), "pool", added),
		s.SetBackend(t.Context(), "pool", c, Settings{Mode: ptr(balancer.Drain), Weight: ptr(1), MaxConnections: ptr(9)}))
	if err != nil {
		t.Fatal(err)
	}
	without := conf
	conf.backends = append(conf.backends, c)
	if _, err := s.Reload(t.Context(), conf.config(t), Reload{DryRun: true}); err != nil || !s.Overrides()[0].Added {
		t.Errorf("a dry run: got %v, %+v; want no change", err, s.Overrides())
	}
	apply(t, s, conf.config(t))
	o := s.Overrides()
	if len(o) != 1 || o[0].Idle || o[0].Added || o[0].Mode != balancer.Drain || o[0].Weight != nil || *o[0].MaxConnections != 9 {
		t.Errorf("got %+v; want the drain, the 9 connections, and no weight, which is the file's", o)
	}
	if got := row(s, c); got.Mode != balancer.Drain || got.Weight != 1 || got.MaxConnections != 9 || got.NeedsProbe {
		t.Errorf("got %+v; want it in drain with weight 1, and needing no probe", got)
	}
	events, _ := s.Events(0)
	if !slices.ContainsFunc(events, func(e Event) bool {
		return e.Kind == EventOverride && e.Backend == c && e.Old == "added" && e.New == "file"
	}) {
		t.Errorf("got %+v; want an event that tells of it", events)
	}
	apply(t, s, without.config(t))
	if row(s, c) != nil {
		t.Error("the file dropped it, and it is still there")
	}
	if o := s.Overrides(); len(o) != 1 || !o[0].Idle {
		t.Errorf("got %+v; want the drain kept, and idle", o)
	}
}

// A name that a person gave to another address than the file does is the file's too, and
// so is an address under another name.
func TestFileTakesOverANameOrAnAddress(t *testing.T) {
	c := newEcho(t, "127.0.0.1:0").Addr().String()
	for _, added := range []config.Backend{
		{Name: "named", Address: addressOf(t, "127.0.0.1:9"), Weight: 1},
		{Name: "other", Address: addressOf(t, c), Weight: 1},
	} {
		s, conf, _, _ := twoBackends(t)
		if err := s.AddBackend(t.Context(), "pool", added); err != nil {
			t.Fatal(err)
		}
		without := conf
		conf.backends, conf.more = append(conf.backends, c), `name = "named"`
		apply(t, s, conf.config(t))
		if got := row(s, c); len(s.Overrides()) != 0 || len(s.Snapshot().Pools[0].Backends) != 3 || got == nil || got.Name != "named" {
			t.Errorf("added as %s: got %+v, overrides %+v; want what the file has", added.Name, got, s.Overrides())
		}
		apply(t, s, without.config(t))
		if rows := s.Snapshot().Pools[0].Backends; len(rows) != 2 {
			t.Errorf("added as %s: got %+v; want what the file has", added.Name, rows)
		}
	}
}

// An override that is set to what is so without it has ended: what the file says next
// applies.
func TestOverrideEndsWhereItSaysNothing(t *testing.T) {
	s, conf, _, b := twoBackends(t)
	conf.more = "weight = 2\nmax_connections = 50" // of the last backend, b
	apply(t, s, conf.config(t))
	set := func(backend string, set Settings) {
		t.Helper()
		if err := s.SetBackend(t.Context(), "pool", backend, set); err != nil {
			t.Fatal(err)
		}
	}
	set(b, Settings{Weight: ptr(2), MaxConnections: ptr(50), Mode: ptr(balancer.Ready)})
	if o := s.Overrides(); len(o) != 0 {
		t.Errorf("set to what they are: got %+v; want no override", o)
	}
	set(b, Settings{Weight: ptr(7), MaxConnections: ptr(7), Mode: ptr(balancer.Drain)})
	set(b, Settings{Weight: ptr(2)})
	if o := s.Overrides(); len(o) != 1 || o[0].Weight != nil || *o[0].MaxConnections != 7 || o[0].Mode != balancer.Drain {
		t.Errorf("the weight set back: got %+v; want the others alone", o)
	}
	conf.more = "weight = 3\nmax_connections = 60"
	apply(t, s, conf.config(t))
	if got := row(s, b); got.Weight != 3 || got.MaxConnections != 7 {
		t.Errorf("after a reload: got weight %d, %d connections; want the file's 3, and 7", got.Weight, got.MaxConnections)
	}
	set(b, Settings{MaxConnections: ptr(60)})
	set(b, Settings{Mode: ptr(balancer.Ready)})
	if o := s.Overrides(); len(o) != 0 || row(s, b).MaxConnections != 60 {
		t.Errorf("all set back: got %+v; want no override", o)
	}

	c := newEcho(t, "127.0.0.1:0").Addr().String()
	added := backendAt(t, c)
	added.Weight = 5
	if err := s.AddBackend(t.Context(), "pool", added); err != nil {
		t.Fatal(err)
	}
	set(c, Settings{Weight: ptr(6)})
	set(c, Settings{Weight: ptr(5)})
	if o := s.Overrides(); len(o) != 1 || o[0].Weight != nil || !o[0].Added || row(s, c).Weight != 5 {
		t.Errorf("of one that was added: got %+v; want the addition alone", o)
	}
}

// Overrides lie over one file as over the next one.
func TestReloadUnderOverrides(t *testing.T) {
	s, conf, a, b := twoBackends(t)
	for addr, set := range map[string]Settings{a: {Mode: ptr(balancer.Drain)}, b: {Weight: ptr(7)}} {
		if err := s.SetBackend(t.Context(), "pool", addr, set); err != nil {
			t.Fatal(err)
		}
	}
	weighted := conf
	weighted.more = `weight = 3` // of the last backend, b
	if got := paths(apply(t, s, weighted.config(t))); len(got) != 1 || !strings.HasSuffix(got[0], ".weight: 1 -> 3 (overridden)") {
		t.Errorf("changes %q; want a weight that is overridden", got)
	}
	if row(s, a).Mode != balancer.Drain || row(s, b).Weight != 7 {
		t.Errorf("a reload undid what a person did: mode %v, weight %d", row(s, a).Mode, row(s, b).Weight)
	}

	conf.backends = []string{b}
	apply(t, s, conf.config(t))
	if o := s.Overrides(); len(o) != 2 || !slices.ContainsFunc(o, func(o Override) bool { return o.Backend == a && o.Idle }) {
		t.Errorf("overrides %+v; want that of a, which is not in the file any more, kept and idle", o)
	}
	conf.backends = []string{a, b}
	apply(t, s, conf.config(t))
	if row(s, a).Mode != balancer.Drain {
		t.Error("a backend that was drained, removed and added is not drained any more")
	}

	changes, err := s.Reload(t.Context(), conf.config(t), Reload{ResetOverrides: true})
	if err != nil || len(changes) != 2 || !strings.HasSuffix(changes[1].String(), `.mode: "drain" -> "ready"`) || len(s.Overrides()) != 0 {
		t.Errorf("reset: changes %v, %v; want b's weight and a's mode; overrides %v", changes, err, s.Overrides())
	}
	if row(s, a).Mode != balancer.Ready || row(s, b).Weight != 1 {
		t.Errorf("after the reset: mode %v, weight %d; want ready and 1", row(s, a).Mode, row(s, b).Weight)
	}
}

// A file and overrides that are good by themselves may not be so together.
func TestReloadThatOverridesForbid(t *testing.T) {
	s, conf, a, b := twoBackends(t)
	if err := s.RemoveBackend(t.Context(), "pool", a, false); err != nil {
		t.Fatal(err)
	}
	conf.backends = []string{a}
	var problems config.Problems
	for _, dry := range []bool{true, false} {
		_, err := s.Reload(t.Context(), conf.config(t), Reload{DryRun: dry})
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), "under the overrides") {
			t.Errorf("a pool without a backend: %v; want a problem that names the overrides", err)
		}
	}
	if row(s, b) == nil {
		t.Error("b is gone")
	}
	if _, err := s.Reload(t.Context(), conf.config(t), Reload{ResetOverrides: true}); err != nil {
		t.Error(err)
	}
}

func TestAddWhatWasRemoved(t *testing.T) {
	s, _, a, b := twoBackends(t)
	if err := s.RemoveBackend(t.Context(), "pool", a, false); err != nil {
		t.Fatal(err)
	}
	other := backendAt(t, "10.0.0.1:1")
	other.Name = a
	if err := s.AddBackend(t.Context(), "pool", other); !errors.Is(err, ErrDuplicate) {
		t.Errorf("another address under the name of a removed backend: %v; want %v", err, ErrDuplicate)
	}
	again := backendAt(t, a)
	again.Weight = 5
	if err := s.AddBackend(t.Context(), "pool", again); err != nil {
		t.Fatal(err)
	}
	if got := row(s, a); got == nil || got.Weight != 5 || row(s, b) == nil {
		t.Errorf("a is %+v; want it back with weight 5", got)
	}
	if o := s.Overrides(); len(o) != 1 || o[0].Removed || o[0].Added {
		t.Errorf("overrides %+v; want the weight alone", o)
	}
}
