package splicetest

import (
	"io"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

// What becomes of a session of which a side has ended, and left bytes to the other one,
// which takes none. The bytes wait in the engine, if they are more than the kernel keeps
// for who takes none, and else in the kernel. The session's permit tells whether its
// place is free.
var closingTests = []test{
	{"half-close/fires after the backend's end, while its bytes wait in the engine", suite.closingClient},
	{"half-close/fires after the client's end, while its bytes wait in the engine", suite.closingBackend},
	{"half-close/fires after both ends, while bytes wait in the engine", suite.closingBoth},
	{"half-close/fires after the backend's end, while its bytes wait in the kernel", suite.closingQueued},
	{"half-close/does not fire while bytes are taken slowly from the kernel", suite.closingSlow},
	{"stall/fires after the backend's end", suite.closingStalled},
	{"both ends free the place at once, and what waits in the kernel arrives", suite.closingFree},
}

// queued is what the kernel keeps for a peer that takes nothing.
const queued = 128 << 10

// closing is a session with a permit of its own, whose client has a small window.
type closing struct {
	client, server stream
	session        *recorder
	gate           *splice.Gate
}

func (s suite) closing(t *testing.T, timeouts splice.Timeouts) *closing {
	t.Helper()
	c := &closing{gate: splice.NewGate(1)}
	r := s.rig(t, plan{timeouts: timeouts, bind: splice.Bind{Gates: []*splice.Gate{c.gate}}})
	c.client = smallReader(t, r.listener.Addr())
	c.server, c.session = r.connected()
	return c
}

// leave has a side send more than the kernel keeps for the other one, and end. All of it
// has come to the engine then, the end as well.
func (c *closing) leave(t *testing.T, from stream) {
	t.Helper()
	moved := &c.session.counters.Down
	if from == c.client {
		moved = &c.session.counters.Up
	}
	for sent := int64(0); ; {
		if err := sendPattern(from, sent, queued, queued); err != nil {
			t.Fatal(err)
		}
		sent += queued
		flushed(t, from)
		if waits := func() bool { return int64(moved.Load()) < sent }; waits() && !becomes(func() bool { return !waits() }) {
			break
		}
	}
	end(t, from)
	flushed(t, from)
}

// becomes reports whether a condition holds within the time that a writer is given
// before it counts as blocked.
func becomes(condition func() bool) bool {
	for end := time.Now().Add(stall); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if condition() {
			return true
		}
	}
	return condition()
}

// wantCut checks that the session was cut, on both sides, and its place is free.
func (c *closing) wantCut(t *testing.T, reason splice.Reason) {
	t.Helper()
	if result := c.session.wantEnd(t, reason); result.Duration < lasting {
		t.Errorf("session ended after %v; want at least %v", result.Duration, lasting)
	}
	c.wantFree(t)
	wantBroken(t, c.client)
	wantBroken(t, c.server)
}

func (c *closing) wantFree(t *testing.T) {
	t.Helper()
	eventually(t, "the place is free", func() bool { return c.gate.Used() == 0 })
}

func (s suite) closingClient(t *testing.T) {
	c := s.closing(t, splice.Timeouts{HalfClose: lasting})
	c.leave(t, c.server)
	c.wantCut(t, splice.ReasonHalfCloseTimeout)
}

func (s suite) closingBackend(t *testing.T) {
	c := s.closing(t, splice.Timeouts{HalfClose: lasting})
	c.leave(t, c.client)
	c.wantCut(t, splice.ReasonHalfCloseTimeout)
}

func (s suite) closingBoth(t *testing.T) {
	c := s.closing(t, splice.Timeouts{HalfClose: lasting})
	end(t, c.client)
	wantEnd(t, c.server)
	c.leave(t, c.server)
	c.wantCut(t, splice.ReasonHalfCloseTimeout)
}

func (s suite) closingQueued(t *testing.T) {
	c := s.closing(t, splice.Timeouts{HalfClose: lasting})
	if err := sendPattern(c.server, 0, queued, queued); err != nil {
		t.Fatal(err)
	}
	end(t, c.server)
	c.wantCut(t, splice.ReasonHalfCloseTimeout)
}

// closingSlow moves no byte in the engine: all of them are in the kernel.
func (s suite) closingSlow(t *testing.T) {
	c := s.closing(t, splice.Timeouts{HalfClose: lasting})
	if err := sendPattern(c.server, 0, queued, queued); err != nil {
		t.Fatal(err)
	}
	end(t, c.server)
	buf := make([]byte, 1<<10)
	stays(t, c.session, func() error {
		_, err := io.ReadFull(c.client, buf)
		return err
	})
	c.wantCut(t, splice.ReasonHalfCloseTimeout)
}

func (s suite) closingStalled(t *testing.T) {
	c := s.closing(t, splice.Timeouts{Stall: lasting})
	c.leave(t, c.server)
	c.wantCut(t, splice.ReasonStallTimeout)
}

func (s suite) closingFree(t *testing.T) {
	c := s.closing(t, splice.Timeouts{})
	end(t, c.client)
	wantEnd(t, c.server)
	if err := sendPattern(c.server, 0, queued, queued); err != nil {
		t.Fatal(err)
	}
	end(t, c.server)
	c.session.wantEnd(t, splice.ReasonClientClosed)
	c.wantFree(t)
	wantPattern(t, c.client, 0, queued)
}
