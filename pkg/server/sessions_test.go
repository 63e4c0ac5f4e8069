package server

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/splice"
)

// hold opens sessions through a listener, which have all moved four bytes each way.
func hold(t *testing.T, s *Server, network, address string, n int) (conns []net.Conn) {
	t.Helper()
	for range n {
		c, err := net.Dial(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := exchange(c); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	return conns
}

// local is the address from which c comes, as a session's record has it.
func local(c net.Conn) netip.AddrPort { return c.LocalAddr().(*net.TCPAddr).AddrPort() }

func TestSessionsListsPagesAndFilters(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		unix := filepath.Join(t.TempDir(), "front.sock")
		s := start(t, parse(t, `
engine = { type = %q }
listener = [
  { name = "front", listen = ["127.0.0.1:0"], pool = "pool" },
  { name = "local", listen = [%q], pool = "other" },
]
[[pool]]
name = "pool"
health = { type = "none" }
backend = [{ name = "a", address = %q }, { name = "b", address = %q }]
[[pool]]
name = "other"
health = { type = "none" }
backend = [{ name = "c", address = %q }]
`, engine, "unix:"+unix, newEcho(t, "127.0.0.1:0").Address(), newEcho(t, "127.0.0.1:0").Address(), newEcho(t, "127.0.0.1:0").Address()))
		conns := hold(t, s, "tcp", s.Addr("front").String(), 6)
		hold(t, s, "unix", unix, 2)
		if _, err := io.WriteString(conns[2], "more"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the third one has moved the most", func() bool {
			page, _ := s.Sessions(SessionQuery{Sort: ByBytes, Descending: true, Limit: 1})
			return len(page) == 1 && page[0].Client == local(conns[2]) && page[0].Up == 8 && page[0].Down == 8
		})
		oldest, _ := s.Sessions(SessionQuery{})
		for _, test := range []struct {
			name  string
			q     SessionQuery
			total int
			first netip.AddrPort
			page  int
		}{
			{"all, oldest first", SessionQuery{}, 8, local(conns[0]), 8},
			{"youngest first", SessionQuery{Sort: ByAge}, 8, netip.AddrPort{}, 8},
			{"a page", SessionQuery{Offset: 2, Limit: 3}, 8, local(conns[2]), 3},
			{"the last page", SessionQuery{Offset: 6, Limit: 3}, 8, netip.AddrPort{}, 2},
			{"beyond the last page", SessionQuery{Offset: 60, Limit: 3}, 8, netip.AddrPort{}, 0},
			{"of a listener", SessionQuery{Listener: "front"}, 6, local(conns[0]), 6},
			{"of a pool", SessionQuery{Pool: "other"}, 2, netip.AddrPort{}, 2},
			{"of a backend", SessionQuery{Backend: "a"}, 3, local(conns[0]), 3},
			{"of unix sockets", SessionQuery{Unix: true}, 2, netip.AddrPort{}, 2},
			{"of a network", SessionQuery{Client: netip.MustParsePrefix("127.0.0.0/8")}, 6, local(conns[0]), 6},
			{"of another network", SessionQuery{Client: netip.MustParsePrefix("10.0.0.0/8")}, 0, netip.AddrPort{}, 0},
			{"of one client", SessionQuery{ClientPort: local(conns[4]).Port()}, 1, local(conns[4]), 1},
			{"with a text", SessionQuery{Text: local(conns[3]).String()}, 1, local(conns[3]), 1},
			{"by client, from the end", SessionQuery{Sort: ByClient, Descending: true, Limit: 1}, 8, latest(conns), 1},
			{"by what does not exist", SessionQuery{Text: "nobody"}, 0, netip.AddrPort{}, 0},
		} {
			page, total := s.Sessions(test.q)
			if total != test.total || len(page) != test.page {
				t.Errorf("%s: got %d of %d; want %d of %d", test.name, len(page), total, test.page, test.total)
			} else if len(page) > 0 && test.first.IsValid() && page[0].Client != test.first {
				t.Errorf("%s: got %v first; want %v", test.name, page[0].Client, test.first)
			}
		}
		for _, r := range oldest {
			if !r.Open || r.Age <= 0 || r.Idle > r.Age || r.Connect <= 0 || r.Up < 4 || r.Down < 4 || r.Address == "" {
				t.Errorf("got %+v; want it open, with an age, a connect and its bytes", r)
			}
		}
	})
}

// latest is the greatest of the addresses from which connections come.
func latest(conns []net.Conn) (last netip.AddrPort) {
	for _, c := range conns {
		if a := local(c); a.Compare(last) > 0 {
			last = a
		}
	}
	return last
}

// What is kept of many sessions while one page is looked for is cut from time to time:
// no page loses anything by it.
func TestPagesOfManySessions(t *testing.T) {
	s := start(t, simple(t, splice.TypeAuto, newEcho(t, "127.0.0.1:0").Address(), ""))
	hold(t, s, "tcp", s.Addr("front").String(), 150)
	all, _ := s.Sessions(SessionQuery{Sort: ByClient})
	for at := 0; at < 150; at += 7 {
		page, total := s.Sessions(SessionQuery{Sort: ByClient, Offset: at, Limit: 7})
		if total != 150 || len(page) != min(7, 150-at) {
			t.Fatalf("from %d: got %d of %d", at, len(page), total)
		}
		for i := range page {
			if page[i].ID != all[at+i].ID {
				t.Errorf("from %d, at %d: got %v; want %v", at, i, page[i].ID, all[at+i].ID)
			}
		}
	}
}

func TestKillSession(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		s := start(t, simple(t, engine, newEcho(t, "127.0.0.1:0").Address(), ""))
		conns := hold(t, s, "tcp", s.Addr("front").String(), 3)
		page, _ := s.Sessions(SessionQuery{Text: local(conns[1]).String()})
		if len(page) != 1 {
			t.Fatalf("got %d sessions of that client; want 1", len(page))
		}
		id := page[0].ID.String()
		if err := s.KillSession(id); err != nil {
			t.Fatal(err)
		}
		if err := exchange(conns[1]); err == nil {
			t.Error("the killed session goes on")
		}
		for _, i := range []int{0, 2} {
			if err := exchange(conns[i]); err != nil {
				t.Errorf("session %d, which nobody killed: %v", i, err)
			}
		}
		for _, unknown := range []string{id, "99-1", "", "x"} {
			if err := s.KillSession(unknown); !errors.Is(err, ErrUnknown) {
				t.Errorf("kill %q: got %v; want ErrUnknown", unknown, err)
			}
		}
		if got := s.Snapshot().Listeners[0].Ended[splice.ReasonKilled]; got != 1 {
			t.Errorf("got %d sessions with reason killed; want 1", got)
		}
	})
}

// A listener that was removed is gone, but its sessions are not before they end.
func TestSessionsOfARemovedListener(t *testing.T) {
	backend := newEcho(t, "127.0.0.1:0").Address()
	with := func(listener string) *config.Config {
		return parse(t, `
listener = [{ name = %q, listen = ["127.0.0.1:0"], pool = "pool" }]
pool = [{ name = "pool", health = { type = "none" }, backend = [{ address = %q }] }]
`, listener, backend)
	}
	s := start(t, with("front"))
	conns := hold(t, s, "tcp", s.Addr("front").String(), 2)
	if _, err := s.Apply(t.Context(), with("other")); err != nil {
		t.Fatal(err)
	}
	page, total := s.Sessions(SessionQuery{Listener: "front"})
	if total != 2 {
		t.Fatalf("got %d sessions; want the 2 that go on", total)
	}
	if err := s.KillSession(page[0].ID.String()); err != nil {
		t.Error(err)
	}
	for _, c := range conns {
		c.Close()
	}
	eventually(t, "they are gone", func() bool {
		_, total := s.Sessions(SessionQuery{})
		return total == 0 && len(s.fronts()) == 1
	})
}

func TestIdleOfSessions(t *testing.T) {
	s := start(t, simple(t, splice.TypeAuto, newEcho(t, "127.0.0.1:0").Address(), ""))
	conns := hold(t, s, "tcp", s.Addr("front").String(), 2)
	s.Sessions(SessionQuery{}) // finds the bytes of both
	eventually(t, "the second one is idle for shorter than the first one", func() bool {
		if err := exchange(conns[1]); err != nil {
			t.Fatal(err)
		}
		page, _ := s.Sessions(SessionQuery{Sort: ByIdle})
		return len(page) == 2 && page[0].Client == local(conns[1]) && page[1].Idle-page[0].Idle > 200*time.Millisecond
	})
}
