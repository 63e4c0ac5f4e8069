package splicetest

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

var relayTests = []test{
	{"bytes come back from an echo", suite.echo},
	{"a server may speak first", suite.serverFirst},
	{"bulk both ways at once keeps every byte", suite.bulk},
	{"small exchanges go on after bulk", suite.pingPongAfterBulk},
	{"half-close/client first, a long reply follows", suite.halfCloseClient},
	{"half-close/backend first, a long upload follows", suite.halfCloseBackend},
	{"half-close/the end arrives behind the bytes of a reader that was blocked", suite.endBehindBlocked},
	{"reset/by the client arrives behind its bytes", suite.resetClient},
	{"reset/by the backend arrives behind its bytes", suite.resetBackend},
	{"reset/without bytes reaches the other side", suite.resetSilent},
	{"reset/never truncates what a stalled reader has yet to read", suite.resetStalled},
	{"reset/never truncates what a slow reader has yet to read that goes on sending", suite.resetSlowReader},
	{"reset/waits for a reader that takes nothing no longer than a half-closed session", suite.resetStalledFor},
	{"reset/that waits for a reader is ended by Kill", suite.resetKilled},
	{"reset/by the backend after its end", suite.resetAfterEndBackend},
	{"reset/by the client after its end", suite.resetAfterEndClient},
	{"reset/by the backend after the client's end", suite.resetByOther},
	{"reset/by a server that answers and closes while its client sends", suite.closeUnread},
	{"a slow reader gets every byte", suite.slowReader},
	{"a stalled reader stops its sender and loses nothing", suite.stalledReader},
	{"counters advance during a transfer", suite.countersAdvance},
	{"first byte/is timed from the client's first byte", suite.firstByte},
	{"first byte/is timed from the connect if the backend speaks first", suite.firstByteGreeting},
	{"first byte/is none without an answer", suite.firstByteNone},
	{"first byte/of an answer that comes later does not count", suite.firstByteOnce},
	{"the path to a TCP backend is looked at", suite.pathSeen},
	{"an end that a reset follows, both before the bytes were read, is an end", suite.endThenReset},
	{"urgent data does not stop the stream", suite.urgentData},
	{"both legs are plain TCP without delay, with keepalive", suite.socketOptions},
}

// bulkSize is what goes each way in the bulk test.
func bulkSize() int64 {
	switch {
	case raceDetector:
		return 64 << 20
	case testing.Short():
		return 128 << 20
	}
	return 1 << 30
}

// echoServer sends back what it gets on one connection, and ends when it ends.
func echoServer(s stream) error {
	if _, err := io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s}); err != nil {
		return err
	}
	return s.CloseWrite()
}

func (s suite) echo(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	echoed := background(t, "echo", func() error { return echoServer(server) })
	for _, size := range []int64{1, 100, 64 << 10, 1 << 20} {
		sent := background(t, "send", func() error { return sendPattern(client, size, size, 8<<10) })
		got := make([]byte, size)
		if _, err := io.ReadFull(client, got); err != nil {
			t.Fatalf("read %d bytes: %v", size, err)
		}
		if string(got) != string(at(size, size)) && size <= period {
			t.Fatalf("the echo of %d bytes differs", size)
		}
		sent()
	}
	end(t, client)
	wantEnd(t, client)
	echoed()
	result := session.wantEnd(t, splice.ReasonClientClosed)
	if total := uint64(1 + 100 + 64<<10 + 1<<20); result.Up != total || result.Down != total {
		t.Errorf("result got %d bytes up, %d down; want %d each", result.Up, result.Down, total)
	}
	if result.Err != nil {
		t.Errorf("result got error %v; want none", result.Err)
	}
}

func (s suite) serverFirst(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	send(t, server, "220 ready")
	want(t, client, "220 ready")
	server.Close()
	wantEnd(t, client)
	client.Close()
	session.wantEnd(t, splice.ReasonBackendClosed)
}

func (s suite) bulk(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	n := bulkSize()
	transfer := func(from stream, offset int64) func() {
		return background(t, "send", func() error {
			if err := sendPattern(from, offset, n, 256<<10); err != nil {
				return err
			}
			return from.CloseWrite()
		})
	}
	up, down := transfer(client, 1), transfer(server, 2)
	received := background(t, "receive at the backend", func() error {
		got, err := readPattern(server, 1, make([]byte, 256<<10))
		if err == nil && got != n {
			return errors.New("bytes are missing")
		}
		return err
	})
	wantPattern(t, client, 2, n)
	received()
	up()
	down()
	eventually(t, "the session ends", session.isClosed)
	if got := session.result; got.Up != uint64(n) || got.Down != uint64(n) {
		t.Errorf("result got %d bytes up, %d down; want %d each", got.Up, got.Down, n)
	}
}

func (s suite) pingPongAfterBulk(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, _ := r.connect()
	const n = 16 << 20
	sent := background(t, "send", func() error { return sendPattern(server, 0, n, 256<<10) })
	if _, err := io.CopyN(io.Discard, client, n); err != nil {
		t.Fatal(err)
	}
	sent()
	for range 200 {
		roundTrip(t, client, server)
	}
}

func (s suite) halfCloseClient(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	s.halfClose(t, client, server)
	result := session.wantEnd(t, splice.ReasonClientClosed)
	if result.Up != 4 || result.Down != longReply {
		t.Errorf("result got %d bytes up, %d down; want 4 and %d", result.Up, result.Down, int64(longReply))
	}
}

func (s suite) halfCloseBackend(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	s.halfClose(t, server, client)
	session.wantEnd(t, splice.ReasonBackendClosed)
}

// longReply is what flows after the other direction has ended.
const longReply = 32 << 20

// halfClose has first end its direction, and then receive a long stream.
func (s suite) halfClose(t *testing.T, first, second stream) {
	t.Helper()
	send(t, first, "last")
	end(t, first)
	want(t, second, "last")
	wantEnd(t, second)
	sent := background(t, "reply", func() error {
		if err := sendPattern(second, 7, longReply, 64<<10); err != nil {
			return err
		}
		return second.CloseWrite()
	})
	wantPattern(t, first, 7, longReply)
	sent()
}

func (s suite) endBehindBlocked(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	n := fill(t, server, 3)
	end(t, server)
	wantPattern(t, client, 3, n)
	end(t, client)
	wantEnd(t, server)
	session.wantEnd(t, splice.ReasonBackendClosed)
}

// fill writes the pattern from offset on until nothing more is taken, and answers
// how much was. The peer at the other end must not read.
func fill(t testing.TB, s stream, offset int64) (n int64) {
	t.Helper()
	defer s.SetWriteDeadline(time.Now().Add(2 * patience))
	for n < 1<<30 {
		s.SetWriteDeadline(time.Now().Add(stall))
		m, err := s.Write(at(offset+n, 64<<10))
		n += int64(m)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if m == 0 {
				return n
			}
		} else if err != nil {
			t.Fatalf("write byte %d: %v", n, err)
		}
	}
	t.Fatalf("a sender was not stopped after %d bytes that nobody reads", n)
	return n
}

// stall is how long a write takes no byte before fill calls it blocked. Too short a
// time makes a test weaker, not wrong.
const stall = 100 * time.Millisecond

func (s suite) resetClient(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	s.resetBehindBytes(t, client, server)
	session.wantEnd(t, splice.ReasonClientReset)
}

func (s suite) resetBackend(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	s.resetBehindBytes(t, server, client)
	session.wantEnd(t, splice.ReasonBackendReset)
}

func (s suite) resetBehindBytes(t *testing.T, from, to stream) {
	t.Helper()
	const n = 256 << 10
	sent := background(t, "send", func() error { return sendPattern(from, 5, n, 64<<10) })
	half := make([]byte, n/2)
	if _, err := io.ReadFull(to, half); err != nil {
		t.Fatal(err)
	}
	sent()
	flushed(t, from)
	resetNow(from)
	wantPatternReset(t, to, 5+n/2, n/2)
}

func (s suite) resetSilent(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	resetNow(client)
	wantReset(t, server)
	if result := session.wantEnd(t, splice.ReasonClientReset); result.Err == nil {
		t.Error("result got no error; want the system's")
	}
	client, server, session = r.connect()
	resetNow(server)
	wantReset(t, client)
	if result := session.wantEnd(t, splice.ReasonBackendReset); result.Err == nil {
		t.Error("result got no error; want the system's")
	}
}

// resetStalled reads nothing before the session has ended, which is then sure to be
// after the engine has stopped to wait for the reader.
func (s suite) resetStalled(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{HalfClose: lasting}})
	client, session := s.resetUnread(t, r)
	for range 20 {
		send(t, client, "bytes that nobody reads, which make a careless close a reset")
		time.Sleep(5 * time.Millisecond) // for some of them to come after the reset
	}
	session.wantEnd(t, splice.ReasonBackendReset)
	wantUnread(t, client)
}

// unread is what resetUnread leaves to be read.
const unread = 24 << 10

// resetUnread connects a client of r whose system does not take all that the backend has
// sent before it breaks.
func (s suite) resetUnread(t *testing.T, r *rig) (stream, *recorder) {
	t.Helper()
	client := smallReader(t, r.listener.Addr())
	server, session := r.connected()
	if err := sendPattern(server, 9, unread, unread); err != nil {
		t.Fatal(err)
	}
	flushed(t, server)
	resetNow(server)
	return client, session
}

// wantUnread reads what resetUnread left, slowly, and whatever end there is.
func wantUnread(t *testing.T, client stream) {
	t.Helper()
	if got, err := readPattern(client, 9, make([]byte, 1<<10)); got != unread {
		t.Errorf("received %d bytes, %v; want %d", got, err, unread)
	}
}

// resetSlowReader begins to read when the engine has long stopped to wait with the reset,
// and sends all the time.
func (s suite) resetSlowReader(t *testing.T) {
	r := s.rig(t, plan{})
	client, session := s.resetUnread(t, r)
	for range 150 {
		send(t, client, "bytes that nobody reads, which make a careless close a reset")
		time.Sleep(10 * time.Millisecond)
	}
	if session.isClosed() {
		t.Error("the session has ended, and its client has yet to read")
	}
	wantUnread(t, client)
	session.wantEnd(t, splice.ReasonBackendReset)
}

func (s suite) resetStalledFor(t *testing.T) {
	r := s.rig(t, plan{timeouts: splice.Timeouts{HalfClose: lasting}})
	client, session := s.resetUnread(t, r)
	result := session.wantEnd(t, splice.ReasonBackendReset)
	if result.Duration < lasting {
		t.Errorf("session ended after %v; want at least %v", result.Duration, lasting)
	}
	wantUnread(t, client)
}

func (s suite) resetKilled(t *testing.T) {
	r := s.rig(t, plan{})
	_, session := s.resetUnread(t, r)
	time.Sleep(3 * lasting) // weaker, not wrong, if it is too short for the FIN
	wantKill(t, r.engine, nil, splice.ReasonKilled, 1)
	session.wantEnd(t, splice.ReasonKilled)
}

func (s suite) resetAfterEndBackend(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	end(t, server)
	wantEnd(t, client)
	resetNow(server)
	session.wantEnd(t, splice.ReasonBackendClosed)
	wantBroken(t, client)
}

func (s suite) resetAfterEndClient(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	end(t, client)
	wantEnd(t, server)
	resetNow(client)
	session.wantEnd(t, splice.ReasonClientClosed)
	wantBroken(t, server)
}

func (s suite) resetByOther(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	send(t, client, "query")
	end(t, client)
	want(t, server, "query")
	wantEnd(t, server)
	send(t, server, "partial")
	want(t, client, "partial")
	resetNow(server)
	wantReset(t, client)
	session.wantEnd(t, splice.ReasonBackendReset)
}

// closeUnread is a server that answers, closes, and does not read what the client
// goes on to send: its system resets that, and the answer has arrived before.
func (s suite) closeUnread(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	send(t, client, "request")
	want(t, server, "request")
	send(t, server, "413 too large")
	end(t, server)
	want(t, client, "413 too large")
	wantEnd(t, client)
	server.Close()
	wantBroken(t, client)
	session.wantEnd(t, splice.ReasonBackendClosed)
}

// smallReader is a client whose system takes only a few KiB that it has not read.
func smallReader(t testing.TB, addr interface{ String() string }) stream {
	t.Helper()
	d := net.Dialer{Control: smallReceiveBuffer}
	conn, err := d.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return ours(t, conn.(stream))
}

func (s suite) slowReader(t *testing.T) {
	r := s.rig(t, plan{})
	client := smallReader(t, r.listener.Addr())
	server := r.server()
	const n = 1 << 20
	sent := background(t, "send", func() error {
		if err := sendPattern(server, 0, n, 64<<10); err != nil {
			return err
		}
		return server.CloseWrite()
	})
	if got, err := readPattern(client, 0, make([]byte, 100)); err != nil || got != n {
		t.Fatalf("received %d bytes, %v; want %d and the end", got, err, n)
	}
	sent()
}

func (s suite) stalledReader(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	for _, dir := range []struct{ from, to stream }{{server, client}, {client, server}} {
		n := fill(t, dir.from, 11)
		// What the systems of three machines may keep: two receive buffers of 32 MiB
		// and two send buffers of 4 MiB, and the engine's own MiB.
		if limit := int64(96 << 20); n > limit {
			t.Errorf("a sender was stopped after %d bytes; want at most %d", n, limit)
		}
		const more = 1 << 20
		sent := background(t, "send", func() error {
			if err := sendPattern(dir.from, 11+n, more, 64<<10); err != nil {
				return err
			}
			return dir.from.CloseWrite()
		})
		wantPattern(t, dir.to, 11, n+more)
		sent()
	}
	session.wantEnd(t, splice.ReasonBackendClosed)
}

func (s suite) countersAdvance(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	stop := background(t, "send", func() error {
		for {
			if _, err := server.Write(at(0, 256<<10)); err != nil {
				return nil // the client has left
			}
		}
	})
	var read uint64
	buf := make([]byte, 256<<10)
	for read < 64<<20 {
		n, err := client.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		read += uint64(n)
		if read%(8<<20) < uint64(n) {
			eventually(t, "the counter has what the client has", func() bool {
				return session.counters.Down.Load() >= read
			})
		}
	}
	if session.isClosed() {
		t.Error("the session ended during the transfer")
	}
	resetNow(client)
	stop()
	session.wantEnd(t, splice.ReasonClientReset)
}
