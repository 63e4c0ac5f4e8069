package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/splice"
	"github.com/rs/zerolog"
)

// records are those of a listener now.
func records(l *Listener) (all []Record) {
	l.Records(func(r *Record) { all = append(all, *r) })
	return all
}

func TestRecordFollowsASession(t *testing.T) {
	r := newRig(t, Dialing{Attempts: 2}, target("a", "10.0.0.1:1"), target("b", "10.0.0.2:1"))
	r.Number = 7
	want := func(when string, want Record) {
		t.Helper()
		got := records(r.Listener)
		if len(got) != 1 {
			t.Errorf("%s: got %d records; want 1", when, len(got))
			return
		}
		got[0].Age, got[0].Idle = 0, 0 // see TestIdle
		if got[0] != want {
			t.Errorf("%s:\n got %+v\nwant %+v", when, got[0], want)
		}
	}
	if got := records(r.Listener); len(got) != 0 {
		t.Errorf("at the start: got %+v; want none", got)
	}
	s := r.open(t)
	if got := records(r.Listener); len(got) != 0 {
		t.Errorf("before the first pick: got %+v; want none", got)
	}
	is := Record{
		ID: ID{7, 1}, Listener: "front", Pool: "pool", Backend: "a", Address: "10.0.0.1:1",
		Client: netip.MustParseAddrPort("192.0.2.7:1234"),
	}
	s.Dial(nil)
	want("while it dials", is)
	ep, _ := s.Dial(errRefused)
	is.Backend, is.Address = "b", "10.0.0.2:1"
	want("at its second attempt", is)
	s.(splice.Connected).Connected(time.Millisecond)
	is.Open, is.Connect = true, time.Millisecond
	want("connected", is)
	ep.Counters.Up.Add(5)
	ep.Counters.Down.Add(70)
	is.Up, is.Down = 5, 70
	want("with bytes", is)
	r.Settle()
	want("after the bytes were settled", is)
	if got := IDOf(s); got != is.ID {
		t.Errorf("IDOf: got %v; want %v", got, is.ID)
	}
	s.Close(splice.Result{Up: 5, Down: 70})
	if got := records(r.Listener); len(got) != 0 {
		t.Errorf("at the end: got %+v; want none", got)
	}
	s = r.open(t)
	s.Dial(nil)
	want("the next one", Record{
		ID: ID{7, 2}, Listener: "front", Pool: "pool", Backend: "a", Address: "10.0.0.1:1",
		Client: netip.MustParseAddrPort("192.0.2.7:1234"),
	})
	s.Close(splice.Result{})
}

func TestRecordOfUnixSockets(t *testing.T) {
	r := newRig(t, Dialing{Attempts: 1}, &Target{Name: "a", Unix: "/run/a.sock"})
	s, _ := r.Open(splice.Peer{Unix: true})
	s.Dial(nil)
	got := records(r.Listener)
	if len(got) != 1 || got[0].Address != "unix:/run/a.sock" || got[0].Client.IsValid() {
		t.Errorf("got %+v; want one with unix:/run/a.sock and no client address", got)
	}
	s.Close(splice.Result{})
}

// Idle is the time since the look that found the last new bytes, or since the connect.
func TestIdle(t *testing.T) {
	const sec = int64(time.Second)
	r := newRig(t, Dialing{Attempts: 1}, target("a", "10.0.0.1:1"))
	s := r.open(t).(*session)
	ep, _ := s.Dial(nil)
	s.Connected(2 * time.Second)
	idle := func(at int64) time.Duration {
		t.Helper()
		var r Record
		if !s.record(s.opened+at*sec, &r) || r.Age != time.Duration(at)*time.Second {
			t.Errorf("after %d s: got age %v", at, r.Age)
		}
		return r.Idle
	}
	look := func(at int64) { s.settle(s.opened + at*sec) }
	for _, step := range []struct {
		name string
		do   func()
		at   int64
		want time.Duration
	}{
		{"since the connect", func() {}, 10, 8 * time.Second},
		{"bytes that no look has found yet", func() { ep.Counters.Up.Add(1) }, 11, 0},
		{"since the look that found them", func() { look(12) }, 20, 8 * time.Second},
		{"a look that finds nothing", func() { look(21) }, 22, 10 * time.Second},
		{"the other direction", func() { ep.Counters.Down.Add(1); look(30) }, 31, time.Second},
	} {
		step.do()
		if got := idle(step.at); got != step.want {
			t.Errorf("%s: got %v; want %v", step.name, got, step.want)
		}
	}
	s.Close(splice.Result{Up: 1, Down: 1})
	s = r.open(t).(*session)
	s.Dial(nil)
	s.Connected(time.Second)
	if got := idle(5); got != 4*time.Second {
		t.Errorf("the next session: got %v; want 4s", got)
	}
	s.Close(splice.Result{})
}

// A record that is taken while sessions come and go is that of one session: nothing in
// it is of the one before, or the one after.
func TestRecordsAreNeverMixed(t *testing.T) {
	const loops, sessionsPerLoop = 3, 4000
	targets := []*Target{target("a", "10.0.0.1:1"), target("b", "10.0.0.2:2")}
	pool, err := balancer.New(balancer.Options{Algorithms: []string{"random-two"}}, []balancer.Spec{
		{Name: "a", Address: "a", Weight: 1, Value: targets[0]}, {Name: "b", Address: "b", Weight: 1, Value: targets[1]},
	})
	if err != nil {
		t.Fatal(err)
	}
	front := NewListener("front", zerolog.Nop(), Conf{Pool: NewPool("pool", pool, Dialing{Attempts: 1})})

	type truth struct {
		client  netip.AddrPort
		address string
	}
	var truths [loops]map[ID]truth
	var work, look sync.WaitGroup
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i := range loops {
		truths[i] = map[ID]truth{}
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		work.Go(func() {
			for range sessionsPerLoop {
				client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), uint16(1+rnd.IntN(60000)))
				s, _ := front.Open(splice.Peer{Remote: client})
				ep, _ := s.Dial(nil)
				truths[i][IDOf(s)] = truth{client, ep.Addr.String()}
				s.(splice.Connected).Connected(time.Duration(client.Port()) * time.Microsecond)
				ep.Counters.Up.Add(uint64(client.Port()))
				if rnd.IntN(4) == 0 {
					runtime.Gosched()
				}
				s.Close(splice.Result{Up: uint64(client.Port())})
			}
		})
	}
	done := make(chan struct{})
	var seen []Record
	look.Go(func() {
		for {
			front.Settle()
			front.Records(func(r *Record) { seen = append(seen, *r) })
			select {
			case <-done:
				return
			default:
			}
		}
	})
	work.Wait()
	close(done)
	look.Wait()
	if len(seen) == 0 {
		t.Fatal("nobody was seen")
	}
	for _, r := range seen {
		is, ok := truths[r.Client.Addr().As4()[3]][r.ID]
		port := uint64(is.client.Port())
		consistent := ok && r.Client == is.client && r.Address == is.address &&
			(r.Backend == "a") == (r.Address == "10.0.0.1:1") && (r.Up == 0 || r.Up == port) &&
			(r.Open || r.Up == 0) && r.Connect == map[bool]time.Duration{true: time.Duration(port) * time.Microsecond}[r.Open]
		if !consistent {
			t.Fatalf("got %+v; the session was %+v", r, is)
		}
	}
}

func TestID(t *testing.T) {
	for _, id := range []ID{{1, 1}, {1<<32 - 1, 1<<64 - 1}} {
		if got, err := ParseID(id.String()); got != id || err != nil {
			t.Errorf("%s: got %v, %v", id, got, err)
		}
	}
	for _, text := range []string{"", "1", "-", "1-", "a-b", "1-2-3", "01-2", "1-2 ", "+1-2", "4294967296-1"} {
		if id, err := ParseID(text); err == nil {
			t.Errorf("%q: got %v; want an error", text, id)
		}
	}
}

// FuzzID holds that an ID is written in one way alone.
func FuzzID(f *testing.F) {
	for _, text := range []string{"1-1", "4294967295-18446744073709551615", "0-0", "-1--1", "01-1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := ParseID(text); err == nil && id.String() != text {
			t.Errorf("%q was read as %s", text, id)
		}
	})
}

// There are as many sessions as clients at one time, so their size is what an idle client
// costs here: a chunk of them fills one of the allocator's sizes.
func TestSizeOfASession(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("laid out for 64-bit machines")
	}
	if got := unsafe.Sizeof(session{}); got != 192 {
		t.Errorf("got %d bytes; want 192", got)
	}
}

func TestSays(t *testing.T) {
	r := Record{ID: ID{3, 14}, Listener: "front", Pool: "pool", Backend: "db-1", Address: "10.0.0.1:5432", Client: netip.MustParseAddrPort("[2001:db8::7]:99")}
	for text, want := range map[string]bool{
		"": true, "3-14": true, "fro": true, "pool": true, "db-1": true, "5432": true, "db8::7": true, ":99": true, "unix": false,
	} {
		if got := r.Says(text); got != want {
			t.Errorf("%q: got %v; want %v", text, got, want)
		}
	}
	r.Client = netip.AddrPort{}
	if !r.Says("unix") {
		t.Error("a client of a unix socket is not found as unix")
	}
}

// BenchmarkRecords is one look at many live sessions.
func BenchmarkRecords(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n, " sessions"), func(b *testing.B) {
			backend := target("a", "10.0.0.1:5432")
			pool, err := balancer.New(balancer.Options{}, []balancer.Spec{{Name: "a", Address: "a", Weight: 1, Value: backend}})
			if err != nil {
				b.Fatal(err)
			}
			l := NewListener("front", zerolog.Nop(), Conf{Pool: NewPool("pool", pool, Dialing{Attempts: 1})})
			for range n {
				s, _ := l.Open(splice.Peer{Remote: netip.MustParseAddrPort("192.0.2.7:1")})
				s.Dial(nil)
				s.(splice.Connected).Connected(time.Millisecond)
			}
			b.ReportAllocs()
			for b.Loop() {
				l.Records(func(*Record) {})
			}
		})
	}
}
