package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/client"
)

func TestEventText(t *testing.T) {
	now := time.Date(2026, 3, 2, 3, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		e    client.Event
		want string
	}{
		{
			"of a backend", client.Event{Time: now, Kind: "health", Pool: "pg", Backend: "a", Old: "up", New: "down", Reason: "connection refused"},
			"03:00:00  health    pg/a    up -> down: connection refused",
		},
		{"of a listener", client.Event{Time: now, Kind: "listener", Listener: "db", New: "open"}, "03:00:00  listener  db      open"},
		{"of the process, yesterday", client.Event{Time: now.AddDate(0, 0, -1), Kind: "lifetime", New: "started"}, "2026-03-01 03:00:00  lifetime  -       started"},
		{
			"several problems", client.Event{Time: now, Kind: "reload", New: "refused", Reason: "x.toml:1: a\nx.toml:2: b\n"},
			"03:00:00  reload    -       refused\n          x.toml:1: a\n          x.toml:2: b",
		},
		{"what a server said", client.Event{Time: now, Kind: "health", Pool: "p", Backend: "a", New: "down", Reason: "\x1b[2J"}, `03:00:00  health    p/a     down: \x1b[2J`},
	} {
		if got := eventText(&c.e, now, 6); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestNoteOnABackend(t *testing.T) {
	lag, seven := 2.5, 7
	for _, c := range []struct {
		b    client.Backend
		want string
	}{
		{client.Backend{Usable: true, Breaker: "closed"}, ""},
		{client.Backend{Excluded: "health is down: timeout", Backup: true}, "health is down: timeout; backup"},
		{client.Backend{Usable: true, Role: "replica", LagSeconds: &lag}, "replica; 3s behind"},
		{client.Backend{Usable: true, Breaker: "half-open"}, "breaker half-open"},
		{client.Backend{Excluded: "breaker is open", Breaker: "open"}, "breaker is open"},
		{client.Backend{Usable: true, Probe: "unknown", Reason: "not permitted"}, "probe could not run: not permitted"},
		{client.Backend{Usable: true, Override: &client.Override{Added: true, Weight: &seven}}, "override: added, weight"},
		{client.Backend{Usable: true, Override: &client.Override{Mode: "drain", Persisted: true}}, "override: mode (kept over restarts)"},
	} {
		if got := noteOn(&c.b); got != c.want {
			t.Errorf("%+v: got %q; want %q", c.b, got, c.want)
		}
	}
}

func TestWeightOfABackend(t *testing.T) {
	for _, c := range []struct {
		weight    int
		effective float64
		want      string
	}{{1, 1, "1"}, {0, 0, "0"}, {100, 12.5, "12.5/100"}, {3, 1, "1/3"}} {
		if got := weightOf(&client.Backend{Weight: c.weight, Effective: c.effective}); got != c.want {
			t.Errorf("%d, %g: got %s; want %s", c.weight, c.effective, got, c.want)
		}
	}
}

// A line of a pool stays short, however much is wrong.
func TestTroublesOfAPool(t *testing.T) {
	p := client.Pool{Split: "pg-1, pg-2", Held: 7, Backends: []client.Backend{{Name: "ok", Usable: true}}}
	for i := range 5 {
		p.Backends = append(p.Backends, client.Backend{Name: fmt.Sprintf("b%d", i), Excluded: "mode is drain"})
	}
	want := "several primaries: pg-1, pg-2; b0: mode is drain; b1: mode is drain; and 3 more; 7 held by the backends' rate"
	if got := troubles(&p); got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestChangeText(t *testing.T) {
	for _, c := range []struct {
		change client.Change
		want   string
	}{
		{client.Change{Key: "k"}, "k"},
		{client.Change{Key: "k", New: "table"}, "k: added"},
		{client.Change{Key: "k", Old: "table"}, "k: removed"},
		{client.Change{Key: "k", Old: "1", New: "2", Restart: true}, "k: 1 -> 2 (needs a restart)"},
		{client.Change{Key: "k", Old: "1", New: "2", Overridden: true}, "k: 1 -> 2 (without effect under an override)"},
	} {
		if got := changeText(&c.change); got != c.want {
			t.Errorf("got %q; want %q", got, c.want)
		}
	}
}

// What the person got wrong is status 2, what went wrong is 1.
func TestExitStatusOfErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{&client.UnknownName{Kind: "pool", Name: "x"}, exitUsage},
		{&client.AmbiguousName{Name: "x"}, exitUsage},
		{&client.Error{Status: 404}, exitUsage},
		{&client.Error{Status: 422}, exitUsage},
		{&client.Error{Status: 409}, exitFailed},
		{&client.Error{Status: 401}, exitFailed},
		{&client.Error{Status: 503}, exitFailed},
		{&client.Unreachable{Err: errors.New("x")}, exitFailed},
		{context.Canceled, exitFailed},
		{usage(errors.New("x")), exitUsage},
	} {
		var e *exitError
		if err := statusOf(c.err); !errors.As(err, &e) || e.status != c.want {
			t.Errorf("%T %v: got %v; want status %d", c.err, c.err, err, c.want)
		}
	}
	if err := statusOf(nil); err != nil {
		t.Errorf("nil: got %v", err)
	}
}

// Each problem of a file is a line that stands for itself.
func TestReloadErrors(t *testing.T) {
	got := reloadError(&client.Error{Status: 422, Detail: "nothing was changed: 2 problems", Problems: []client.Problem{
		{Message: "x.toml:3: weight: 300 is out of range", Location: "pool[0].weight"}, {Message: "x.toml:9: y"},
	}})
	want := "x.toml:3: weight: 300 is out of range\nx.toml:9: y\nreload: nothing was changed: 2 problems"
	if got.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	plain := &client.Error{Status: 422, Detail: strings.Repeat("x", 3)}
	if got := reloadError(plain); got != error(plain) {
		t.Errorf("without problems: got %v; want it as it is", got)
	}
}
