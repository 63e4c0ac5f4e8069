package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
)

func TestEvents(t *testing.T) {
	ids := func(events []Event) (ids []uint64) {
		for _, e := range events {
			ids = append(ids, e.ID)
		}
		return ids
	}
	var l eventLog
	none, more := l.after(0)
	if len(none) != 0 {
		t.Errorf("got %d events at the start; want none", len(none))
	}
	select {
	case <-more:
		t.Error("more was told before there was an event")
	default:
	}
	for range 3 {
		l.add(Event{Kind: EventHealth})
	}
	<-more
	for _, test := range []struct {
		name  string
		after uint64
		want  []uint64
	}{
		{"all", 0, []uint64{1, 2, 3}},
		{"those after one", 2, []uint64{3}},
		{"none after the last", 3, nil},
		{"all, of a process before", 99, []uint64{1, 2, 3}},
	} {
		events, _ := l.after(test.after)
		if got := ids(events); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %d; want %d", test.name, got, test.want)
		}
	}
	for range keptEvents {
		l.add(Event{})
	}
	events, _ := l.after(1)
	if len(events) != keptEvents || events[0].ID != 4 || events[len(events)-1].ID != keptEvents+3 {
		t.Errorf("after the ring turned: got %d events from %d on; want %d from 4 on", len(events), events[0].ID, keptEvents)
	}
}

// Whoever comes back with the ID of an earlier process is told everything, even if the
// next one started at once, or after the clock was set back.
func TestEventsAfterARestart(t *testing.T) {
	start := time.Date(2026, 3, 1, 2, 58, 13, 0, time.UTC)
	tell := func(at time.Time, n int) (l *eventLog, last uint64) {
		l = &eventLog{}
		l.startAt(at)
		for range n {
			l.add(Event{})
		}
		return l, l.last
	}
	_, last := tell(start, 3000)
	for _, next := range []time.Time{start.Add(time.Millisecond), start.Add(time.Hour), start.Add(-time.Hour), {}} {
		l, _ := tell(next, 5)
		if events, _ := l.after(last); len(events) != 5 {
			t.Errorf("process of %v, after one of %v: got %d events; want all 5", next, start, len(events))
		}
		if events, _ := l.after(l.base + 2); len(events) != 3 || events[0].ID != l.base+3 {
			t.Errorf("process of %v, after its second event: got %+v; want the other 3", next, events)
		}
	}
	if l, last := tell(time.Date(2088, 12, 31, 0, 0, 0, 0, time.UTC), 1); last >= 1<<53 || last != l.base+1 {
		t.Errorf("got ID %d in 2088; want one below 2^53", last)
	}
}

// story is what a server has told since an event, a line each: the kind, whom it is
// about, and what changed.
func story(s *Server, after uint64) (lines []string, last uint64) {
	events, _ := s.Events(after)
	for _, e := range events {
		line := string(e.Kind)
		for _, word := range []string{e.Listener, e.Pool, e.Backend} {
			if word != "" {
				line += " " + word
			}
		}
		lines = append(lines, fmt.Sprintf("%s: %s -> %s", line, e.Old, e.New))
		last = e.ID
	}
	return lines, max(last, after)
}

// awaitStarted waits until the start is told, which is a moment after Started is closed.
func awaitStarted(t *testing.T, s *Server) {
	t.Helper()
	eventually(t, "the start is told", func() bool {
		lines, _ := story(s, 0)
		return slices.Contains(lines, "lifetime:  -> started")
	})
}

// Every change that a person makes is told, once.
func TestEventsTellOfChanges(t *testing.T) {
	backend := newEcho(t, "127.0.0.1:0").Address()
	conf := func(name string, weight int) *config.Config {
		return parse(t, `
listener = [{ name = %q, listen = ["127.0.0.1:0"], pool = "pool" }]
pool = [{ name = "pool", health = { type = "none" }, backend = [{ name = "a", address = %q, weight = %d }] }]
`, name, backend, weight)
	}
	s := start(t, conf("front", 1))
	drain, ready := balancer.Drain, balancer.Ready
	change := func(set Settings) func() error {
		return func() error { return s.SetBackend(t.Context(), "pool", "a", set) }
	}
	load := func(c *config.Config) func() error {
		return func() error { _, err := s.Apply(t.Context(), c); return err }
	}
	var last uint64
	for _, step := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"the start", func() error { awaitStarted(t, s); return nil }, []string{"listener front pool:  -> open", "lifetime:  -> started"}},
		{"drain", change(Settings{Mode: &drain}), []string{"mode pool a: ready -> drain"}},
		{"drain again", change(Settings{Mode: &drain}), nil},
		{"ready, and another weight and limit", change(Settings{Mode: &ready, Weight: ptr(7), MaxConnections: ptr(9)}),
			[]string{"mode pool a: drain -> ready", "override pool a: 1 -> 7", "override pool a: 0 -> 9"}},
		{"add", func() error { return s.AddBackend(t.Context(), "pool", backendAt(t, "127.0.0.1:1")) },
			[]string{"override pool 127.0.0.1:1:  -> added"}},
		{"remove", func() error { return s.RemoveBackend(t.Context(), "pool", "127.0.0.1:1", true) },
			[]string{"override pool 127.0.0.1:1:  -> removed"}},
		{"drain once more", change(Settings{Mode: &drain}), []string{"mode pool a: ready -> drain"}},
		{"reset", func() error { return s.ResetOverrides(t.Context()) },
			[]string{"override:  -> reset", "mode pool a: drain -> ready"}},
		{"a file that changes a weight", load(conf("front", 3)), []string{"reload:  -> applied"}},
		{"a file that renames the listener", load(conf("gate", 3)),
			[]string{"listener gate pool:  -> open", "listener front pool: open -> closed", "reload:  -> applied"}},
		{"a file that is refused", func() error { s.ReloadRefused(errors.New("x")); return nil }, []string{"reload:  -> refused"}},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		var got []string
		if got, last = story(s, last); !slices.Equal(got, step.want) {
			t.Errorf("%s: got %q; want %q", step.name, got, step.want)
		}
	}
}

// The doors of a pool with when_down = "unlisten" are told of, and the end.
func TestEventsTellOfDoorsAndTheEnd(t *testing.T) {
	backend := newLeaver(t)
	s := start(t, simple(t, "auto", backend.Address(), `when_down = "unlisten"`))
	told := func(want string) func() bool {
		return func() bool {
			lines, _ := story(s, 0)
			return slices.Contains(lines, want)
		}
	}
	eventually(t, "up", told("health pool "+backend.Address()+": unchecked -> up"))
	backend.Close()
	eventually(t, "shut", told("listener front pool: open -> shut"))
	newEcho(t, backend.Address())
	eventually(t, "open", told("listener front pool: shut -> open"))
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	s.Shutdown(gone)
	if !told("lifetime: started -> stopping")() {
		lines, _ := story(s, 0)
		t.Errorf("the end is not told: %q", lines)
	}
}

// A reload tells its changes or problems, but not thousands of them.
func TestEventsTellOfReloadsInBrief(t *testing.T) {
	var problems []error
	for i := range 1000 {
		problems = append(problems, fmt.Errorf("problem %d", i))
	}
	var s Server
	s.ReloadRefused(errors.Join(problems...))
	s.tellReloaded(nil)
	s.tellReloaded([]config.Change{{Path: "pool.a.weight", Old: "1", New: "2"}})
	events, _ := s.Events(0)
	for i, want := range []string{"problem 0\nproblem 1\n", "nothing changed", "pool.a.weight: 1 -> 2"} {
		if !strings.HasPrefix(events[i].Reason, want) {
			t.Errorf("got %q; want %q", events[i].Reason, want)
		}
	}
	if got := events[0].Reason; !strings.HasSuffix(got, "problem 19\nand 980 more") {
		t.Errorf("got %q; want 20 problems and how many more there are", got)
	}
}
