package splicetest

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

// patience is how long a test waits for what has to happen. It is long because it
// only ever passes when something is broken.
const patience = 40 * time.Second

// plan says how a rig differs from the plain one: an engine with default options
// that listens on 127.0.0.1 and connects every client to one TCP backend.
type plan struct {
	options   splice.Options
	bind      splice.Bind // Handler is the rig; a zero Addr and Unix mean 127.0.0.1:0
	timeouts  splice.Timeouts
	bandwidth *splice.Bandwidth  // nil: none
	dial      dialFunc           // nil: the backend, whenever asked
	open      func(r *rig) error // whether a client is admitted; nil: every one
	backend   net.Listener       // nil: a new TCP listener on 127.0.0.1
}

// rig is an engine with a listener and a backend. It is the listener's Handler.
type rig struct {
	t        *testing.T
	plan     plan
	engine   splice.Engine
	listener splice.Listener
	backend  net.Listener
	opened   chan *recorder // the sessions in the order in which they were opened

	mu       sync.Mutex
	sessions []*recorder
}

// loopback is 127.0.0.1 with a port of the system's choice.
var loopback = netip.MustParseAddrPort("127.0.0.1:0")

func (s suite) rig(t *testing.T, p plan) *rig {
	t.Helper()
	r := &rig{t: t, plan: p, backend: p.backend, opened: make(chan *recorder, 1<<16)}
	if r.backend == nil {
		r.backend = listenTCP(t, "127.0.0.1:0")
	}
	r.engine = s.engine(t, p.options)
	t.Cleanup(r.check)
	r.listener = r.listen(p.bind)
	return r
}

// engine makes an engine that is shut down when the test ends.
func (s suite) engine(t *testing.T, o splice.Options) splice.Engine {
	t.Helper()
	e := s.newEngine(t, o)
	t.Cleanup(func() { e.Shutdown(cancelled()) })
	return e
}

// cancelled is a context that is over: a Shutdown with it cuts at once.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// listen adds a listener to the rig.
func (r *rig) listen(b splice.Bind) splice.Listener {
	r.t.Helper()
	if b.Unix == "" && b.Addr == (netip.AddrPort{}) {
		b.Addr = loopback
	}
	b.Handler = r
	l, err := r.engine.Listen(b)
	if err != nil {
		r.t.Fatalf("Listen: %v", err)
	}
	return l
}

// Open admits a client with a recorder.
func (r *rig) Open(peer splice.Peer) (splice.Session, error) {
	if r.plan.open != nil {
		if err := r.plan.open(r); err != nil {
			return nil, err
		}
	}
	s := &recorder{t: r.t, peer: peer, dial: r.plan.dial, closed: make(chan struct{})}
	if s.dial == nil {
		s.dial = func(int, error) (splice.Endpoint, error) { return r.endpoint(), nil }
	}
	r.mu.Lock()
	r.sessions = append(r.sessions, s)
	r.mu.Unlock()
	r.opened <- s
	return s, nil
}

// endpoint is the rig's backend with the plan's timeouts.
func (r *rig) endpoint() splice.Endpoint {
	ep := endpointOf(r.backend.Addr())
	ep.Timeouts, ep.Bandwidth = &r.plan.timeouts, r.plan.bandwidth
	return ep
}

// live is the number of sessions that were opened and not closed.
func (r *rig) live() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.sessions {
		if !s.isClosed() {
			n++
		}
	}
	return n
}

// session is the next one that was opened.
func (r *rig) session() *recorder {
	r.t.Helper()
	select {
	case s := <-r.opened:
		return s
	case <-time.After(patience):
		r.t.Fatalf("no session was opened within %v", patience)
		return nil
	}
}

// client connects to the rig's listener.
func (r *rig) client() stream {
	r.t.Helper()
	if r.plan.bind.Unix != "" {
		return dialUnix(r.t, r.plan.bind.Unix)
	}
	return dialTCP(r.t, r.listener.Addr())
}

// server is the next connection that the backend accepts.
func (r *rig) server() stream {
	r.t.Helper()
	return accept(r.t, r.backend)
}

// connect makes one whole session: both of its peers, and its recorder.
func (r *rig) connect() (client, server stream, s *recorder) {
	r.t.Helper()
	client = r.client()
	server, s = r.connected()
	return client, server, s
}

// connected waits until the next session is connected. The engine may know of that
// later than its backend does.
func (r *rig) connected() (server stream, s *recorder) {
	r.t.Helper()
	server, s = r.server(), r.session()
	eventually(r.t, "Connected is called", s.isConnected)
	return server, s
}

// check shuts the engine down, cutting what the test has left, and checks that
// everything was given back.
func (r *rig) check() {
	r.engine.Shutdown(cancelled())
	if n := r.live(); n > 0 {
		r.t.Errorf("after Shutdown %d sessions had no Close", n)
	}
	for i, g := range r.plan.bind.Gates {
		if used := g.Used(); used != 0 {
			r.t.Errorf("after Shutdown gate %d has %d permits in use; want 0", i, used)
		}
	}
	for i, loop := range r.engine.Stats() {
		if loop.Sessions != 0 || loop.PipesInUse != 0 {
			r.t.Errorf("after Shutdown loop %d has %d sessions and %d pipes in use; want none", i, loop.Sessions, loop.PipesInUse)
		}
	}
}
