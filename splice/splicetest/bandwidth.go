package splicetest

import (
	"io"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

var bandwidthTests = []test{
	{"up is bounded, and nothing is lost", suite.boundedUp},
	{"down is bounded, and nothing is lost", suite.boundedDown},
	{"each session is bounded by itself", suite.boundedEach},
	{"a shared bound is shared evenly", suite.boundedShared},
	{"at high rates the bound is kept, by splicing as well", suite.boundedFast},
	{"the other direction is free", suite.boundedOneWay},
	{"a change holds for sessions that wait", suite.boundChanged},
	{"a bound is laid on sessions that live", suite.boundLaid},
	{"the sender is held back", suite.boundHoldsSender},
	{"the end comes behind the last byte", suite.boundedEnd},
	{"a side that breaks ends a session that waits", suite.boundedReset},
	{"Kill ends a session that waits", suite.boundedKill},
	{"a lifetime ends a session that waits", suite.boundedLifetime},
	{"waiting for a turn is not idleness", suite.boundedIdle},
	{"a session that was bounded and is silent is idle", suite.boundedThenIdle},
}

// burst is what a bucket of bytes holds; see splice.Bandwidth.
func burst(rate int64) int64 { return max(rate/10, 4<<10) }

// bounded is a rig whose sessions have a bandwidth.
func (s suite) bounded(t *testing.T, rates splice.Rates, timeouts splice.Timeouts) *rig {
	t.Helper()
	b := &splice.Bandwidth{}
	b.Set(rates)
	return s.rig(t, plan{bandwidth: b, timeouts: timeouts})
}

// transfer moves n bytes of the pattern from one peer to the other, and answers how
// long that took, the sender's end included.
func transfer(t testing.TB, from, to stream, n int64) time.Duration {
	t.Helper()
	began := time.Now()
	sent := background(t, "send", func() error {
		if err := sendPattern(from, 0, n, 64<<10); err != nil {
			return err
		}
		return from.CloseWrite()
	})
	wantPattern(t, to, 0, n)
	took := time.Since(began)
	sent()
	return took
}

// wantBounded checks that n bytes did not pass in less time than they may.
func wantBounded(t testing.TB, n, rate int64, took time.Duration) {
	t.Helper()
	if least := time.Duration(float64(n-burst(rate)) / float64(rate) * float64(time.Second)); took < least {
		t.Errorf("%d bytes passed in %v; want %v at least at %d a second", n, took, least, rate)
	}
	// Nothing says how slow a machine may be. But turns that are lost show in
	// multiples.
	if most := 4*time.Duration(float64(n)/float64(rate)*float64(time.Second)) + 5*time.Second; took > most {
		t.Errorf("%d bytes took %v; want no more than about %v at %d a second", n, took, most, rate)
	}
}

func (s suite) boundedUp(t *testing.T) {
	const rate, n = 1 << 20, 1 << 20
	r := s.bounded(t, splice.Rates{Up: rate}, splice.Timeouts{})
	client, server, _ := r.connect()
	wantBounded(t, n, rate, transfer(t, client, server, n))
}

func (s suite) boundedDown(t *testing.T) {
	const rate, n = 1 << 20, 1 << 20
	r := s.bounded(t, splice.Rates{Down: rate}, splice.Timeouts{})
	client, server, _ := r.connect()
	wantBounded(t, n, rate, transfer(t, server, client, n))
}

func (s suite) boundedEach(t *testing.T) {
	const rate, n, sessions = 1 << 20, 512 << 10, 4
	r := s.bounded(t, splice.Rates{SessionDown: rate}, splice.Timeouts{})
	for range sessions {
		client, server, _ := r.connect()
		t.Cleanup(background(t, "transfer", func() error {
			wantBounded(t, n, rate, transfer(t, server, client, n))
			return nil
		}))
	}
}

func (s suite) boundedShared(t *testing.T) {
	const rate, sessions = 2 << 20, 4
	r := s.bounded(t, splice.Rates{Down: rate}, splice.Timeouts{})
	began := time.Now()
	recorders := make([]*recorder, sessions)
	for i := range sessions {
		client, server, session := r.connect()
		recorders[i] = session
		go sendPattern(server, 0, 1<<40, 64<<10) // until the rig ends
		go io.Copy(io.Discard, client)
	}
	total := func() (sum, least int64) {
		least = 1 << 62
		for _, s := range recorders {
			n := int64(s.counters.Down.Load())
			sum, least = sum+n, min(least, n)
		}
		return sum, least
	}
	eventually(t, "every session has had a share", func() bool { _, least := total(); return least >= 256<<10 })
	sum, least := total()
	if most := int64(time.Since(began).Seconds()*rate) + burst(rate); sum > most {
		t.Errorf("%d bytes passed; want %d at most", sum, most)
	}
	if least*sessions < sum/2 {
		t.Errorf("a session got %d of %d bytes; want about a part of %d", least, sum, sessions)
	}
}

func (s suite) boundedFast(t *testing.T) {
	const rate, n = 64 << 20, 32 << 20
	r := s.bounded(t, splice.Rates{SessionUp: rate}, splice.Timeouts{})
	client, server, _ := r.connect()
	wantBounded(t, n, rate, transfer(t, client, server, n))
	var spliced, copied uint64
	for _, l := range r.engine.Stats() {
		spliced, copied = spliced+l.SpliceBytes, copied+l.CopyBytes
	}
	if splices(r) && spliced < copied {
		t.Errorf("%d bytes were spliced and %d copied; want most of them spliced", spliced, copied)
	}
}

// splices reports whether the engine is one that does, by what it does without a
// bound.
func splices(r *rig) bool {
	r.plan.bandwidth.Set(splice.Rates{})
	client, server, _ := r.connect()
	transfer(r.t, client, server, 16<<20)
	var spliced uint64
	for _, l := range r.engine.Stats() {
		spliced += l.SpliceBytes
	}
	return spliced > 0
}

func (s suite) boundedOneWay(t *testing.T) {
	r := s.bounded(t, splice.Rates{Up: 1000, SessionUp: 1000}, splice.Timeouts{})
	client, server, _ := r.connect()
	transfer(t, server, client, 16<<20) // would take hours
}

func (s suite) boundChanged(t *testing.T) {
	const n = 1 << 20
	r := s.bounded(t, splice.Rates{Up: 1000}, splice.Timeouts{})
	client, server, session := r.connect()
	sent := background(t, "send", func() error {
		if err := sendPattern(client, 0, n, 64<<10); err != nil {
			return err
		}
		return client.CloseWrite()
	})
	eventually(t, "the first bytes pass", func() bool { return session.counters.Up.Load() > 0 })
	r.plan.bandwidth.Set(splice.Rates{Up: 1 << 30})
	wantPattern(t, server, 0, n) // would take a quarter of an hour
	sent()
}

func (s suite) boundLaid(t *testing.T) {
	const rate, n = 1 << 20, 1 << 20
	r := s.bounded(t, splice.Rates{}, splice.Timeouts{})
	client, server, _ := r.connect()
	roundTrip(t, client, server)
	r.plan.bandwidth.Set(splice.Rates{SessionDown: rate})
	wantBounded(t, n, rate, transfer(t, server, client, n))
}

func (s suite) boundHoldsSender(t *testing.T) {
	r := s.bounded(t, splice.Rates{Up: 1000}, splice.Timeouts{})
	client, server, _ := r.connect()
	go io.Copy(io.Discard, server)
	client.SetWriteDeadline(time.Now().Add(lasting))
	if n, err := client.Write(make([]byte, 64<<20)); err == nil {
		t.Errorf("wrote %d bytes at 1 kB/s; want to be held back", n)
	}
}

func (s suite) boundedEnd(t *testing.T) {
	const rate, n = 64 << 10, 40 << 10
	r := s.bounded(t, splice.Rates{SessionUp: rate}, splice.Timeouts{HalfClose: patience})
	client, server, session := r.connect()
	wantBounded(t, n, rate, transfer(t, client, server, n))
	send(t, server, "reply")
	want(t, client, "reply")
	end(t, server)
	wantEnd(t, client)
	session.wantEnd(t, splice.ReasonClientClosed)
}

// waitsForTurn is a session whose client has sent more than may pass for a long time.
func (s suite) waitsForTurn(t *testing.T, timeouts splice.Timeouts) (client, server stream, session *recorder) {
	t.Helper()
	r := s.bounded(t, splice.Rates{SessionUp: 1000}, timeouts)
	client, server, session = r.connect()
	if _, err := client.Write(at(0, 64<<10)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the burst has passed", func() bool { return session.counters.Up.Load() >= 2<<10 })
	return client, server, session
}

func (s suite) boundedReset(t *testing.T) {
	client, server, session := s.waitsForTurn(t, splice.Timeouts{})
	resetNow(server)
	session.wantEnd(t, splice.ReasonBackendReset)
	wantReset(t, client)
}

func (s suite) boundedKill(t *testing.T) {
	r := s.bounded(t, splice.Rates{SessionUp: 1000}, splice.Timeouts{})
	client, server, session := r.connect()
	if _, err := client.Write(at(0, 64<<10)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first bytes have passed", func() bool { return session.counters.Up.Load() > 0 })
	if n := r.engine.Kill(nil, splice.ReasonKilled); n != 1 {
		t.Errorf("Kill ended %d sessions; want 1", n)
	}
	session.wantEnd(t, splice.ReasonKilled)
	wantReset(t, server)
}

func (s suite) boundedLifetime(t *testing.T) {
	_, server, session := s.waitsForTurn(t, splice.Timeouts{Lifetime: lasting})
	session.wantEnd(t, splice.ReasonLifetime)
	wantReset(t, server)
}

// boundedIdle has turns that are further apart than the idle timeout.
func (s suite) boundedIdle(t *testing.T) {
	const n = 6 << 10
	r := s.bounded(t, splice.Rates{SessionUp: 2000}, splice.Timeouts{Idle: lasting})
	client, server, session := r.connect()
	if err := sendPattern(client, 0, n, n); err != nil {
		t.Fatal(err)
	}
	end(t, client)
	wantPattern(t, server, 0, n)
	end(t, server)
	session.wantEnd(t, splice.ReasonClientClosed)
}

func (s suite) boundedThenIdle(t *testing.T) {
	r := s.bounded(t, splice.Rates{SessionUp: 1000, Up: 1000}, splice.Timeouts{Idle: short})
	client, server, session := r.connect()
	roundTrip(t, client, server)
	wantCut(t, client, server, session, splice.ReasonIdleTimeout, short)
}
