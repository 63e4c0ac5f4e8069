package splicetest

import (
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

// wantFirstByte ends a session and checks what it says of its first byte.
func wantFirstByte(t *testing.T, client, server stream, session *recorder, least, most time.Duration) {
	t.Helper()
	finish(t, client, server, session)
	if got := session.result.FirstByte; got < least || got > most {
		t.Errorf("FirstByte got %v; want %v to %v", got, least, most)
	}
}

// loopTime is the resolution of what loops measure by their cached clock, and more.
const loopTime = 5 * time.Millisecond

func (s suite) firstByte(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	time.Sleep(2 * short) // not the backend's time
	asked := time.Now()
	send(t, client, "ping")
	want(t, server, "ping")
	time.Sleep(short)
	answered := time.Now()
	send(t, server, "pong")
	want(t, client, "pong")
	wantFirstByte(t, client, server, session, answered.Sub(asked)-time.Since(answered)-short/2, time.Since(asked)+loopTime)
}

func (s suite) firstByteGreeting(t *testing.T) {
	r := s.rig(t, plan{})
	began := time.Now()
	client, server, session := r.connect()
	time.Sleep(short)
	send(t, server, "hello")
	want(t, client, "hello")
	wantFirstByte(t, client, server, session, short-loopTime, time.Since(began)+loopTime)
}

func (s suite) firstByteNone(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	send(t, client, "ping")
	want(t, server, "ping")
	wantFirstByte(t, client, server, session, 0, 0)
}

func (s suite) firstByteOnce(t *testing.T) {
	r := s.rig(t, plan{})
	began := time.Now()
	client, server, session := r.connect()
	roundTrip(t, client, server)
	first := time.Since(began)
	time.Sleep(short)
	roundTrip(t, client, server)
	wantFirstByte(t, client, server, session, 1, first+loopTime)
}

func (s suite) pathSeen(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	roundTrip(t, client, server)
	finish(t, client, server, session)
	if got := session.result.Path; got.RTT <= 0 || got.RTT > patience {
		t.Errorf("Path got %+v; want a round-trip time", got)
	}
}

// endThenReset has a bound hold the client's bytes back, until it has ended and then
// closed over unread bytes.
func (s suite) endThenReset(t *testing.T) {
	const n = 6 << 10
	r := s.bounded(t, splice.Rates{SessionUp: 4 << 10}, splice.Timeouts{})
	client, server, session := r.connect()
	if err := sendPattern(client, 0, n, n); err != nil {
		t.Fatal(err)
	}
	end(t, client)
	send(t, server, "unread")
	eventually(t, "the answer is there", func() bool { return session.counters.Down.Load() > 0 })
	client.Close()
	if got, _ := readPattern(server, 0, make([]byte, n)); got != n {
		t.Errorf("received %d bytes; want %d", got, n)
	}
	server.Close()
	session.wantEnd(t, splice.ReasonClientClosed)
}
