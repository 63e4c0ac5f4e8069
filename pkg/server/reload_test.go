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

// A backend that was added by hand is the file's as soon as that has it; what else a person
// said of it counts all the same, is shown so, and ends with a reset.
func TestAddedBackendThatTheFileHasByNow(t *testing.T) {
	s, conf, _, _ := twoBackends(t)
	c := newEcho(t, "127.0.0.1:0").Addr().String()
	if err := s.AddBackend(t.Context(), "pool", backendAt(t, c)); err != nil {
		t.Fatal(err)
	}
	conf.backends = append(conf.backends, c)
	apply(t, s, conf.config(t))
	if o := s.Overrides(); len(o) != 1 || !o[0].Idle {
		t.Errorf("got %+v; want the addition, idle", o)
	}
	if err := s.SetBackend(t.Context(), "pool", c, Settings{Mode: ptr(balancer.Drain)}); err != nil {
		t.Fatal(err)
	}
	if o := s.Overrides(); len(o) != 1 || o[0].Idle || row(s, c).Mode != balancer.Drain {
		t.Errorf("got %+v, mode %v; want a drain that is not idle", o, row(s, c).Mode)
	}
	changes, err := s.Reload(t.Context(), conf.config(t), Reload{ResetOverrides: true})
	if err != nil || len(changes) != 1 || !strings.HasSuffix(changes[0].String(), `.mode: "drain" -> "ready"`) || row(s, c).Mode != balancer.Ready {
		t.Errorf("reset: got %v, %v, mode %v; want the mode changed, and told", changes, err, row(s, c).Mode)
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
