package server

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/splice"
)

func ptr[T any](v T) *T { return &v }

func backendAt(t *testing.T, addr string) config.Backend {
	t.Helper()
	b, err := config.ParseBackend(addr)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// twoBackends is a server in front of two, both up.
func twoBackends(t *testing.T) (s *Server, conf setup, a, b string) {
	a, b = newEcho(t, "127.0.0.1:0").Addr().String(), newEcho(t, "127.0.0.1:0").Addr().String()
	conf = setup{listen: "127.0.0.1:0", backends: []string{a, b}, top: `shutdown = { drain_timeout = "1h" }`}
	s = start(t, conf.config(t))
	eventually(t, "both are up", func() bool { return row(s, a).Health == balancer.Up && row(s, b).Health == balancer.Up })
	return s, conf, a, b
}

// used lists who serves n sessions in a row.
func used(t *testing.T, s *Server, n int, addrs ...string) map[string]uint64 {
	t.Helper()
	before := map[string]uint64{}
	for _, a := range addrs {
		before[a] = row(s, a).Sessions
	}
	for range n {
		if err := ask(s); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]uint64{}
	for _, a := range addrs {
		if d := row(s, a).Sessions - before[a]; d > 0 {
			got[a] = d
		}
	}
	return got
}

func TestDrainSurvivesReload(t *testing.T) {
	s, conf, a, b := twoBackends(t)
	if err := s.SetBackend(t.Context(), "pool", a, Settings{Mode: ptr(balancer.Drain)}); err != nil {
		t.Fatal(err)
	}
	if got := used(t, s, 6, a, b); got[b] != 6 {
		t.Errorf("sessions while a drains: %v; want all on b", got)
	}
	conf.pool = `algorithm = "round-robin"`
	apply(t, s, conf.config(t))
	if got := used(t, s, 6, a, b); got[b] != 6 {
		t.Errorf("sessions after a reload: %v; want all on b still", got)
	}
	if o := s.Overrides(); len(o) != 1 || o[0].Backend != a || o[0].Mode != balancer.Drain {
		t.Errorf("overrides %+v; want the drain of a", o)
	}
	if err := s.ResetOverrides(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := used(t, s, 6, a, b); got[a] != 3 || got[b] != 3 {
		t.Errorf("sessions after the reset: %v; want 3 each", got)
	}
}

func TestMaintenanceIsNotProbed(t *testing.T) {
	s, _, a, _ := twoBackends(t)
	if err := s.SetBackend(t.Context(), "pool", a, Settings{Mode: ptr(balancer.Maintenance)}); err != nil {
		t.Fatal(err)
	}
	if got := row(s, a); got.Health != balancer.Unchecked || got.Check.ID != "" {
		t.Errorf("health %v, check %q; want unchecked and no probe", got.Health, got.Check.ID)
	}
	if err := s.SetBackend(t.Context(), "pool", a, Settings{Mode: ptr(balancer.Ready)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "up again", func() bool { return row(s, a).Health == balancer.Up })
}

func TestWeightOverride(t *testing.T) {
	s, conf, a, b := twoBackends(t)
	conf.pool = `algorithm = "round-robin"`
	apply(t, s, conf.config(t))
	if err := s.SetBackend(t.Context(), "pool", a, Settings{Weight: ptr(3)}); err != nil {
		t.Fatal(err)
	}
	apply(t, s, conf.config(t))
	if got := used(t, s, 8, a, b); got[a] != 6 || got[b] != 2 {
		t.Errorf("sessions with weights 3 and 1: %v; want 6 and 2", got)
	}
}

func TestAddAndRemove(t *testing.T) {
	s, conf, a, b := twoBackends(t)
	third := newLeaver(t)
	c := third.Addr().String()
	third.Close()
	if err := s.AddBackend(t.Context(), "pool", backendAt(t, c)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "c was probed", func() bool { return row(s, c).Health == balancer.Down })
	newEcho(t, c)
	eventually(t, "c is up", func() bool { return row(s, c).Health == balancer.Up })
	apply(t, s, conf.config(t))
	if row(s, c) == nil {
		t.Fatal("a reload removed what was added by hand")
	}
	live := dial(t, s)
	if err := exchange(live); err != nil {
		t.Fatal(err)
	}
	on := a
	for _, addr := range []string{b, c} {
		if row(s, addr).Active == 1 {
			on = addr
		}
	}
	if err := s.RemoveBackend(t.Context(), "pool", on, true); err != nil {
		t.Fatal(err)
	}
	if _, err := live.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a session on a backend removed by force: %v; want a reset", err)
	}
	if n := s.Snapshot().Listeners[0].Ended[splice.ReasonKilled]; n != 1 {
		t.Errorf("sessions killed: %d; want 1", n)
	}
	if row(s, on) != nil {
		t.Error("the removed backend is still there")
	}
}

// A backend that was added and never answered a probe gets no sessions, even if
// there is no other.
func TestAddedBackendNeedsAProbe(t *testing.T) {
	dead := newLeaver(t)
	dead.Close()
	conf := setup{listen: "127.0.0.1:0", backends: []string{dead.Addr().String()}}
	s := start(t, conf.config(t))
	eventually(t, "down", func() bool { return row(s, dead.Addr().String()).Health == balancer.Down })
	hung, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hung.Close() })
	if err := s.AddBackend(t.Context(), "pool", backendAt(t, hung.Addr().String())); err != nil {
		t.Fatal(err)
	}
	if st := row(s, hung.Addr().String()); !st.NeedsProbe {
		t.Errorf("%+v; want a backend that needs a probe", st)
	}
}

func TestRefusals(t *testing.T) {
	s, _, a, b := twoBackends(t)
	own := s.Addr("front").String()
	tests := []struct {
		name string
		do   func() error
		want error
	}{
		{"add to an unknown pool", func() error { return s.AddBackend(t.Context(), "nowhere", backendAt(t, "10.0.0.1:1")) }, ErrUnknown},
		{"add twice", func() error { return s.AddBackend(t.Context(), "pool", backendAt(t, a)) }, ErrDuplicate},
		{"add the same name", func() error {
			return s.AddBackend(t.Context(), "pool", config.Backend{Name: b, Address: addressOf(t, "10.0.0.1:1")})
		}, ErrDuplicate},
		{"add all addresses", func() error {
			return s.AddBackend(t.Context(), "pool", config.Backend{Address: addressOf(t, "0.0.0.0:1")})
		}, ErrRefused},
		{"add a multicast address", func() error { return s.AddBackend(t.Context(), "pool", backendAt(t, "224.0.0.1:1")) }, ErrRefused},
		{"add a link-local address", func() error { return s.AddBackend(t.Context(), "pool", backendAt(t, "169.254.169.254:80")) }, ErrRefused},
		{"add a link-local IPv6 address", func() error { return s.AddBackend(t.Context(), "pool", backendAt(t, "[fe80::1]:80")) }, ErrRefused},
		{"add port 0", func() error {
			return s.AddBackend(t.Context(), "pool", config.Backend{Address: addressOf(t, "10.0.0.1:0")})
		}, ErrRefused},
		{"add our own listener", func() error { return s.AddBackend(t.Context(), "pool", backendAt(t, own)) }, ErrRefused},
		{"limit out of range", func() error {
			return s.SetBackend(t.Context(), "pool", a, Settings{MaxConnections: ptr(config.MaxConnections + 1)})
		}, ErrRefused},
		{"weight out of range", func() error { return s.SetBackend(t.Context(), "pool", a, Settings{Weight: ptr(257)}) }, ErrRefused},
		{"an unknown backend", func() error { return s.SetBackend(t.Context(), "pool", "nobody", Settings{Weight: ptr(1)}) }, ErrUnknown},
		{"remove an unknown backend", func() error { return s.RemoveBackend(t.Context(), "pool", "nobody", false) }, ErrUnknown},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := test.do(); !errors.Is(err, test.want) {
				t.Errorf("got %v; want %v", err, test.want)
			}
		})
	}
	if err := s.RemoveBackend(t.Context(), "pool", a, false); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveBackend(t.Context(), "pool", b, false); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "last backend of pool pool") {
		t.Errorf("remove the last backend: %v; want %v, and that it is the last one", err, ErrRefused)
	}
	if o := s.Overrides(); len(o) != 1 || !o[0].Removed {
		t.Errorf("overrides %+v; want one removal", o)
	}
}

func addressOf(t *testing.T, s string) config.Address {
	t.Helper()
	a, err := config.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
