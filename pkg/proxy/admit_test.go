package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/limeload/limeload/pkg/access"
	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/splice"
)

// unhurried runs a test in synctest's bubble, where time passes only while the test sleeps:
// no rate gives a token back because the machine was slow.
func unhurried(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Duration(-limit.Now())) // from the year 2000, where bubbles begin, to this process
		test(t)
	})
}

// guarded is a rig whose listener has an Admission.
func guarded(t *testing.T, a *Admission) *rig {
	t.Helper()
	r := newRig(t, Dialing{Attempts: 1}, target("a", "10.0.0.1:1"))
	conf := *r.Conf()
	conf.Access = false
	r.Configure(conf)
	r.guard(a)
	return r
}

// guard gives the listener another Admission, as a reload does.
func (r *rig) guard(a *Admission) {
	if a != nil && a.Table == nil && !a.Each.isZero() {
		if a.Table = r.table.Load(); a.Table == nil {
			a.Table = limit.NewSources(1000)
		}
	}
	if a != nil && a.Prefix == [2]int{} {
		a.Prefix = [2]int{32, 64}
	}
	conf := *r.Conf()
	conf.Admission = a
	r.Configure(conf)
}

// come is a client at the door.
func (r *rig) come(from string) (splice.Session, error) {
	peer := splice.Peer{Unix: true}
	if from != "unix" {
		peer = splice.Peer{Remote: netip.AddrPortFrom(netip.MustParseAddr(from), 1234)}
	}
	return r.Open(peer)
}

func leave(s splice.Session) { s.Close(splice.Result{Reason: splice.ReasonClientClosed}) }

// quota is one that neither delays nor pretends.
func quota(connections, rate, burst int) Quota {
	return Quota{Quota: limit.Quota{Connections: connections, Rate: limit.PerSecond(rate, burst)}}
}

func deny(prefixes ...string) *access.List {
	var s access.Source
	for _, p := range prefixes {
		s.Rules = append(s.Rules, access.Rule{Prefix: netip.MustParsePrefix(p), Deny: true})
	}
	return access.New(false, s)
}

func TestAdmission(t *testing.T) {
	full := &limit.Ceiling{}
	full.SetLimit(100)
	full.Watch(100)
	const a, b, other = "192.0.2.1", "192.0.2.2", "198.51.100.1"
	for _, test := range []struct {
		name    string
		ask     Admission
		clients []string
		want    []string // "" is let in
	}{
		{"nothing to ask", Admission{}, []string{a, a, "unix"}, []string{"", "", ""}},
		{"access list", Admission{Access: deny("192.0.2.0/31")}, []string{a, b, "unix"}, []string{"access-denied", "", ""}},
		{"mapped address", Admission{Access: deny("192.0.2.0/31")}, []string{"::ffff:192.0.2.1"}, []string{"access-denied"}},
		{"memory", Admission{Memory: full}, []string{a, "unix"}, []string{"limit-memory", "limit-memory"}},
		{"connections", Admission{All: quota(2, 0, 0)}, []string{a, b, other, "unix"}, []string{"", "", "limit-connections", "limit-connections"}},
		{"rate", Admission{All: quota(0, 1, 2)}, []string{a, b, other, "unix"}, []string{"", "", "limit-rate", "limit-rate"}},
		{"connections of a source", Admission{Each: quota(1, 0, 0)}, []string{a, a, b, "unix", "unix"}, []string{"", "limit-source-connections", "", "", ""}},
		{"rate of a source", Admission{Each: quota(0, 1, 2)}, []string{a, a, a, b}, []string{"", "", "limit-source-rate", ""}},
		{"a mapped source", Admission{Each: quota(1, 0, 0)}, []string{a, "::ffff:192.0.2.1"}, []string{"", "limit-source-connections"}},
		{"sources are networks", Admission{Each: quota(1, 0, 0), Prefix: [2]int{24, 48}},
			[]string{a, b, other, "2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:1::1"},
			[]string{"", "limit-source-connections", "", "", "limit-source-connections", ""}},
		{"a table without room", Admission{Each: quota(9, 0, 0), Table: limit.NewSources(1)}, []string{a, a, b}, []string{"", "", "limit-source-table"}},
		{"the list comes first", Admission{Access: deny("192.0.2.1/32"), Memory: full, All: quota(1, 0, 0)}, []string{a}, []string{"access-denied"}},
		{"the source comes before the listener's rate", Admission{All: quota(0, 1, 2), Each: quota(1, 0, 0)}, []string{a, a, a, b, other},
			[]string{"", "limit-source-connections", "limit-source-connections", "", "limit-rate"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			unhurried(t, func(t *testing.T) {
				r := guarded(t, &test.ask)
				refused := map[string]uint64{}
				for i, c := range test.clients {
					foreseen, rule := r.Refusal(netip.Addr{})
					if c != "unix" {
						foreseen, rule = r.Refusal(netip.MustParseAddr(c).Unmap())
					}
					s, err := r.come(c)
					got := ""
					if err != nil {
						got = err.Error()
						refused[got]++
					} else {
						defer leave(s)
					}
					if got != test.want[i] {
						t.Errorf("client %d, %s: got %q; want %q", i, c, got, test.want[i])
					}
					if foreseen != got || (rule == "") != (got == "") {
						t.Errorf("client %d, %s: Refusal said %q (%s); it was %q", i, c, foreseen, rule, got)
					}
				}
				for _, kind := range Refusals() {
					if n := r.Refused[kind].Load(); n != refused[kind.String()] {
						t.Errorf("%s: counted %d; want %d", kind, n, refused[kind.String()])
					}
				}
				if n := uint64(len(test.clients)) - r.Sessions.Load(); n != sum(refused) {
					t.Errorf("%d clients are no sessions; want the %d that were refused", n, sum(refused))
				}
			})
		})
	}
}

func sum(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// A client that one limit refuses has taken nothing from the others.
func TestRefusedTakesNothing(t *testing.T) {
	unhurried(t, func(t *testing.T) {
		r := guarded(t, &Admission{All: quota(10, 1, 1), Each: quota(10, 5, 5)})
		s, _ := r.come("192.0.2.1")
		for range 100 { // the listener's rate refuses, after the source's was asked
			if _, err := r.come("192.0.2.1"); err != LimitRate {
				t.Fatalf("got %v; want %v", err, LimitRate)
			}
		}
		r.guard(&Admission{All: quota(10, 0, 0), Each: quota(10, 5, 5)})
		for i := range 4 { // of the source's burst
			s, err := r.come("192.0.2.1")
			if err != nil {
				t.Fatalf("session %d: got %v; want the source's burst untouched", i, err)
			}
			defer leave(s)
		}
		leave(s)
		if n := r.inside.Load(); n != 4 {
			t.Errorf("%d sessions are counted; want 4", n)
		}
	})
}

// What was taken is given back, whatever has changed meanwhile; and a random history
// of clients and reloads leaves nothing behind.
func TestAdmissionGivesBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	r := guarded(t, nil)
	random := func() *Admission {
		if rnd.IntN(4) == 0 {
			return nil
		}
		a := &Admission{Hold: Hold{Longest: time.Millisecond, Most: rnd.IntN(4)}, Prefix: [2]int{24 + rnd.IntN(9), 64}}
		for _, q := range []*Quota{&a.All, &a.Each} {
			*q = quota(rnd.IntN(8), rnd.IntN(2)*100_000, rnd.IntN(20))
			q.DelayConnections, q.DelayRate, q.DryRun = rnd.IntN(2) == 0, rnd.IntN(2) == 0, rnd.IntN(4) == 0
		}
		if rnd.IntN(8) == 0 {
			a.Access = deny("192.0.2.0/30")
		}
		return a
	}
	var live []splice.Session
	for range 20_000 {
		switch k := rnd.IntN(20); {
		case k == 0:
			r.guard(random())
			if rnd.IntN(2) == 0 {
				for _, s := range live {
					Recount(s)
				}
			}
		case k < 10 && len(live) > 0:
			i := rnd.IntN(len(live))
			leave(live[i])
			live[i] = live[len(live)-1]
			live = live[:len(live)-1]
		default:
			s, err := r.come(fmt.Sprintf("192.0.2.%d", rnd.IntN(16)))
			if err != nil {
				continue
			}
			if _, err := s.Dial(nil); limitedForGood(err) {
				s.Close(splice.Result{Reason: splice.ReasonConnectFailed, Err: err})
				continue
			}
			live = append(live, s)
		}
	}
	for _, s := range live {
		leave(s)
	}
	if open, held := r.inside.Load(), r.Held(); open != 0 || held != 0 {
		t.Errorf("seed %d: %d sessions counted and %d held at the end; want none", seed, open, held)
	}
	r.guard(&Admission{Each: quota(1, 0, 0)})
	for n := range 16 {
		if s, err := r.come(fmt.Sprintf("192.0.2.%d", n)); err != nil {
			t.Errorf("seed %d: source %d: got %v; want it to have no session", seed, n, err)
		} else {
			defer leave(s)
		}
	}
}

func limitedForGood(err error) bool {
	_, ok := err.(Refusal)
	return ok
}

// A limit that is lowered holds for who is inside already.
func TestRecount(t *testing.T) {
	r := guarded(t, nil)
	var inside []splice.Session
	for range 5 {
		s, _ := r.come("192.0.2.1")
		inside = append(inside, s)
	}
	come := func(want error) {
		t.Helper()
		s, err := r.come("192.0.2.1")
		if err == nil {
			defer leave(s)
		}
		if err != want {
			t.Errorf("with %d inside: got %v; want %v", len(inside), err, want)
		}
	}
	recount := func(a *Admission) {
		r.guard(a)
		for _, s := range inside {
			Recount(s)
		}
	}
	r.guard(&Admission{Each: quota(5, 0, 0)})
	come(nil) // not yet counted
	recount(&Admission{Each: quota(5, 0, 0)})
	come(LimitSourceConnections)
	recount(&Admission{Each: quota(6, 0, 0)})
	come(nil)
	recount(&Admission{Each: quota(5, 0, 0), Prefix: [2]int{24, 64}})
	come(LimitSourceConnections)
	recount(&Admission{All: quota(5, 0, 0)})
	come(LimitConnections)
	leave(inside[0])
	inside = inside[1:]
	come(nil)
	recount(nil)
	come(nil)
	for _, s := range inside {
		leave(s)
	}
	if r.inside.Load() != 0 {
		t.Errorf("%d sessions are counted at the end; want 0", r.inside.Load())
	}
}

func TestDryRunOnlyCounts(t *testing.T) {
	unhurried(t, func(t *testing.T) {
		a := &Admission{Access: deny("198.51.100.0/24"), AccessDryRun: true, All: quota(3, 1, 4), Each: quota(2, 0, 0)}
		a.All.DryRun, a.Each.DryRun = true, true
		a.Each.DelayConnections = true // even so nobody is held
		r := guarded(t, a)
		for range 5 {
			s, err := r.come("192.0.2.1")
			if err != nil {
				t.Fatalf("got %v; want a dry run to let everybody in", err)
			}
			if _, err := s.Dial(nil); err != nil {
				t.Fatalf("Dial: got %v; want an endpoint at once", err)
			}
			defer leave(s)
		}
		s, err := r.come("198.51.100.9")
		if err != nil {
			t.Fatal(err)
		}
		defer leave(s)
		for kind, want := range map[Refusal]uint64{
			AccessDenied: 1, LimitSourceConnections: 3, LimitConnections: 3, LimitRate: 2,
		} {
			if got := r.DryRun[kind].Load(); got != want {
				t.Errorf("%s: counted %d; want %d", kind, got, want)
			}
			if got := r.Refused[kind].Load(); got != 0 {
				t.Errorf("%s: %d refused; want none", kind, got)
			}
		}
		if name, rule := r.Refusal(netip.MustParseAddr("198.51.100.9")); name != "" {
			t.Errorf("Refusal said %s (%s); want that nothing refuses", name, rule)
		}
	})
}

// dial asks as an engine does, until there is an endpoint or an error, and answers how
// often it had to wait.
func dial(t *testing.T, s splice.Session) (waits int, err error) {
	t.Helper()
	var last error
	for {
		_, err := s.Dial(last)
		w, ok := err.(splice.Wait)
		if !ok {
			return waits, err
		}
		if w <= 0 || time.Duration(w) > 10*time.Second {
			t.Fatalf("wait %v; want some time", w)
		}
		waits, last = waits+1, w
		time.Sleep(min(time.Duration(w), 20*time.Millisecond))
	}
}

func TestDelay(t *testing.T) {
	all := quota(1, 0, 0)
	all.DelayConnections = true
	r := guarded(t, &Admission{All: all, Hold: Hold{Longest: time.Minute, Most: 2}})
	first, _ := r.come("192.0.2.1")
	if _, err := first.Dial(nil); err != nil {
		t.Fatal(err)
	}
	second, err := r.come("192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	third, _ := r.come("192.0.2.1")
	if _, err := r.come("192.0.2.1"); err != LimitDelay {
		t.Errorf("one more than may be held: got %v; want %v", err, LimitDelay)
	}
	if r.Held() != 2 || r.Delayed[LimitConnections].Load() != 2 {
		t.Errorf("%d held, %d counted; want 2", r.Held(), r.Delayed[LimitConnections].Load())
	}
	if _, err := second.Dial(nil); !isWait(err) {
		t.Errorf("got %v; want a wait", err)
	}
	leave(first)
	if _, err := dial(t, second); err != nil {
		t.Errorf("after one left: got %v; want an endpoint", err)
	}
	third.Close(splice.Result{Reason: splice.ReasonClientClosed}) // it gives up
	if r.Held() != 0 || r.inside.Load() != 1 {
		t.Errorf("%d held, %d inside; want 0 and 1", r.Held(), r.inside.Load())
	}
	leave(second)

	t.Run("for too long", func(t *testing.T) {
		r.guard(&Admission{All: all, Hold: Hold{Longest: time.Millisecond, Most: 2}})
		inside, _ := r.come("192.0.2.1")
		defer leave(inside)
		s, _ := r.come("192.0.2.1")
		_, err := dial(t, s)
		if err != LimitDelay {
			t.Errorf("got %v; want %v", err, LimitDelay)
		}
		s.Close(splice.Result{Reason: splice.ReasonConnectFailed, Err: err})
		if n := r.Ended[splice.ReasonLimit].Load(); n != 1 || r.Held() != 0 {
			t.Errorf("%d sessions ended by a limit, %d held; want 1 and 0", n, r.Held())
		}
	})
	t.Run("until the limits are gone", func(t *testing.T) {
		r.guard(&Admission{All: all, Hold: Hold{Longest: time.Minute, Most: 2}})
		inside, _ := r.come("192.0.2.1")
		defer leave(inside)
		s, _ := r.come("192.0.2.1")
		defer leave(s)
		if _, err := s.Dial(nil); !isWait(err) {
			t.Errorf("got %v; want a wait", err)
		}
		r.guard(nil)
		if _, err := s.Dial(splice.Wait(1)); err != nil || r.Held() != 0 {
			t.Errorf("got %v, %d held; want an endpoint", err, r.Held())
		}
	})
	t.Run("until the list denies it", func(t *testing.T) {
		r.guard(&Admission{All: all, Hold: Hold{Longest: time.Minute, Most: 2}})
		inside, _ := r.come("192.0.2.1")
		defer leave(inside)
		s, _ := r.come("192.0.2.1")
		r.guard(&Admission{Access: deny("192.0.2.1/32"), All: all})
		if _, err := s.Dial(nil); err != AccessDenied {
			t.Errorf("got %v; want %v", err, AccessDenied)
		}
		leave(s)
	})
}

func isWait(err error) bool {
	_, ok := err.(splice.Wait)
	return ok
}

// Held by a rate, sessions come in at that rate, and each of them does.
func TestDelayByRate(t *testing.T) {
	const rate, burst, n = 200, 2, 20
	each := quota(0, rate, burst)
	each.DelayRate = true
	r := guarded(t, &Admission{Each: each, Hold: Hold{Longest: time.Minute, Most: 100}})
	start, done := time.Now(), make(chan error)
	for range n {
		go func() {
			s, err := r.come("192.0.2.1")
			if err == nil {
				if _, err = dial(t, s); err == nil {
					leave(s)
				}
			}
			done <- err
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Errorf("got %v; want every session let in at last", err)
		}
	}
	if took := time.Since(start); took < (n-burst)*time.Second/rate {
		t.Errorf("%d sessions took %v; want no more than %d/s and %d at once", n, took, rate, burst)
	}
}

// below has backends take one client a second, and two at once.
func below(delay, dry bool) Dialing {
	return Dialing{Attempts: 3, Limit: BackendLimit{
		Rate: limit.PerSecond(1, 2), Delay: delay, DryRun: dry, Hold: Hold{Longest: time.Minute, Most: 1},
	}}
}

// spend has a backend of below taken by as many as it takes at once.
func spend(t *testing.T, r *rig) {
	for range 2 {
		s := r.open(t)
		s.Dial(nil)
		t.Cleanup(func() { leave(s) })
	}
}

func TestBackendRateHolds(t *testing.T) {
	t.Run("held until one is below", func(t *testing.T) {
		unhurried(t, func(t *testing.T) {
			r := newRig(t, below(true, false), target("a", "10.0.0.1:1"))
			spend(t, r)
			s, other := r.open(t), r.open(t)
			if _, err := s.Dial(nil); !isWait(err) {
				t.Errorf("got %v; want a wait", err)
			}
			if _, err := other.Dial(nil); err != LimitDelay {
				t.Errorf("one more than may be held: got %v; want %v", err, LimitDelay)
			}
			leave(other)
			if n := r.Conf().Pool.Held(); n != 1 {
				t.Errorf("%d held; want 1", n)
			}
			if _, err := dial(t, s); err != nil {
				t.Errorf("got %v; want an endpoint in the end", err)
			}
			if n := r.Conf().Pool.Held(); n != 0 {
				t.Errorf("%d held; want 0", n)
			}
			leave(s)
		})
	})
	t.Run("who is held does not count any more where it is a dry run by then", func(t *testing.T) {
		unhurried(t, func(t *testing.T) {
			r := newRig(t, below(true, false), target("a", "10.0.0.1:1"))
			spend(t, r)
			s := r.open(t)
			defer leave(s)
			_, err := s.Dial(nil)
			if !isWait(err) {
				t.Fatalf("got %v; want a wait", err)
			}
			r.Conf().Pool.SetDialing(below(true, true))
			if _, err := s.Dial(err); err != nil {
				t.Errorf("got %v; want an endpoint", err)
			}
			if n := r.Conf().Pool.Held(); n != 0 {
				t.Errorf("%d held; want 0", n)
			}
		})
	})
}

func TestBackendRate(t *testing.T) {
	t.Run("the next backend, then the reset", func(t *testing.T) {
		unhurried(t, func(t *testing.T) {
			r := newRig(t, below(false, false), target("a", "10.0.0.1:1"), target("b", "10.0.0.2:1"))
			var got []string
			for range 6 {
				s := r.open(t)
				ep, err := s.Dial(nil)
				if err != nil {
					got = append(got, err.Error())
					s.Close(splice.Result{Reason: splice.ReasonConnectFailed, Err: err})
					continue
				}
				got = append(got, ep.Addr.String())
				leave(s)
			}
			want := []string{"10.0.0.1:1", "10.0.0.1:1", "10.0.0.2:1", "10.0.0.2:1", "limit-backend-rate", "limit-backend-rate"}
			if !equal(got, want) {
				t.Errorf("got %v; want %v", got, want)
			}
			if r.Refused[LimitBackendRate].Load() != 2 || r.Ended[splice.ReasonLimit].Load() != 2 {
				t.Errorf("%d refused, %d ended by a limit; want 2", r.Refused[LimitBackendRate].Load(), r.Ended[splice.ReasonLimit].Load())
			}
		})
	})
	t.Run("a backend that failed is not tried again for it", func(t *testing.T) {
		r := newRig(t, below(false, false), target("a", "10.0.0.1:1"), target("b", "10.0.0.2:1"))
		s := r.open(t)
		got, err := dialled(s, errRefused)
		if want := []string{"10.0.0.1:1", "10.0.0.2:1", "wait", "10.0.0.1:1"}; !equal(got, want) {
			t.Errorf("dialled %v; want %v", got, want)
		}
		s.Close(splice.Result{Reason: splice.ReasonConnectFailed, Err: err})
	})
	t.Run("dry run", func(t *testing.T) {
		unhurried(t, func(t *testing.T) {
			r := newRig(t, below(true, true), target("a", "10.0.0.1:1"))
			for range 5 {
				s := r.open(t)
				if _, err := s.Dial(nil); err != nil {
					t.Errorf("got %v; want a dry run to let everybody in", err)
				}
				defer leave(s)
			}
			if n := r.DryRun[LimitBackendRate].Load(); n != 3 {
				t.Errorf("counted %d; want 3", n)
			}
		})
	})
}

// An example is the first client since the last look, with the rule that it met: not
// what a list of later says of it.
func TestExample(t *testing.T) {
	r := guarded(t, &Admission{Access: deny("192.0.2.0/24")})
	for _, c := range []string{"192.0.2.1", "192.0.2.2"} {
		r.come(c)
	}
	r.guard(&Admission{Access: deny("198.51.100.0/24")})
	if got, rule := r.Example(AccessDenied, false); got.String() != "192.0.2.1" || rule != "deny 192.0.2.0/24" {
		t.Errorf("got %s, %q; want the first one since the last look, and its rule", got, rule)
	}
	r.come("198.51.100.3")
	r.guard(nil)
	if got, rule := r.Example(AccessDenied, false); got.String() != "198.51.100.3" || rule != "deny 198.51.100.0/24" {
		t.Errorf("got %s, %q; want 198.51.100.3 and its rule", got, rule)
	}
}

// A refusal takes no memory, so that a flood does not.
func TestRefusalAllocatesNothing(t *testing.T) {
	r := guarded(t, &Admission{Access: deny("192.0.2.1/32"), Each: quota(1, 0, 0)})
	s, _ := r.come("192.0.2.2")
	defer leave(s)
	for _, c := range []string{"192.0.2.1", "192.0.2.2"} {
		peer := splice.Peer{Remote: netip.AddrPortFrom(netip.MustParseAddr(c), 1)}
		if n := testing.AllocsPerRun(1000, func() { r.Open(peer) }); n > 0 {
			t.Errorf("%s: got %v allocations; want 0", c, n)
		}
	}
}
