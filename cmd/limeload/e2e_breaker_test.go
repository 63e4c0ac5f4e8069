//go:build linux

package main_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/testserver"
)

// A backend that refuses gets no more sessions, then a single one from time to time,
// and its share again as soon as one of those went well. No client notices.
func TestBreaker(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		const failures, ejection = 3, 300 * time.Millisecond
		a, b := startEcho(t, "a", refusing(t)), startEcho(t, "b", "127.0.0.1:0")
		l := serve(t, engine, balanced("round-robin", unprobed, a, "", b, "")+fmt.Sprintf(`
			[pool.breaker]
			failures = %d
			ejection = %q
		`, failures, ejection))
		r := rotation{t, l}

		a.stop()
		opened := r.until("b", breaker("a", "open"))
		if reason := opened.text("reason"); !strings.Contains(reason, "connects in a row failed") || !strings.Contains(reason, "refused") {
			t.Errorf("opened because %q; want that connects in a row were refused", reason)
		}
		seen := r.last()
		failed := r.retried(line{place: -1}, seen)
		if len(failed) < failures {
			t.Fatalf("%d sessions met a until it was open; want %d or more", len(failed), failures)
		}
		last := failed[len(failed)-1] // it opened after this one began
		half := r.untilAfter(opened, "b", breaker("a", "half-open"))
		for _, met := range r.retried(seen, half) { // the line follows the change, so the trial may be before it
			if after := between(t, last, met).Seconds() + last.number(t, "duration"); after < (ejection - 2*time.Millisecond).Seconds() {
				t.Errorf("a session met a while it was open, %.3f s after it was let in last", after)
			}
		}

		again := r.untilAfter(half, "b", breaker("a", "open"))
		if reason := again.text("reason"); !strings.HasPrefix(reason, "the trial failed: ") {
			t.Errorf("opened again because %q; want that the trial failed", reason)
		}
		if met := r.retried(seen, r.last()); len(met) == 0 {
			t.Error("no session met a while it was half-open; want the trial")
		}
		halfAgain := r.untilAfter(again, "b", breaker("a", "half-open"))
		first, second := between(t, opened, half), between(t, again, halfAgain)
		if first < ejection/2 || second < ejection*3/2 {
			t.Errorf("it was open for %v, then for %v; want %v, then twice as long", first, second, ejection)
		}

		a.start()
		r.trial(a)
		r.takesTurns("a", "b")
	})
}

// breaker is the line of a breaker that changed.
func breaker(backend, state string) fields {
	return fields{"msg": "breaker " + state, "pool": "pool", "backend": backend}
}

// between is the time from one line to another.
func between(t *testing.T, from, to line) time.Duration {
	t.Helper()
	var at [2]time.Time
	for i, ln := range []line{from, to} {
		var err error
		if at[i], err = time.Parse(time.RFC3339Nano, ln.text("time")); err != nil {
			t.Fatal(err)
		}
	}
	return at[1].Sub(at[0])
}

// rotation has sessions come one after another.
type rotation struct {
	t *testing.T
	l *limeload
}

// until has sessions come until there is a line in the log; each must be served by one
// backend.
func (r rotation) until(backend string, want fields) line {
	r.t.Helper()
	return r.untilAfter(line{place: -1}, backend, want)
}

func (r rotation) untilAfter(other line, backend string, want fields) (ln line) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("a line %v", want), func() bool {
		v := visit(r.t, r.l.address("front"))
		if v.name != backend {
			r.t.Errorf("a session is on %s; want it on %s", v.name, backend)
		}
		v.leave(r.t)
		r.l.session(v.LocalAddr())
		found, _, _ := r.l.log.find(other.place+1, want)
		if len(found) == 0 {
			return false
		}
		ln = found[0]
		return true
	})
	return ln
}

// last is the line of the session that came last.
func (r rotation) last() line {
	all := r.l.logged(fields{"msg": "session"})
	return all[len(all)-1]
}

// retried are the sessions after a line and up to another that one backend did not serve.
func (r rotation) retried(from, to line) (found []line) {
	for _, ln := range r.l.logged(fields{"msg": "session", "attempts": 2}) {
		if ln.place > from.place && ln.place <= to.place {
			found = append(found, ln)
		}
	}
	return found
}

// trial has sessions come until one is the trial of a backend that is well again. Until
// it has lived for a second, or what the test takes for one, nobody else gets there.
func (r rotation) trial(e *echo) {
	r.t.Helper()
	const early = time.Second // standing.Early
	var tried *visitor
	var since time.Time
	eventually(r.t, "a trial", func() bool {
		since = time.Now()
		v := visit(r.t, r.l.address("front"))
		if v.name == e.name {
			tried = v
			return true
		}
		v.leave(r.t)
		return false
	})
	all := r.l.logged(breaker(e.name, "half-open"))
	half := all[len(all)-1]
	closed := func() bool {
		found, _, _ := r.l.log.find(half.place+1, breaker(e.name, "closed"))
		return len(found) > 0
	}
	for !closed() {
		v := visit(r.t, r.l.address("front"))
		if v.name == e.name && time.Since(since) < early {
			r.t.Errorf("a session is on %s beside its trial; want one at a time", e.name)
			break
		}
		v.leave(r.t)
	}
	wantFields(r.t, r.l.awaitAfter(half, breaker(e.name, "closed")), fields{"level": "info", "old": "half-open", "reason": "a session went well"})
	tried.chat(r.t)
	tried.leave(r.t)
}

// takesTurns waits until sessions are served by backends in turn.
func (r rotation) takesTurns(backends ...string) {
	r.t.Helper()
	eventually(r.t, strings.Join(backends, " and ")+" take turns", func() bool {
		got := map[string]int{}
		for range 2 * len(backends) {
			v := visit(r.t, r.l.address("front"))
			got[v.name]++
			v.leave(r.t)
		}
		for _, name := range backends {
			if got[name] != 2 {
				return false
			}
		}
		return true
	})
}

// A server that accepts every client and resets it is fine for a tcp probe. The probe is
// believed once; from then on the server has to prove itself in a trial.
func TestBreakerBelievesAProbeOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		a, b := startTraitor(t, "a"), startEcho(t, "b", "127.0.0.1:0")
		l := serve(t, engine, balanced("round-robin", probed, &a.echo, "", b, "")+`
			[pool.breaker]
			resets = 3
			ejection = "1s"
		`)
		l.awaitCount(2, 0, fields{"msg": "backend up"})
		comes := func(place int, state string) (ln line) {
			t.Helper()
			eventually(t, "breaker "+state, func() bool {
				v := visitAloud(t, l.address("front"))
				v.Close()
				found, _, _ := l.log.find(place+1, breaker("a", state))
				if len(found) == 0 {
					return false
				}
				ln = found[0]
				return true
			})
			return ln
		}
		opened := comes(0, "open")
		wantFields(t, opened, fields{"level": "warn", "old": "closed", "reason": "sessions in a row were reset in their first second"})
		closed := comes(opened.place, "closed")
		wantFields(t, closed, fields{"reason": "a probe came out well"})
		again := comes(closed.place, "open")
		a.faithful.Store(true)
		half := l.awaitAfter(again, breaker("a", "half-open"))
		if found, _, _ := l.log.find(again.place, fields{"msg": "probe", "backend": "a", "verdict": "up"}); len(found) == 0 || found[0].place > half.place {
			t.Error("no probe of a while it was open; want some, that have no say")
		}
		for _, ln := range l.logged(breaker("a", "closed")) {
			if ln.place > again.place && ln.place < half.place {
				t.Errorf("it was closed because %s; want a trial first", ln.text("reason"))
			}
		}
		r := rotation{t, l}
		r.trial(&a.echo)
		r.takesTurns("a", "b")
	})
}

// visitAloud is a visitor who says something first, as a traitor wants.
func visitAloud(t *testing.T, address string) *visitor {
	t.Helper()
	c := dial(t, address)
	io.WriteString(c, "hello") // meet hears of a reset
	return meet(c)
}

// traitor is an echo that resets its clients as soon as they say something, unless it is
// faithful. Before that a reset might overtake limeload's connect, and be a failure of it.
type traitor struct {
	echo
	faithful atomic.Bool
}

func startTraitor(t *testing.T, name string) *traitor {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	a := &traitor{echo: echo{t: t, name: name, address: l.Addr().String(), listener: l}}
	a.serving.Go(func() { a.accept(l) })
	t.Cleanup(a.stop)
	return a
}

func (a *traitor) accept(l *net.TCPListener) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return
		}
		a.enter(c)
		if a.faithful.Load() {
			a.serving.Go(func() { a.serve(c) })
			continue
		}
		a.serving.Go(func() {
			defer c.Close()
			c.SetLinger(0)
			c.Read(make([]byte, 1))
		})
	}
}

// A server that closes with bytes unread resets its client's connection, as PostgreSQL
// does with TLS: it goes without reading that layer's goodbye behind its client's. After
// the client's end that is no fault of the server's.
func TestBreakerForgivesResetsAfterTheClientsEnd(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		l := serve(t, engine, fmt.Sprintf(`
			[[listener]]
			name = "front"
			listen = ["127.0.0.1:0"]
			pool = "pool"

			[[pool]]
			name = "pool"
			algorithm = "round-robin"
			health = { type = "none" }
			breaker = { resets = 2 }
			backend = [ { address = %q }, { address = %q } ]
		`, startHasty(t), startHasty(t)))
		for range 10 {
			c := dial(t, l.address("front"))
			send(t, c, "goodbye, and what nobody reads")
			closeWrite(t, c)
			expectReset(t, c)
			wantFields(t, l.session(c.LocalAddr()), fields{"reason": "backend-reset"})
		}
		for _, ln := range l.logged(fields{"msg": "breaker open"}) {
			t.Errorf("the breaker opened: %s", ln.text("reason"))
		}
	})
}

// startHasty starts a server that reads no further than a client's goodbye, and closes
// when the client has ended. It answers its address.
func startHasty(t *testing.T) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	go func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			guard(t, c).Read(make([]byte, len("goodbye")))
			for end := time.Now().Add(patience); established(c) && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}

// A backend that comes back gets its share little by little.
func TestSlowStart(t *testing.T) {
	t.Parallel()
	const ramp = 3 * time.Second
	a, b := startEcho(t, "a", refusing(t)), startEcho(t, "b", "127.0.0.1:0")
	l := serve(t, "splice", strings.Replace(balanced("round-robin", probed, a, "", b, ""),
		`name = "pool"`, fmt.Sprintf("name = \"pool\"\nslow_start = %q", ramp), 1))
	l.awaitCount(2, 0, fields{"msg": "backend up"})
	r := rotation{t, l}
	r.takesTurns("a", "b") // the start of the process is no recovery

	a.stop()
	down := l.await(fields{"msg": "backend down", "backend": "a"})
	lull := time.Now() // before it is back
	a.start()
	l.awaitAfter(down, fields{"msg": "backend up", "backend": "a"})
	back := time.Now() // after
	var early, late share
	for time.Since(lull) < ramp {
		began := time.Now()
		v := visit(t, l.address("front"))
		v.leave(t)
		switch {
		case time.Since(lull) < ramp/4:
			early.count(v.name == "a")
		case began.Sub(back) > ramp*3/4:
			late.count(v.name == "a")
		}
	}
	// Of the sessions of two backends with weights x and 1 the first one gets x/(1+x).
	if early.all > 0 && early.percent() > 25 {
		t.Errorf("in the first quarter of the ramp a got %v; want at most 20 %%", early)
	}
	if late.all > 100 && (late.percent() < 35 || late.percent() > 55) {
		t.Errorf("in the last quarter of the ramp a got %v; want 43 to 50 %%", late)
	}
	r.takesTurns("a", "b")
}

// share is how many of all were one's.
type share struct{ own, all int }

func (s *share) count(own bool) {
	if s.all++; own {
		s.own++
	}
}

func (s share) percent() int { return 100 * s.own / s.all }

func (s share) String() string { return fmt.Sprintf("%d of %d sessions", s.own, s.all) }

// With failback = "manual", a backend whose work a backup took over gets nothing when it
// comes back, also when the backup is gone, until a person says so.
func TestManualFailback(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		a, spare := startEcho(t, "a", refusing(t)), startEcho(t, "spare", fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t)))
		l, o := serveOperated(t, engine, strings.Replace(balanced("least-connections", probed, a, "", spare, "backup = true"),
			`name = "pool"`, "name = \"pool\"\nfailback = \"manual\"", 1))
		l.awaitCount(2, 0, fields{"msg": "backend up"})
		use := func(when, want string) {
			t.Helper()
			for range 5 {
				v := visit(t, l.address("front"))
				if v.name != want {
					t.Errorf("%s a session is on %s; want it on %s", when, v.name, want)
				}
				v.leave(t)
			}
		}
		use("at the start", "a")
		a.stop()
		down := l.await(fields{"msg": "backend down", "backend": "a"})
		use("with a down", "spare")
		a.start()
		held := l.awaitAfter(down, fields{"msg": "backend excluded", "backend": "a"})
		l.awaitAfter(down, fields{"msg": "backend up", "backend": "a"})
		use("with a back", "spare")

		spare.stop()
		down = l.awaitAfter(held, fields{"msg": "backend down", "backend": "spare"})
		wantFields(t, l.session(dialReset(t, l.address("front"))), fields{"reason": "no-backend", "attempts": 0})
		spare.start()
		l.awaitAfter(down, fields{"msg": "backend up", "backend": "spare"})
		use("with the backup back", "spare")

		if status := o.do("PATCH", "/pools/pool/backends/a", `{"mode":"ready"}`); status != 200 {
			t.Fatalf("a person's ready: got status %d; want 200", status)
		}
		l.awaitAfter(held, fields{"msg": "backend included", "backend": "a"})
		use("after a person's ready", "a")
	})
}
