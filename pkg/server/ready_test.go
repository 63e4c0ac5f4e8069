package server

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestReady(t *testing.T) {
	backend := newEcho(t, "127.0.0.1:0")
	conf := setup{listen: "127.0.0.1:0", backends: []string{backend.Addr().String()}}
	conf.more = fmt.Sprintf(`
[[listener]]
name = "other"
listen = ["127.0.0.1:0"]
pool = "other"
[[pool]]
name = "other"
backend = [{ address = %q }]
`, newEcho(t, "127.0.0.1:0").Addr())
	s := start(t, conf.config(t))
	eventually(t, "up", func() bool { return row(s, backend.Addr().String()).Health.String() == "up" })
	wantReady := func(when string, want map[string]string) {
		t.Helper()
		for what, why := range want {
			ask, name := s.Ready, what
			if what == "pool" {
				ask = s.PoolReady
			}
			ready, got, err := ask(name)
			if ready != (why == "") || got != why || err != nil {
				t.Errorf("%s, %q is ready: %v, %q, %v; want %q", when, what, ready, got, err, why)
			}
		}
	}
	wantReady("at first", map[string]string{"": "", "front": "", "other": "", "pool": ""})
	for _, unknown := range []func(string) (bool, string, error){s.Ready, s.PoolReady} {
		if _, _, err := unknown("nobody"); !errors.Is(err, ErrUnknown) {
			t.Errorf("an unknown name: %v; want %v", err, ErrUnknown)
		}
	}
	backend.Close()
	eventually(t, "unready", func() bool { ok, _, _ := s.Ready("front"); return !ok })
	const why = "pool pool has no usable backend"
	wantReady("with a pool down", map[string]string{"": "listener front: " + why, "front": "listener front: " + why, "other": "", "pool": why})
}

// A pool that no listener uses counts as a whole.
func TestReadyNeedsEveryPool(t *testing.T) {
	conf := setup{listen: "127.0.0.1:0", backends: []string{newEcho(t, "127.0.0.1:0").Addr().String()}}
	conf.more = "\n[[pool]]\nname = \"spare\"\nbackend = [{ address = \"127.0.0.1:1\", weight = 0 }]\n"
	s := start(t, conf.config(t))
	if ready, why, _ := s.Ready(""); ready || why != "pool spare has no usable backend" {
		t.Errorf("as a whole: %v, %q; want that spare is missed", ready, why)
	}
	if ready, why, _ := s.Ready("front"); !ready {
		t.Errorf("front: %q; want ready", why)
	}
}

// While the server waits for routers to look away it serves, and is not ready.
func TestStoppingIsNotReady(t *testing.T) {
	conf := setup{listen: "127.0.0.1:0", backends: []string{newEcho(t, "127.0.0.1:0").Addr().String()}, top: `shutdown = { delay = "1h" }`}
	s := start(t, conf.config(t))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Shutdown(ctx)
	}()
	for what, ask := range map[string]func(string) (bool, string, error){"front": s.Ready, "": s.Ready, "pool": s.PoolReady} {
		eventually(t, "not ready: "+what, func() bool { ready, why, _ := ask(what); return !ready && why == "stopping" })
	}
	if err := ask(s); err != nil {
		t.Errorf("a client during the delay: %v", err)
	}
	cancel()
	<-ended
}
