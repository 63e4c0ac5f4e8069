package server

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/testserver"
	"github.com/limeload/limeload/splice"
)

var someClient = netip.MustParseAddr("127.0.0.1")

// candidate finds a backend in an explanation.
func candidate(t *testing.T, e *Explanation, name string) *Candidate {
	t.Helper()
	for i := range e.Candidates {
		if e.Candidates[i].Name == name {
			return &e.Candidates[i]
		}
	}
	t.Fatalf("no candidate %q in %+v", name, e)
	return nil
}

// Each backend that is not picked says why, in words, and since when if that is known.
func TestExplainSaysWhyNot(t *testing.T) {
	live := func() string { return newEcho(t, "127.0.0.1:0").Address() }
	s := start(t, parse(t, `
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "pool"
[[pool]]
name = "pool"
algorithm = "first"
health = { interval = "20ms", rise = 1, fall = 1 }
backend = [
  { name = "drained", address = %q },
  { name = "resting", address = %q },
  { name = "weightless", address = %q, weight = 0 },
  { name = "dead", address = "127.0.0.1:%d" },
  { name = "full", address = %q, max_connections = 1 },
  { name = "free", address = %q },
  { name = "spare", address = %q, backup = true },
]
`, live(), live(), live(), testserver.FreePort(t), live(), live(), live()))
	settled := func() bool {
		for _, b := range s.Snapshot().Pools[0].Backends {
			if b.Health == balancer.Unchecked {
				return false
			}
		}
		return true
	}
	eventually(t, "all are probed", settled)
	for backend, mode := range map[string]balancer.Mode{"drained": balancer.Drain, "resting": balancer.Maintenance} {
		if err := s.SetBackend(t.Context(), "pool", backend, Settings{Mode: &mode}); err != nil {
			t.Fatal(err)
		}
	}
	hold(t, s, "tcp", s.Addr("front").String(), 1) // fills "full"
	e, err := s.Explain("front", someClient)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		backend, excluded string
		usable, since     bool
	}{
		{"drained", "mode is drain", false, true},
		{"resting", "mode is maintenance", false, true},
		{"weightless", "weight is 0", false, false},
		{"dead", "health is down: connection refused", false, true},
		{"full", "full: 1 active of at most 1", false, false},
		{"free", "", true, false},
		{"spare", "backup: not needed while another backend is usable", true, false},
	} {
		c := candidate(t, e, want.backend)
		if c.Excluded != want.excluded || c.Usable != want.usable || c.Picked != (want.backend == "free") {
			t.Errorf("%s: got %q, usable %v, picked %v; want %q, usable %v", want.backend, c.Excluded, c.Usable, c.Picked, want.excluded, want.usable)
		}
		if want.since == c.Since.IsZero() || time.Since(c.Since) > time.Hour && want.since {
			t.Errorf("%s: got since %v; want one: %v", want.backend, c.Since, want.since)
		}
	}
	if e.Backend != "free" || e.Algorithm != "first" || e.RefusedBy != "" || !strings.Contains(e.Reason, "first picks free") {
		t.Errorf("got %q by %q (%s), refused by %q; want free by first", e.Backend, e.Algorithm, e.Reason, e.RefusedBy)
	}
	for _, b := range s.Snapshot().Pools[0].Backends {
		c := candidate(t, e, b.Name)
		if got := b.Excluded(); (got == "") != c.Usable || got != "" && got != c.Excluded {
			t.Errorf("%s: the snapshot says %q; the explanation %q", b.Name, got, c.Excluded)
		}
	}
}

// What Explain says is what the next client gets, with every algorithm.
func TestExplainIsWhatAClientGets(t *testing.T) {
	for _, algorithm := range balancer.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			backends := ""
			for _, name := range []string{"a", "b", "c"} {
				backends += fmt.Sprintf("{ name = %q, address = %q },", name, newEcho(t, "127.0.0.1:0").Address())
			}
			s := start(t, parse(t, `
listener = [{ name = "front", listen = ["127.0.0.1:0"], pool = "pool" }]
[[pool]]
name = "pool"
algorithm = %q
health = { type = "none" }
backend = [%s]
`, algorithm, backends))
			for i := range 12 {
				e, err := s.Explain("", someClient)
				if err != nil {
					t.Fatal(err)
				}
				c := hold(t, s, "tcp", s.Addr("front").String(), 1)[0]
				page, _ := s.Sessions(SessionQuery{ClientPort: local(c).Port()})
				if len(page) != 1 || page[0].Backend != e.Backend {
					t.Fatalf("client %d: explained %s; got %+v", i, e.Backend, page)
				}
			}
		})
	}
}

func TestExplainWithoutABackend(t *testing.T) {
	for _, test := range []struct{ whenDown, reason, refusedBy string }{
		{"rst", "would be reset", ""},
		{"unlisten", "refused by the kernel", "when_down"},
	} {
		t.Run(test.whenDown, func(t *testing.T) {
			s := start(t, simple(t, splice.TypeAuto, fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t)), fmt.Sprintf("when_down = %q", test.whenDown)))
			eventually(t, "down, and known as such", func() bool {
				e, err := s.Explain("", netip.Addr{})
				return err == nil && e.Backend == "" && e.Algorithm == "" &&
					strings.Contains(e.Reason, test.reason) && strings.HasPrefix(e.RefusedBy, test.refusedBy)
			})
		})
	}
}

// A host name that was never resolved is no pick, whatever the balancer thinks of it.
func TestExplainKnowsNames(t *testing.T) {
	s := start(t, parse(t, `
listener = [{ name = "front", listen = ["127.0.0.1:0"], pool = "pool" }]
[[pool]]
name = "pool"
algorithm = "first"
health = { type = "none" }
backend = [{ name = "lost", address = "nowhere.invalid:1" }, { name = "a", address = %q }]
`, newEcho(t, "127.0.0.1:0").Address()))
	e, err := s.Explain("", someClient)
	if err != nil || e.Backend != "a" || candidate(t, e, "lost").Excluded != "dns: the host name is not resolved" {
		t.Errorf("got %+v, %v; want a, and that the other one is lost", e, err)
	}
}

// At its limit a listener lets nobody in, whoever would be picked.
func TestExplainTellsALimit(t *testing.T) {
	s := start(t, parse(t, `
listener = [{ name = "front", listen = ["127.0.0.1:0"], pool = "pool", max_connections = 1 }]
[[pool]]
name = "pool"
health = { type = "none" }
backend = [{ name = "a", address = %q }]
`, newEcho(t, "127.0.0.1:0").Address()))
	hold(t, s, "tcp", s.Addr("front").String(), 1)
	e, err := s.Explain("front", someClient)
	if err != nil || e.Backend != "a" || !strings.Contains(e.RefusedBy, "listener front has 1 of 1 sessions") || !strings.Contains(e.Reason, "kept out") {
		t.Errorf("got %+v, %v; want a as the pick, and that the limit is reached", e, err)
	}
}

// Which listener is meant must be clear.
func TestExplainNeedsAListener(t *testing.T) {
	s := start(t, parse(t, `
listener = [
  { name = "one", listen = ["127.0.0.1:0"], pool = "pool" },
  { name = "two", listen = ["127.0.0.1:0"], pool = "pool" },
]
pool = [{ name = "pool", health = { type = "none" }, backend = [{ address = "127.0.0.1:1" }] }]
`))
	if _, err := s.Explain("", someClient); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "one, two") {
		t.Errorf("no name: got %v; want ErrRefused with the names", err)
	}
	if _, err := s.Explain("three", someClient); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown name: got %v; want ErrUnknown", err)
	}
}

// The sentence says what an algorithm went by.
func TestExplainReasons(t *testing.T) {
	for _, test := range []struct{ algorithm, client, want string }{
		{`"least-connections"`, "10.1.2.3", "least-connections picks a because it has the least load: (0 active + 1) / weight 1 = 1; of equals it is the next in turn."},
		{`"ip-hash"`, "10.1.2.3", "ip-hash picks a because it is the home of this address."},
		{`"ip-hash"`, "", "ip-hash picks a because a client without an address has no home, and it is the next in turn."},
		{`"round-robin"`, "", "round-robin picks a because it is its turn."},
		{`"random-two"`, "", "random-two picks a because it is the less loaded of the two that the next draw gives: (0 active + 1) / weight 1 = 1."},
		{`"first"`, "", "first picks a because it is the first one that is not full."},
		{`["ip-hash", "first"]`, "", "first picks a because it is the first one that is not full; ip-hash proposes none that is usable."},
	} {
		s := start(t, parse(t, `
listener = [{ name = "front", listen = ["127.0.0.1:0"], pool = "pool" }]
[[pool]]
name = "pool"
algorithm = %s
health = { type = "none" }
backend = [{ name = "a", address = "127.0.0.1:1" }]
`, test.algorithm))
		client, _ := netip.ParseAddr(test.client)
		e, err := s.Explain("", client)
		if err != nil || e.Reason != test.want {
			t.Errorf("%s, client %q:\n got %s\nwant %s", test.algorithm, test.client, e.Reason, test.want)
		}
	}
}
