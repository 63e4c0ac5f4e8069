package splicetest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

var gateTests = []test{
	{"the limit is never overshot, and everyone is served in the end", suite.gateNeverOvershot},
	{"a client beyond the limit is served when a session has ended", suite.gateQueue},
	{"a client beyond the limit that leaves/by its end, is not dialed for", suite.gateLeftEnd},
	{"a client beyond the limit that leaves/by a reset, is not dialed for", suite.gateLeftReset},
	{"listeners may share a gate", suite.gateShared},
	{"a listener may have several gates", suite.gateSeveral},
	{"a raised limit lets waiting clients in", suite.gateRaised},
	{"a lowered limit leaves live sessions and admits none until enough have ended", suite.gateLowered},
	{"a permit is held until Close has returned", suite.gateUntilClose},
}

// gated is a rig whose listener has gates. Every Open checks that the sessions that
// live by then are within the limit of the first gate.
func (s suite) gated(t *testing.T, o splice.Options, gates ...*splice.Gate) *rig {
	t.Helper()
	return s.rig(t, plan{options: o, bind: splice.Bind{Gates: gates}, open: func(r *rig) error {
		if live, limit := r.live(), gates[0].Limit(); limit > 0 && live >= limit {
			t.Errorf("a session was opened beside %d others; the limit is %d", live, limit)
		}
		return nil
	}})
}

// gateNeverOvershot counts at the backend, which ends each session: it stops to
// count one before the engine can know that it is over.
func (s suite) gateNeverOvershot(t *testing.T) {
	const limit, clients = 5, 200
	gate := splice.NewGate(limit)
	r := s.gated(t, splice.Options{Threads: 4}, gate)

	var live, most atomic.Int64
	var work sync.WaitGroup
	defer work.Wait()
	for range clients {
		work.Go(func() {
			conn, err := net.Dial("tcp", r.listener.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			io.WriteString(conn, "hello")
			if got, err := io.ReadAll(conn); string(got) != "served" {
				t.Errorf("client received %q, %v; want %q", got, err, "served")
			}
		})
	}
	for range clients {
		server := r.server()
		now := live.Add(1)
		most.Store(max(most.Load(), now))
		work.Go(func() {
			defer server.Close()
			if _, err := io.ReadFull(server, make([]byte, len("hello"))); err != nil {
				t.Error(err)
			}
			io.WriteString(server, "served")
			live.Add(-1)
		})
	}
	work.Wait()
	if most.Load() > limit {
		t.Errorf("the backend had %d sessions at once; the limit is %d", most.Load(), limit)
	}
	eventually(t, "all permits are back", func() bool { return gate.Used() == 0 })
}

// finish ends a session from both of its peers.
func finish(t *testing.T, client, server stream, session *recorder) {
	t.Helper()
	client.Close()
	wantEnd(t, server)
	server.Close()
	session.wantEnd(t, splice.ReasonClientClosed)
}

func (s suite) gateQueue(t *testing.T) {
	r := s.gated(t, splice.Options{}, splice.NewGate(1))
	client, server, session := r.connect()
	queued := r.client()
	send(t, queued, "still here")
	finish(t, client, server, session)
	server, session = r.connected()
	want(t, server, "still here")
	finish(t, queued, server, session)
}

func (s suite) gateLeftEnd(t *testing.T) {
	s.gateLeft(t, splice.ReasonClientClosed, func(c stream) {
		end(t, c)
		flushed(t, c)
		c.Close()
	})
}

// gateLeft has clients leave, some of them, while they wait for a permit; leave returns
// when the system knows of it. One loop takes them in the order in which they came.
func (s suite) gateLeft(t *testing.T, reason splice.Reason, leave func(stream)) {
	r := s.gated(t, splice.Options{Threads: 1}, splice.NewGate(1))
	client, server, session := r.connect()
	const clients = 20
	for range clients {
		leave(r.client())
	}
	stays := r.client()
	finish(t, client, server, session)
	for range clients {
		left := r.session()
		left.wantEnd(t, reason)
		if n := left.dials(); n != 0 {
			t.Errorf("Dial was called %d times for a client that had left; want not at all", n)
		}
	}
	server, session = r.connected()
	finish(t, stays, server, session)
}

func (s suite) gateShared(t *testing.T) {
	gate := splice.NewGate(1)
	r := s.gated(t, splice.Options{}, gate)
	other := r.listen(splice.Bind{Gates: []*splice.Gate{gate}})
	for range 3 {
		client, server, session := r.connect()
		queued := dialTCP(t, other.Addr())
		finish(t, client, server, session)
		server, session = r.connected()
		finish(t, queued, server, session)
	}
}

func (s suite) gateSeveral(t *testing.T) {
	tight, wide := splice.NewGate(1), splice.NewGate(2)
	r := s.rig(t, plan{bind: splice.Bind{Gates: []*splice.Gate{tight, wide}}})
	other := r.listen(splice.Bind{Gates: []*splice.Gate{wide}})
	client, server, session := r.connect()
	second := dialTCP(t, other.Addr())
	secondServer, secondSession := r.connected()
	third := dialTCP(t, other.Addr()) // which only wide can stop
	if n := r.live(); n != 2 {
		t.Errorf("%d sessions live; want 2", n)
	}
	finish(t, client, server, session)
	thirdServer, thirdSession := r.connected()
	finish(t, second, secondServer, secondSession)
	finish(t, third, thirdServer, thirdSession)
	eventually(t, "all permits are back", func() bool { return tight.Used() == 0 && wide.Used() == 0 })
}

func (s suite) gateRaised(t *testing.T) {
	gate := splice.NewGate(1)
	r := s.gated(t, splice.Options{}, gate)
	r.connect()
	var waiting []stream
	for range 4 {
		waiting = append(waiting, r.client())
	}
	gate.SetLimit(3)
	for range 2 {
		r.server()
		r.session()
	}
	gate.SetLimit(0)
	for range 2 {
		r.server()
		r.session()
	}
	for _, c := range waiting {
		c.Close()
	}
}

func (s suite) gateLowered(t *testing.T) {
	gate := splice.NewGate(3)
	r := s.gated(t, splice.Options{}, gate)
	type peers struct {
		client, server stream
		session        *recorder
	}
	var live []peers
	for range 3 {
		client, server, session := r.connect()
		live = append(live, peers{client, server, session})
	}
	gate.SetLimit(1)
	queued := r.client()
	for i, p := range live {
		roundTrip(t, p.client, p.server)
		if n := r.live(); n != len(live)-i {
			t.Errorf("%d sessions live; want %d", n, len(live)-i)
		}
		finish(t, p.client, p.server, p.session)
	}
	server, session := r.connected()
	finish(t, queued, server, session)
}

// gateUntilClose has a Close that looks at the gate.
func (s suite) gateUntilClose(t *testing.T) {
	gate := splice.NewGate(0)
	backend := listenTCP(t, "127.0.0.1:0")
	e := s.engine(t, splice.Options{})
	used := make(chan int, 1)
	handler := closeHandler{
		bareHandler: bareHandler{endpoint: endpointOf(backend.Addr())},
		onClose:     func(splice.Result) { used <- gate.Used() },
	}
	l, err := e.Listen(splice.Bind{Addr: loopback, Handler: handler, Gates: []*splice.Gate{gate}})
	if err != nil {
		t.Fatal(err)
	}
	client, server := dialTCP(t, l.Addr()), accept(t, backend)
	roundTrip(t, client, server) // who leaves while it dials is no session
	client.Close()
	wantEnd(t, server)
	server.Close()
	if got := <-used; got < 1 {
		t.Errorf("during Close %d permits were in use; want at least 1", got)
	}
}

// closeHandler is a bareHandler with a Close of its own.
type closeHandler struct {
	bareHandler
	onClose func(splice.Result)
}

func (h closeHandler) Open(splice.Peer) (splice.Session, error) { return h, nil }
func (h closeHandler) Close(r splice.Result)                    { h.onClose(r) }
