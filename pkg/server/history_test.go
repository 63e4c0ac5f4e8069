package server

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/pkg/testserver"
	"github.com/limeload/limeload/splice"
)

// Points are what happened in their step; columns of zeros take no memory.
func TestHistoryOfASeries(t *testing.T) {
	var h history
	who := new(int)
	record := func(r reading) { h.record(time.Now(), map[any]reading{who: r}) }
	record(reading{})
	record(reading{active: 2, sessions: 5, up: 100, down: 1 << 33, connect: 10_000_000})
	record(reading{active: 3, sessions: 5, up: 100, down: 1 << 33, connect: 10_000_000})
	record(reading{active: 1, sessions: 7, up: 150, down: 1 << 33, connect: 16_000_000})
	s := h.series[who]
	for _, test := range []struct {
		name      string
		got, want []float32
	}{
		{"active", s.column(colActive, h.ticks), []float32{0, 2, 3, 1}},
		{"sessions", s.column(colSessions, h.ticks), []float32{0, 5, 0, 2}},
		{"up", s.column(colUp, h.ticks), []float32{0, 100, 0, 50}},
		{"down", s.column(colDown, h.ticks), []float32{0, 1 << 33, 0, 0}},
		{"failures", s.column(colFailures, h.ticks), []float32{0, 0, 0, 0}},
	} {
		if !slices.Equal(test.got, test.want) {
			t.Errorf("%s: got %v; want %v", test.name, test.got, test.want)
		}
	}
	if got := fmt.Sprint(s.means(h.ticks)); got != "[NaN 2 NaN 3]" {
		t.Errorf("connect: got %s; want [NaN 2 NaN 3]", got)
	}
	if s.ring[colFailures] != nil {
		t.Error("a column of zeros has memory")
	}
}

// The ring turns: the latest points are kept, oldest first, and what is younger than they
// are begins with zeros.
func TestHistoryTurns(t *testing.T) {
	var h history
	old, young, gone := new(int), new(int), new(int)
	const ticks = HistoryPoints + 30
	for i := range ticks {
		now := map[any]reading{old: {active: int64(i + 1)}}
		if i == 0 {
			now[gone] = reading{active: 1}
		}
		if i >= ticks-2 {
			now[young] = reading{active: 7, sessions: uint64(i)}
		}
		h.record(time.Now(), now)
	}
	got := h.series[old].column(colActive, h.ticks)
	if len(got) != HistoryPoints || got[0] != ticks-HistoryPoints+1 || got[HistoryPoints-1] != ticks {
		t.Errorf("got %d points from %v to %v; want %d from %d to %d", len(got), got[0], got[len(got)-1], HistoryPoints, ticks-HistoryPoints+1, ticks)
	}
	got = h.series[young].column(colActive, h.ticks)
	if len(got) != HistoryPoints || got[HistoryPoints-3] != 0 || got[HistoryPoints-2] != 7 {
		t.Errorf("a young one: got %v; want zeros and two points", got)
	}
	if h.series[gone] != nil {
		t.Error("what is gone is still known")
	}
}

// A column that begins to count late has zeros before that, not what the ring had.
func TestHistoryAfterQuiet(t *testing.T) {
	var h history
	who := new(int)
	for i := range 3 * HistoryPoints {
		r := reading{}
		if i%HistoryPoints == 5 {
			r.active = 9
		}
		h.record(time.Now(), map[any]reading{who: r})
	}
	n := 0
	for _, v := range h.series[who].column(colActive, h.ticks) {
		if v != 0 {
			n++
		}
	}
	if n != 1 {
		t.Errorf("got %d points that are not 0; want the 1 of the last turn", n)
	}
}

func TestHistoryOfAServer(t *testing.T) {
	s := start(t, parse(t, `
listener = [
  { name = "front", listen = ["127.0.0.1:0"], pool = "pool" },
  { name = "back", listen = ["127.0.0.1:0"], pool = "dead" },
  { name = "shut", listen = ["127.0.0.1:0"], pool = "pool", access = { deny = ["127.0.0.0/8"] } },
]
[[pool]]
name = "pool"
health = { type = "none" }
backend = [{ name = "a", address = %q }]
[[pool]]
name = "dead"
health = { type = "none" }
connect = { attempts = 1 }
backend = [{ name = "x", address = "127.0.0.1:%d" }]
`, newEcho(t, "127.0.0.1:0").Address(), testserver.FreePort(t)))
	s.recordPoint(time.Now())
	hold(t, s, "tcp", s.Addr("front").String(), 3)
	_, err := s.History("nowhere")
	if !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown pool: got %v; want ErrUnknown", err)
	}
	eventually(t, "a refused session is counted", func() bool {
		if c, err := net.Dial("tcp", s.Addr("back").String()); err == nil {
			c.Close()
		}
		return s.Snapshot().Listeners[1].Ended[splice.ReasonConnectFailed] > 0
	})
	eventually(t, "a client that the access list denies is counted", func() bool {
		if c, err := net.Dial("tcp", s.Addr("shut").String()); err == nil {
			c.Close()
		}
		return s.Snapshot().Listeners[2].Refused[proxy.AccessDenied] > 0
	})
	eventually(t, "what went each way is counted", func() bool {
		l := s.Snapshot().Listeners[0]
		return l.Up >= 12 && l.Down >= 12
	})
	at := time.Now()
	s.recordPoint(at)

	h, err := s.History("")
	if err != nil || len(h.Pools) != 2 || len(h.Listeners) != 3 || h.Points != 2 || !h.End.Equal(at) {
		t.Fatalf("got %+v, %v; want two points of two pools and three listeners", h, err)
	}
	front, a, x := h.Listeners[0], h.Pools[0].Backends[0], h.Pools[1].Backends[0]
	if front.Active[1] != 3 || front.Sessions[1] != 3 || front.Up[1] < 12 || front.Down[1] < 12 {
		t.Errorf("front: got %+v; want three sessions of four bytes each way", front)
	}
	if a.Active[1] != 3 || a.Sessions[1] != 3 || a.Up[1] < 12 || a.Failures[1] != 0 || !(a.Connect[1] > 0) {
		t.Errorf("a: got %+v; want three sessions and the time of their connects", a)
	}
	if shut := h.Listeners[2]; shut.Refused[1] == 0 || shut.Sessions[1] != 0 || front.Refused[1] != 0 {
		t.Errorf("shut: got %+v; want refused clients and no session", shut)
	}
	if x.Sessions[1] != 0 || x.Failures[1] == 0 || !math.IsNaN(float64(x.Connect[1])) {
		t.Errorf("x: got %+v; want failures and no connect", x)
	}
	h, err = s.History("dead")
	if err != nil || len(h.Pools) != 1 || h.Pools[0].Name != "dead" || len(h.Listeners) != 1 || h.Listeners[0].Name != "back" {
		t.Errorf("of one pool: got %+v, %v; want it and its listener", h, err)
	}
	h, err = s.ListenerHistories("")
	if err != nil || len(h.Pools) != 0 || len(h.Listeners) != 3 {
		t.Errorf("of listeners: got %+v, %v; want all of them and no pool", h, err)
	}
}

// pointsOf is what history says of a backend's sessions, in all of the steps together.
func pointsOf(t *testing.T, s *Server, name string) (sessions, up float32) {
	t.Helper()
	h, err := s.History("pool")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range h.Pools[0].Backends {
		if b.Name == name {
			for i := range b.Sessions {
				sessions, up = sessions+b.Sessions[i], up+b.Up[i]
			}
		}
	}
	return sessions, up
}

// What comes back while it is leaving shows what it does then, and not all that it ever
// did in one step.
func TestHistoryOfABackendThatComesBack(t *testing.T) {
	s, conf, a, b := twoBackends(t)
	live := chatting(t, front(s))
	counted(t, s, 8)
	if row(s, a).Sessions == 0 {
		a, b = b, a
	}
	s.recordPoint(time.Now())
	without := conf
	without.backends = []string{b}
	apply(t, s, without.config(t))
	s.recordPoint(time.Now())
	if err := exchange(live); err != nil {
		t.Fatal(err)
	}
	counted(t, s, 16)
	s.recordPoint(time.Now())
	apply(t, s, conf.config(t))
	s.recordPoint(time.Now())
	if sessions, up := pointsOf(t, s, a); sessions != 1 || up != 8 {
		t.Errorf("got %v sessions and %v bytes in all steps; want 1 and 8, each once", sessions, up)
	}
}

// Nor does a backend that takes over the counts of its name show them as a step.
func TestHistoryOfAnHeir(t *testing.T) {
	a, b := newEcho(t, "127.0.0.1:0").Addr().String(), newEcho(t, "127.0.0.1:0").Addr().String()
	conf := setup{listen: "127.0.0.1:0", pool: fmt.Sprintf("backend = [{ name = \"x\", address = %q }]\n", a)}
	s := start(t, conf.config(t))
	live := chatting(t, front(s))
	counted(t, s, 8)
	s.recordPoint(time.Now())
	conf.pool = fmt.Sprintf("backend = [{ name = \"x\", address = %q }]\n", b)
	apply(t, s, conf.config(t))
	live.Close()
	forgotten(t, s)
	if got := s.Snapshot().Pools[0].Backends[0].Sessions; got != 1 {
		t.Fatalf("sessions of the name: got %d; want the 1 of the address before", got)
	}
	s.recordPoint(time.Now())
	if sessions, up := pointsOf(t, s, "x"); sessions != 0 || up != 0 {
		t.Errorf("got %v sessions and %v bytes of the new address; want 0", sessions, up)
	}
}

// BenchmarkHistory is one point of a large configuration.
func BenchmarkHistory(b *testing.B) {
	var h history
	now := map[any]reading{}
	for range 10_000 {
		now[new(int)] = reading{active: 1, sessions: 1}
	}
	b.ReportAllocs()
	for b.Loop() {
		h.record(time.Now(), now)
	}
}
