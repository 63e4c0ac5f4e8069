package balancer

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// trialPool has a on trial and b as usual, both up.
func trialPool(t *testing.T, o Options) (p *Pool, a, b *Backend) {
	t.Helper()
	p, err := New(o, []Spec{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	a, b = named(t, p, "a"), named(t, p, "b")
	p.SetStandings(map[*Backend]Standing{a: {Health: Up, Trial: true}, b: {Health: Up}})
	return p, a, b
}

func acquired(t *testing.T, p *Pool, client netip.Addr, tried *Tried) *Backend {
	t.Helper()
	b, err := p.Acquire(client, tried)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTrialIsOneAtATime(t *testing.T) {
	for _, algorithm := range Algorithms() {
		p, a, b := trialPool(t, Options{Algorithms: []string{algorithm}})
		if p.Usable() != 2 {
			t.Errorf("%s: %d usable; want 2", algorithm, p.Usable())
		}
		if got := acquired(t, p, netip.Addr{}, nil); got != a {
			t.Fatalf("%s: the first session is on %s; want a", algorithm, got.Name())
		}
		ticket := a.ClaimTrial()
		if ticket == 0 || a.ClaimTrial() != 0 {
			t.Fatalf("%s: ticket %d, then another one; want one", algorithm, ticket)
		}
		for range 5 {
			if got := acquired(t, p, netip.Addr{}, nil); got != b || b.ClaimTrial() != 0 {
				t.Errorf("%s: a session during the trial is on %s; want b, and no trial", algorithm, got.Name())
			}
		}
		a.EndTrial(ticket)
		a.EndTrial(ticket) // has no effect any more
		if got := acquired(t, p, netip.Addr{}, nil); got != a {
			t.Errorf("%s: the next session is on %s; want a", algorithm, got.Name())
		}
		a.EndTrial(ticket) // of an earlier trial
		if got := acquired(t, p, netip.Addr{}, nil); got != b {
			t.Errorf("%s: an old ticket ended another trial", algorithm)
		}
	}
}

func TestNewTrialsDoNotWaitForOldSessions(t *testing.T) {
	p, a, b := trialPool(t, Options{})
	acquired(t, p, netip.Addr{}, nil)
	old := a.ClaimTrial()
	p.SetStandings(map[*Backend]Standing{a: {Health: Up, Barred: true}})
	if got := acquired(t, p, netip.Addr{}, nil); got != b {
		t.Fatalf("a session while a is barred is on %s; want b", got.Name())
	}
	p.SetStandings(map[*Backend]Standing{a: {Health: Up, Trial: true}})
	if got := acquired(t, p, netip.Addr{}, nil); got != a {
		t.Errorf("a session of new trials is on %s; want a", got.Name())
	}
	if ticket := a.ClaimTrial(); ticket == 0 || ticket == old {
		t.Errorf("ticket %d after %d; want another one", ticket, old)
	}
}

func TestTrialRespectsTheSession(t *testing.T) {
	p, a, b := trialPool(t, Options{})
	var tried Tried
	tried.Add(a)
	if got := acquired(t, p, netip.Addr{}, &tried); got != b {
		t.Errorf("a session that failed on a is on %s; want b", got.Name())
	}
	tried.Add(b)
	if _, err := p.Acquire(netip.Addr{}, &tried); err != ErrTried {
		t.Errorf("error %v; want %v", err, ErrTried)
	}
	p.SetStandings(map[*Backend]Standing{b: {Health: Down}})
	if _, err := p.Acquire(netip.Addr{}, &tried); err != ErrNoBackend {
		t.Errorf("with b down: error %v; want %v, since a is not tried twice", err, ErrNoBackend)
	}
}

// Under ip-hash the trial is a client of the backend's own; others stay where they are.
func TestTrialIsAtHome(t *testing.T) {
	o := Options{Algorithms: []string{"ip-hash"}}
	p, err := New(o, []Spec{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	homes := map[netip.Addr]*Backend{}
	for i := range 100 {
		homes[benchClient(i)] = acquired(t, p, benchClient(i), nil)
	}
	a := named(t, p, "a")
	p.SetStandings(map[*Backend]Standing{a: {Trial: true}})
	for client, home := range homes {
		got := acquired(t, p, client, nil)
		if home != a && got != home {
			t.Errorf("%s was at home on %s, and is on %s", client, home.Name(), got.Name())
		}
		if got == a {
			a.EndTrial(a.ClaimTrial())
		}
	}
}

func TestBackupIsNotTriedWhilePrimariesServe(t *testing.T) {
	p, err := New(Options{}, []Spec{{Name: "a", Weight: 1}, {Name: "x", Weight: 1, Backup: true}})
	if err != nil {
		t.Fatal(err)
	}
	a, x := named(t, p, "a"), named(t, p, "x")
	p.SetStandings(map[*Backend]Standing{a: {Health: Up}, x: {Health: Up, Trial: true}})
	for range 5 {
		if got := acquired(t, p, netip.Addr{}, nil); got != a {
			t.Errorf("a session is on %s; want a", got.Name())
		}
	}
}

func TestConcurrentTrials(t *testing.T) {
	p, a, _ := trialPool(t, Options{})
	var inTrial atomic.Int64
	var trials atomic.Int64
	var sessions sync.WaitGroup
	for range 8 {
		sessions.Go(func() {
			for range 2000 {
				b, err := p.Acquire(netip.Addr{}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if ticket := b.ClaimTrial(); ticket != 0 {
					trials.Add(1)
					if n := inTrial.Add(1); n != 1 || b != a {
						t.Errorf("%d trials at once", n)
					}
					inTrial.Add(-1)
					b.EndTrial(ticket)
				}
				b.Release()
			}
		})
	}
	sessions.Wait()
	if trials.Load() == 0 {
		t.Error("there was no trial")
	}
}

// A share of a weight of 1 is a share: weights count in hundredths.
func TestShare(t *testing.T) {
	for _, algorithm := range []string{"least-connections", "round-robin"} {
		p, err := New(Options{Algorithms: []string{algorithm}}, []Spec{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}})
		if err != nil {
			t.Fatal(err)
		}
		a, b := named(t, p, "a"), named(t, p, "b")
		p.SetStandings(map[*Backend]Standing{a: {Health: Up, Share: 25}, b: {Health: Up}})
		for range 100 {
			acquired(t, p, netip.Addr{}, nil)
		}
		if a.Active() != 20 || b.Active() != 80 {
			t.Errorf("%s: of 100 sessions %d are on a, %d on b; want 20, 80", algorithm, a.Active(), b.Active())
		}
	}
}

func TestEffectiveWeightBounds(t *testing.T) {
	tests := []struct{ weight, share, want int }{
		{1, 0, 100}, {1, 100, 100}, {1, 1, 1}, {10, 50, 500}, {0, 50, 0}, {256, 150, 25600}, {1, 150, 150}, {1, 1 << 40, 25600},
	}
	for _, test := range tests {
		s := State{Spec: Spec{Weight: test.weight}, Standing: Standing{Share: test.share}}
		if got := s.EffectiveWeight(); got != test.want {
			t.Errorf("%d %% of weight %d: %d hundredths; want %d", test.share, test.weight, got, test.want)
		}
	}
}
