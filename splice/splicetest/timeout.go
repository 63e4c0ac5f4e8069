package splicetest

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

var timeoutTests = []test{
	{"idle/fires without a byte in either direction", suite.idle},
	{"idle/fires before the first byte", suite.idleFromConnect},
	{"idle/fires while writes are blocked", suite.idleBlocked},
	{"idle/does not fire while bytes go to and fro", suite.idleActive},
	{"idle/does not fire while bytes go one way", suite.idleOneWay},
	{"half-close/fires after the client's end", suite.halfCloseClientSilent},
	{"half-close/fires after the backend's end", suite.halfCloseBackendSilent},
	{"half-close/fires while writes are blocked", suite.halfCloseBlocked},
	{"half-close/fires after the client's reset, while its bytes wait for the backend", suite.halfCloseGone},
	{"half-close/fires after the backend's reset, while its bytes wait for the client", suite.halfCloseBackendGone},
	{"half-close/does not fire while the reply flows", suite.halfCloseActive},
	{"half-close/does not fire while both directions are open", suite.halfCloseOpen},
	{"stall/fires when the client takes nothing", suite.stalledClient},
	{"stall/fires when the backend takes nothing", suite.stalledBackend},
	{"stall/fires while the other direction flows", suite.stalledOneWay},
	{"stall/does not fire while bytes are taken slowly", suite.stallSlow},
	{"stall/does not fire on a silent session", suite.stallSilent},
	{"lifetime/fires while bytes flow", suite.lifetimeActive},
	{"lifetime/fires earlier by a part of the jitter", suite.lifetimeJitter},
	{"lifetime/fires while writes are blocked", suite.lifetimeBlocked},
	{"the first timeout that is due ends the session", suite.firstDue},
	{"the longest timeouts there are hide no other", suite.eternal},
}

// short is a timeout that a test waits for; lasting one that a test must not meet
// while it keeps to its pace.
const (
	short   = 100 * time.Millisecond
	lasting = 400 * time.Millisecond
)

// wantCut checks that a session was reset on both sides, with reason, and not
// before its time.
func wantCut(t *testing.T, client, server stream, session *recorder, reason splice.Reason, atLeast time.Duration) {
	t.Helper()
	result := session.wantEnd(t, reason)
	if result.Duration < atLeast {
		t.Errorf("session ended after %v; want at least %v", result.Duration, atLeast)
	}
	wantReset(t, client)
	wantReset(t, server)
}

func (s suite) idle(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Idle: short}})
	client, server, session := r.connect()
	roundTrip(t, client, server)
	wantCut(t, client, server, session, splice.ReasonIdleTimeout, short)
}

func (s suite) idleFromConnect(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Idle: short}})
	client, server, session := r.connect()
	wantCut(t, client, server, session, splice.ReasonIdleTimeout, short)
}

func (s suite) idleBlocked(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Idle: lasting}})
	client, server, session := r.connect()
	fillUntilCut(t, server)
	wantCutBlocked(t, client, session, splice.ReasonIdleTimeout, lasting)
}

// fillUntilCut writes until nothing more is taken, and on until the reset.
func fillUntilCut(t testing.TB, s stream) {
	t.Helper()
	for {
		if _, err := s.Write(at(0, 64<<10)); errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return
		} else if err != nil {
			t.Fatalf("write got %v; want %v", err, syscall.ECONNRESET)
		}
	}
}

// wantCutBlocked checks that a session was reset whose client did not read, and
// whose server has met the reset in fillUntilCut.
func wantCutBlocked(t *testing.T, client stream, session *recorder, reason splice.Reason, atLeast time.Duration) {
	t.Helper()
	result := session.wantEnd(t, reason)
	if result.Duration < atLeast {
		t.Errorf("session ended after %v; want at least %v", result.Duration, atLeast)
	}
	wantReset(t, client)
}

// pace repeats an exchange for a time, and answers the longest that passed between
// two, which on a machine under load may be longer than a timeout.
func pace(during time.Duration, exchange func() error) (longest time.Duration, err error) {
	began := time.Now()
	for last := began; last.Sub(began) < during; {
		if err := exchange(); err != nil {
			return max(longest, time.Since(last)), err
		}
		time.Sleep(lasting / 20)
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
	}
	return longest, nil
}

// stays keeps an exchange up for several times the timeout lasting, in which the
// session may not end. A pace that the machine did not keep proves nothing.
func stays(t *testing.T, session *recorder, exchange func() error) {
	t.Helper()
	longest, err := pace(3*lasting, exchange)
	switch {
	case longest >= lasting/2:
		t.Skipf("the machine let %v pass between two bytes; too slow for a timeout of %v", longest, lasting)
	case err != nil:
		<-session.closed
		t.Errorf("session ended with %v under way: %v", session.result.Reason, err)
	}
}

// oneByte is an exchange that moves a byte from one peer to the other.
func oneByte(from, to stream) func() error {
	return func() error {
		if _, err := from.Write([]byte("x")); err != nil {
			return err
		}
		_, err := io.ReadFull(to, make([]byte, 1))
		return err
	}
}

func (s suite) idleActive(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Idle: lasting}})
	client, server, session := r.connect()
	ping, pong := oneByte(client, server), oneByte(server, client)
	stays(t, session, func() error {
		if err := ping(); err != nil {
			return err
		}
		return pong()
	})
}

func (s suite) idleOneWay(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Idle: lasting}})
	client, server, session := r.connect()
	stays(t, session, oneByte(server, client))
}

func (s suite) halfCloseClientSilent(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{HalfClose: short}})
	client, server, session := r.connect()
	end(t, client)
	wantEnd(t, server)
	session.wantEnd(t, splice.ReasonHalfCloseTimeout)
	wantReset(t, client)
	wantBroken(t, server)
}

func (s suite) halfCloseBackendSilent(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{HalfClose: short}})
	client, server, session := r.connect()
	end(t, server)
	wantEnd(t, client)
	session.wantEnd(t, splice.ReasonHalfCloseTimeout)
	wantReset(t, server)
	wantBroken(t, client)
}

func (s suite) halfCloseBlocked(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{HalfClose: lasting}})
	client, server, session := r.connect()
	end(t, client)
	wantEnd(t, server)
	fillUntilCut(t, server)
	wantCutBlocked(t, client, session, splice.ReasonHalfCloseTimeout, lasting)
}

func (s suite) halfCloseActive(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{HalfClose: lasting}})
	client, server, session := r.connect()
	end(t, client)
	wantEnd(t, server)
	stays(t, session, oneByte(server, client))
}

// halfCloseOpen is silent for longer than the half-close timeout, as the idle
// timeout tells.
func (s suite) halfCloseOpen(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{HalfClose: short / 4, Idle: short}})
	client, server, session := r.connect()
	wantCut(t, client, server, session, splice.ReasonIdleTimeout, short)
}

func (s suite) lifetimeActive(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Lifetime: lasting}})
	client, server, session := r.connect()
	move := oneByte(client, server)
	for move() == nil {
	}
	result := session.wantEnd(t, splice.ReasonLifetime)
	if result.Duration < lasting || result.Up == 0 {
		t.Errorf("session ended after %v and %d bytes; want at least %v, with bytes", result.Duration, result.Up, lasting)
	}
	wantBroken(t, client)
	wantBroken(t, server)
}

func (s suite) lifetimeBlocked(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Lifetime: lasting}})
	client, server, session := r.connect()
	fillUntilCut(t, server)
	wantCutBlocked(t, client, session, splice.ReasonLifetime, lasting)
}

func (s suite) firstDue(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Idle: time.Hour, HalfClose: time.Hour, Lifetime: short}})
	client, server, session := r.connect()
	wantCut(t, client, server, session, splice.ReasonLifetime, short)
}

func (s suite) eternal(t *testing.T) {
	const eternity = 1<<63 - 1
	r := s.rig(t, plan{timeouts: splice.Timeouts{Idle: eternity, HalfClose: eternity, Stall: eternity, Lifetime: short}})
	client, server, session := r.connect()
	wantCut(t, client, server, session, splice.ReasonLifetime, short)
}

func (s suite) stalledClient(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Stall: lasting}})
	client, server, session := r.connect()
	fillUntilCut(t, server)
	wantCutBlocked(t, client, session, splice.ReasonStallTimeout, lasting)
}

func (s suite) stalledBackend(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Stall: lasting}})
	client, server, session := r.connect()
	fillUntilCut(t, client)
	wantCutBlocked(t, server, session, splice.ReasonStallTimeout, lasting)
}

// stalledOneWay is not idle: bytes go up all the time.
func (s suite) stalledOneWay(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Stall: lasting}})
	client, server, session := r.connect()
	filled := background(t, "fill", func() error {
		fillUntilCut(t, server)
		return nil
	})
	for move := oneByte(client, server); move() == nil; {
	}
	filled()
	session.wantEnd(t, splice.ReasonStallTimeout)
}

// stallSlow has bytes wait for the client all the time.
func (s suite) stallSlow(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Stall: lasting}})
	client, server, session := r.connect()
	go sendPattern(server, 0, 1<<40, 64<<10) // until the rig ends
	buf := make([]byte, 1<<20)
	stays(t, session, func() error {
		_, err := io.ReadFull(client, buf)
		return err
	})
}

func (s suite) stallSilent(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{Stall: short / 4, Idle: short}})
	client, server, session := r.connect()
	wantCut(t, client, server, session, splice.ReasonIdleTimeout, short)
}

func (s suite) lifetimeJitter(t *testing.T) {
	const jitter = lasting / 2
	r := s.rig(t, plan{timeouts: splice.Timeouts{Lifetime: lasting, LifetimeJitter: jitter}})
	var sessions []*recorder
	for range 16 {
		_, _, session := r.connect()
		sessions = append(sessions, session)
	}
	shortest, longest := patience, time.Duration(0)
	for _, session := range sessions {
		d := session.wantEnd(t, splice.ReasonLifetime).Duration
		shortest, longest = min(shortest, d), max(longest, d)
	}
	if shortest < lasting-jitter {
		t.Errorf("a session ended after %v; want %v at least", shortest, lasting-jitter)
	}
	if longest-shortest < jitter/8 {
		t.Errorf("sessions ended after %v to %v; want them spread over %v", shortest, longest, jitter)
	}
}

// halfCloseGone has the client leave its bytes to a backend that takes none: nobody
// reads from the client any more, who could meet the reset.
func (s suite) halfCloseGone(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{HalfClose: lasting}})
	client, server, session := r.connect()
	fill(t, client, 0)
	resetNow(client)
	session.wantEnd(t, splice.ReasonHalfCloseTimeout)
	wantReset(t, server)
}

func (s suite) halfCloseBackendGone(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{HalfClose: lasting}})
	client, server, session := r.connect()
	fill(t, server, 0)
	resetNow(server)
	session.wantEnd(t, splice.ReasonHalfCloseTimeout)
	wantReset(t, client)
}
