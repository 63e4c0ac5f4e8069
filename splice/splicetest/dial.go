package splicetest

import (
	"errors"
	"io"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

var dialTests = []test{
	{"a refused dial goes on with the next address", suite.dialRefused},
	{"a timed out dial goes on with the next address", suite.dialTimeout},
	{"a unix socket that nobody listens on is refused", suite.dialUnixRefused},
	{"Wait has Dial called again, with the Wait", suite.dialWait},
	{"an error of Dial resets the client", suite.dialError},
	{"an error of Dial after failed attempts resets the client", suite.dialErrorLater},
	{"an error of Open resets the client", suite.openError},
	{"Connected hears once, and of the success only", suite.connectedOnce},
	{"bytes sent during the dial arrive in order", suite.dialEarlyBytes},
	{"a session without Timeouts and Counters works", suite.dialBareEndpoint},
	{"the source address is used", suite.dialSource},
	{"a source address that the machine lacks is a local error", suite.dialSourceLacking},
	{"a connect that meets itself is a failed dial", suite.dialSelf},
	{"client leaves/with nothing sent, which cancels the dial", suite.leaveEnd},
	{"client leaves/by a reset, which cancels the dial", suite.leaveReset},
	{"client leaves/by a reset behind bytes, which cancels the dial", suite.leaveResetBytes},
	{"client leaves/during a Wait, with nothing sent", suite.leaveWaitEnd},
	{"client leaves/during a Wait, by a reset", suite.leaveWaitReset},
	{"client leaves/at the end of a Wait, after which nothing is dialed", suite.leaveWaitOver},
	{"client leaves/with bytes sent, which are for the attempt under way", suite.halfClosedConnects},
	{"client leaves/with bytes sent, after which nothing is tried again", suite.halfClosedFails},
	{"client leaves/with bytes sent, in a Wait before the first attempt, which is still made", suite.halfClosedQueued},
	{"client leaves/with bytes sent, in the pause after a failed attempt, which was its one", suite.halfClosedWaits},
	{"Kill ends a dial", suite.dialKill},
	{"Kill ends a Wait", suite.waitKill},
}

// sequence answers its endpoints one after the other, and then an error.
func sequence(endpoints ...splice.Endpoint) dialFunc {
	return func(call int, last error) (splice.Endpoint, error) {
		if call > len(endpoints) {
			return splice.Endpoint{}, errNoneLeft
		}
		return endpoints[call-1], nil
	}
}

var errNoneLeft = errors.New("no backend left")

func (s suite) dialRefused(t *testing.T) {
	backend := listenTCP(t, "127.0.0.1:0")
	refused := splice.Endpoint{Addr: closedPort(t)}
	r := s.rig(t, plan{backend: backend, dial: sequence(refused, refused, endpointOf(backend.Addr()))})
	client, server, session := r.connect()
	roundTrip(t, client, server)
	client.Close()
	wantEnd(t, server)
	server.Close()
	session.wantEnd(t, splice.ReasonClientClosed)
	for call := 2; call <= 3; call++ {
		if err := session.last(call); !errors.Is(err, syscall.ECONNREFUSED) || splice.LocalError(err) {
			t.Errorf("Dial call %d got %v; want %v", call, err, syscall.ECONNREFUSED)
		}
	}
}

func (s suite) dialTimeout(t *testing.T) {
	hang := hangingBackend(t)
	hang.Endpoint.Timeout = 50 * time.Millisecond
	backend := listenTCP(t, "127.0.0.1:0")
	r := s.rig(t, plan{backend: backend, dial: sequence(hang.Endpoint, endpointOf(backend.Addr()))})
	client, server, session := r.connect()
	roundTrip(t, client, server)
	if err := session.last(2); !errors.Is(err, splice.ErrDialTimeout) || splice.LocalError(err) {
		t.Errorf("second Dial got %v; want %v", err, splice.ErrDialTimeout)
	}
}

func (s suite) dialUnixRefused(t *testing.T) {
	backend := listenTCP(t, "127.0.0.1:0")
	missing := filepath.Join(t.TempDir(), "missing")
	stale := staleSocket(t)
	r := s.rig(t, plan{backend: backend, dial: sequence(
		splice.Endpoint{Unix: missing}, splice.Endpoint{Unix: stale}, endpointOf(backend.Addr()))})
	client, server, session := r.connect()
	roundTrip(t, client, server)
	if err := session.last(2); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("Dial after a missing socket got %v; want %v", err, syscall.ENOENT)
	}
	if err := session.last(3); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial after a stale socket got %v; want %v", err, syscall.ECONNREFUSED)
	}
}

func (s suite) dialWait(t *testing.T) {
	backend := listenTCP(t, "127.0.0.1:0")
	const wait = splice.Wait(20 * time.Millisecond)
	asked := make(chan time.Time, 3)
	r := s.rig(t, plan{backend: backend, dial: func(call int, last error) (splice.Endpoint, error) {
		asked <- time.Now()
		if call < 3 {
			return splice.Endpoint{}, wait
		}
		return endpointOf(backend.Addr()), nil
	}})
	client := r.client()
	send(t, client, "patient")
	server := r.server()
	want(t, server, "patient")
	roundTrip(t, client, server)
	for before := <-asked; len(asked) > 0; {
		next := <-asked
		if took := next.Sub(before); took < time.Duration(wait) {
			t.Errorf("Dial was called again after %v; want at least %v", took, time.Duration(wait))
		}
		before = next
	}
}

func (s suite) dialError(t *testing.T) {
	r := s.rig(t, plan{dial: sequence()})
	wantRejected(t, r.listener)
	session := r.session()
	result := session.wantEnd(t, splice.ReasonConnectFailed)
	if !errors.Is(result.Err, errNoneLeft) {
		t.Errorf("result got error %v; want Dial's", result.Err)
	}
}

func (s suite) dialErrorLater(t *testing.T) {
	refused := splice.Endpoint{Addr: closedPort(t)}
	r := s.rig(t, plan{dial: sequence(refused, refused)})
	wantRejected(t, r.listener)
	session := r.session()
	session.wantEnd(t, splice.ReasonConnectFailed)
	if n := session.dials(); n != 3 {
		t.Errorf("Dial was called %d times; want 3", n)
	}
}

func (s suite) openError(t *testing.T) {
	gate := splice.NewGate(1)
	r := s.rig(t, plan{
		bind: splice.Bind{Gates: []*splice.Gate{gate}},
		open: func(*rig) error { return errors.New("not this one") },
	})
	for range 3 { // each with the one permit
		wantRejected(t, r.listener)
	}
}

func (s suite) connectedOnce(t *testing.T) {
	backend := listenTCP(t, "127.0.0.1:0")
	r := s.rig(t, plan{backend: backend, dial: sequence(
		splice.Endpoint{Addr: closedPort(t)}, endpointOf(backend.Addr()))})
	client, server, session := r.connect()
	roundTrip(t, client, server)
	session.mu.Lock()
	defer session.mu.Unlock()
	if session.connected != 1 || len(session.lasts) != 2 {
		t.Errorf("got %d calls of Connected and %d of Dial; want 1 and 2", session.connected, len(session.lasts))
	}
}

func (s suite) dialEarlyBytes(t *testing.T) {
	hang := hangingBackend(t)
	r := s.rig(t, plan{backend: hang.Listener, dial: sequence(hang.Endpoint)})
	client := r.client()
	session := r.session()
	session.wantDials(t, 1)
	const n = 8 << 20
	sent := background(t, "send", func() error {
		if err := sendPattern(client, 0, n, 10_000); err != nil {
			return err
		}
		return client.CloseWrite()
	})
	server := hang.release(t)
	wantPattern(t, server, 0, n)
	sent()
	server.Close()
	wantEnd(t, client)
	session.wantEnd(t, splice.ReasonClientClosed)
}

func (s suite) dialBareEndpoint(t *testing.T) {
	backend := listenTCP(t, "127.0.0.1:0")
	handler := bareHandler{endpoint: endpointOf(backend.Addr()), closed: make(chan splice.Result, 1)}
	e := s.engine(t, splice.Options{})
	l, err := e.Listen(splice.Bind{Addr: loopback, Handler: handler})
	if err != nil {
		t.Fatal(err)
	}
	client := dialTCP(t, l.Addr())
	server := accept(t, backend)
	roundTrip(t, client, server)
	client.Close()
	wantEnd(t, server)
	server.Close()
	if got := <-handler.closed; got.Reason != splice.ReasonClientClosed || got.Up != 4 || got.Down != 4 {
		t.Errorf("result got %v, %d bytes up, %d down; want %v, 4 and 4", got.Reason, got.Up, got.Down, splice.ReasonClientClosed)
	}
}

// bareHandler is the least that an engine can be given; it is its own session, and
// has no Connected.
type bareHandler struct {
	endpoint splice.Endpoint
	closed   chan splice.Result
}

func (h bareHandler) Open(splice.Peer) (splice.Session, error) { return h, nil }
func (h bareHandler) Dial(error) (splice.Endpoint, error)      { return h.endpoint, nil }
func (h bareHandler) Close(r splice.Result)                    { h.closed <- r }

func (s suite) dialSource(t *testing.T) {
	backend := listenTCP(t, "127.0.0.1:0")
	ep := endpointOf(backend.Addr())
	ep.Source = netip.MustParseAddr("127.0.0.2")
	r := s.rig(t, plan{backend: backend, dial: sequence(ep)})
	_, server, _ := r.connect()
	if got := netip.MustParseAddrPort(server.RemoteAddr().String()).Addr(); got != ep.Source {
		t.Errorf("the backend sees %v; want %v", got, ep.Source)
	}
}

func (s suite) dialSourceLacking(t *testing.T) {
	backend := listenTCP(t, "127.0.0.1:0")
	ep := endpointOf(backend.Addr())
	ep.Source = netip.MustParseAddr("192.0.2.1") // TEST-NET-1, RFC 5737
	r := s.rig(t, plan{backend: backend, dial: sequence(ep)})
	wantRejected(t, r.listener)
	session := r.session()
	session.wantEnd(t, splice.ReasonConnectFailed)
	if err := session.last(2); !splice.LocalError(err) {
		t.Errorf("second Dial got %v; want a local error", err)
	}
}

// hung opens a session whose dial hangs.
func (s suite) hung(t *testing.T) (*rig, *hanging, stream, *recorder) {
	t.Helper()
	hang := hangingBackend(t)
	r := s.rig(t, plan{backend: hang.Listener, dial: sequence(hang.Endpoint)})
	client := r.client()
	session := r.session()
	session.wantDials(t, 1)
	return r, hang, client, session
}

// waiting opens a session that waits for longer than any test.
func (s suite) waiting(t *testing.T) (*rig, stream, *recorder) {
	t.Helper()
	r := s.rig(t, plan{dial: func(int, error) (splice.Endpoint, error) {
		return splice.Endpoint{}, splice.Wait(time.Hour)
	}})
	client := r.client()
	session := r.session()
	session.wantDials(t, 1)
	return r, client, session
}

// wantOneDial checks that the backend was not blamed for a client that left.
func wantOneDial(t testing.TB, s *recorder) {
	t.Helper()
	if n := s.dials(); n != 1 {
		t.Errorf("Dial was called %d times; want once", n)
	}
}

func (s suite) leaveEnd(t *testing.T) {
	_, _, client, session := s.hung(t)
	client.Close()
	session.wantEnd(t, splice.ReasonClientClosed)
	wantOneDial(t, session)
}

func (s suite) leaveReset(t *testing.T) {
	_, _, client, session := s.hung(t)
	resetNow(client)
	session.wantEnd(t, splice.ReasonClientReset)
	wantOneDial(t, session)
}

func (s suite) leaveResetBytes(t *testing.T) {
	_, _, client, session := s.hung(t)
	send(t, client, "never to arrive")
	flushed(t, client)
	resetNow(client)
	session.wantEnd(t, splice.ReasonClientReset)
	wantOneDial(t, session)
}

func (s suite) leaveWaitEnd(t *testing.T) {
	_, client, session := s.waiting(t)
	client.Close()
	session.wantEnd(t, splice.ReasonClientClosed)
	wantOneDial(t, session)
}

func (s suite) leaveWaitReset(t *testing.T) {
	_, client, session := s.waiting(t)
	send(t, client, "never to arrive")
	flushed(t, client)
	resetNow(client)
	session.wantEnd(t, splice.ReasonClientReset)
	wantOneDial(t, session)
}

func (s suite) halfClosedConnects(t *testing.T) {
	_, hang, client, session := s.hung(t)
	send(t, client, "request")
	end(t, client)
	flushed(t, client)
	server := hang.release(t)
	want(t, server, "request")
	wantEnd(t, server)
	if _, err := io.WriteString(server, "response"); err != nil {
		t.Fatal(err)
	}
	server.Close()
	want(t, client, "response")
	wantEnd(t, client)
	session.wantEnd(t, splice.ReasonClientClosed)
	wantOneDial(t, session)
}

func (s suite) halfClosedFails(t *testing.T) {
	hang := hangingBackend(t)
	hang.Endpoint.Timeout = 300 * time.Millisecond
	backend := listenTCP(t, "127.0.0.1:0")
	r := s.rig(t, plan{backend: backend, dial: sequence(hang.Endpoint, endpointOf(backend.Addr()))})
	client := r.client()
	send(t, client, "request")
	end(t, client)
	flushed(t, client)
	session := r.session()
	result := session.wantEnd(t, splice.ReasonConnectFailed)
	if !errors.Is(result.Err, splice.ErrDialTimeout) {
		t.Errorf("result got error %v; want %v", result.Err, splice.ErrDialTimeout)
	}
	wantOneDial(t, session)
	wantReset(t, client)
}

// halfClosedWaits ends in a Wait that lasts longer than any test: it is not waited for.
func (s suite) halfClosedWaits(t *testing.T) {
	refused := splice.Endpoint{Addr: closedPort(t)}
	r := s.rig(t, plan{dial: func(call int, last error) (splice.Endpoint, error) {
		if call == 1 {
			return refused, nil
		}
		return splice.Endpoint{}, splice.Wait(time.Hour)
	}})
	client := r.client()
	session := r.session()
	session.wantDials(t, 2)
	send(t, client, "request")
	end(t, client)
	result := session.wantEnd(t, splice.ReasonConnectFailed)
	if !errors.Is(result.Err, syscall.ECONNREFUSED) || !result.ClientEnded {
		t.Errorf("result got error %v, of a client that had ended: %v; want %v and true", result.Err, result.ClientEnded, syscall.ECONNREFUSED)
	}
	if n := session.dials(); n != 2 {
		t.Errorf("Dial was called %d times; want 2", n)
	}
	wantReset(t, client)
}

// halfClosedQueued ends in a Wait before the first attempt, which is still made.
func (s suite) halfClosedQueued(t *testing.T) {
	backend := listenTCP(t, "127.0.0.1:0")
	asked := make(chan struct{})
	r := s.rig(t, plan{backend: backend, dial: func(call int, last error) (splice.Endpoint, error) {
		select {
		case <-asked:
			return endpointOf(backend.Addr()), nil
		default:
			return splice.Endpoint{}, splice.Wait(10 * time.Millisecond)
		}
	}})
	client := r.client()
	session := r.session()
	session.wantDials(t, 1)
	send(t, client, "request")
	end(t, client)
	flushed(t, client)
	close(asked)
	server := r.server()
	want(t, server, "request")
	wantEnd(t, server)
	server.Close()
	wantEnd(t, client)
	session.wantEnd(t, splice.ReasonClientClosed)
}

func (s suite) dialKill(t *testing.T) {
	r, _, client, session := s.hung(t)
	wantKill(t, r.engine, nil, splice.ReasonKilled, 1)
	wantReset(t, client)
	session.wantEnd(t, splice.ReasonKilled)
	wantOneDial(t, session)
}

func (s suite) waitKill(t *testing.T) {
	r, client, session := s.waiting(t)
	wantKill(t, r.engine, nil, splice.ReasonKilled, 1)
	wantReset(t, client)
	session.wantEnd(t, splice.ReasonKilled)
	wantOneDial(t, session)
}
