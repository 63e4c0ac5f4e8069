package splice

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// clientGone is the cause with which the watch over the client ends a dial.
type clientGone struct {
	reason Reason
	err    error
}

func (g clientGone) Error() string { return g.reason.String() }

// dial asks the session for backends until one is connected and attached. It
// answers false when the session has ended instead, with its client closed.
func (p *copyPair) dial() bool {
	watch := watchClient(p.client.Conn, p.stopDial)
	conn, ep, took, err := p.connectAny(watch)
	watch.stop()
	p.leaving = watch.halfClosed.Load()

	var gone clientGone
	switch {
	case errors.As(context.Cause(p.dialing), &gone):
		// Even with a backend: what the watch saw cannot be seen again by reading.
		if conn != nil {
			reset(conn)
		}
		p.leave(gone)
		return false
	case err != nil:
		p.fail(ReasonConnectFailed, err)
		return false
	case !p.attach(conn, ep):
		return false
	}
	p.connected(took)
	return true
}

// leave ends a session whose client has gone.
func (p *copyPair) leave(gone clientGone) {
	p.finish(gone.reason, gone.err)
	p.client.Close()
}

// connectAny connects to the first backend that can be connected to. It stops when
// Dial gives up, when the dial is stopped, or when an attempt has failed and the
// client has sent all it will: those bytes were for that attempt.
func (p *copyPair) connectAny(watch *clientWatch) (net.Conn, Endpoint, time.Duration, error) {
	var last, failed error
	for {
		// The watch may not have come to run: a client that left while it waited, for a
		// permit or what Dial said, is to take no place of a backend.
		if watch.look(); p.dialing.Err() != nil {
			return nil, Endpoint{}, 0, context.Cause(p.dialing)
		}
		ep, err := p.ask(last)
		if wait, ok := err.(Wait); ok {
			p.sleep(time.Duration(wait), watch, failed != nil)
			last = wait
		} else if err != nil {
			return nil, ep, 0, err
		} else {
			began := time.Now()
			conn, err := connect(p.dialing, ep)
			if err == nil {
				return conn, ep, time.Since(began), nil
			}
			last, failed = err, err
		}
		if p.dialing.Err() != nil {
			return nil, ep, 0, context.Cause(p.dialing)
		}
		if failed != nil && watch.halfClosed.Load() {
			return nil, ep, 0, failed
		}
	}
}

// sleep waits for d, or until the dial is stopped; after a failed attempt no longer than
// until the client has sent all it will.
func (p *copyPair) sleep(d time.Duration, watch *clientWatch, failed bool) {
	var ended <-chan struct{}
	if failed {
		ended = watch.ended
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.dialing.Done():
	case <-ended:
	}
}

// connect makes one attempt. Its error wraps the system's number, or is
// ErrDialTimeout or ErrSelfConnect.
func connect(ctx context.Context, ep Endpoint) (net.Conn, error) {
	conn, err := dialEndpoint(ctx, ep)
	switch {
	case outOfTime(err):
		return nil, ErrDialTimeout
	case err != nil:
		return nil, err
	case ep.Unix == "" && addrPort(conn.LocalAddr()) == addrPort(conn.RemoteAddr()):
		reset(conn)
		return nil, ErrSelfConnect
	}
	return conn, nil
}

// outOfTime reports whether an attempt ended with the dialer's timeout, which the
// net package tells in two ways. The system's ETIMEDOUT is neither.
func outOfTime(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

func dialEndpoint(ctx context.Context, ep Endpoint) (net.Conn, error) {
	d := net.Dialer{Timeout: ep.Timeout}
	d.SetMultipathTCP(false)
	var k Keepalive
	if ep.Timeouts != nil {
		k = ep.Timeouts.Keepalive
	}
	d.KeepAliveConfig = k.config()
	if ep.Unix != "" {
		return d.DialContext(ctx, "unix", ep.Unix)
	}
	if ep.Source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ep.Source, 0))
		d.Control = bindLate
	}
	conn, err := d.DialContext(ctx, "tcp", ep.Addr.String())
	if err == nil {
		setConnUserTimeout(conn, k.UserTimeout)
	}
	return conn, err
}

// clientWatch looks at a client without reading from it, while its session dials.
type clientWatch struct {
	client     net.Conn
	gone       context.CancelCauseFunc
	halfClosed atomic.Bool   // it has sent bytes and ended
	ended      chan struct{} // closed when halfClosed is set
	stopped    chan struct{}

	looking sync.Mutex // from a look until gone was called: who sees a reset takes it from the socket
}

// watchClient starts a watch that calls gone, with a clientGone, when the client
// has reset its connection, or has ended without sending anything.
func watchClient(client net.Conn, gone context.CancelCauseFunc) *clientWatch {
	w := &clientWatch{client: client, gone: gone, ended: make(chan struct{}), stopped: make(chan struct{})}
	go w.run()
	return w
}

func (w *clientWatch) run() {
	defer close(w.stopped)
	awaitPeer(w.client, w.judge)
}

// look does at once what the watch does when it comes to run.
func (w *clientWatch) look() { lookAtPeer(w.client, w.judge) }

// judge acts on what peek sees, and reports whether there is nothing more to wait for.
func (w *clientWatch) judge(peek func() peerState) (over bool) {
	w.looking.Lock()
	defer w.looking.Unlock()
	switch s := peek(); {
	case s.broken:
		w.gone(clientGone{ReasonClientReset, s.err})
	case s.ended && s.unread:
		if !w.halfClosed.Swap(true) { // and may still reset
			close(w.ended)
		}
		return false
	case s.ended:
		w.gone(clientGone{ReasonClientClosed, nil})
	default:
		return false
	}
	return true
}

// stop ends the watch and leaves the client ready to be read.
func (w *clientWatch) stop() {
	w.client.SetReadDeadline(longAgo)
	<-w.stopped
	w.client.SetReadDeadline(time.Time{})
}

// longAgo as a deadline interrupts what goes on.
var longAgo = time.Unix(1, 0)

// peerState is what can be seen of a connection's peer without reading.
type peerState struct {
	unread bool  // it has sent bytes that were not read yet
	ended  bool  // it has ended its direction
	broken bool  // the connection is no more
	err    error // why, if known
}
