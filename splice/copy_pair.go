package splice

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// copyPair is one session of the goroutine engine: its client, and its backend once
// there is one.
//
//	dialing ──connected──▶ relaying ──both directions over──▶ closing ──▶ closed
//	   └──client gone, Dial's error────────────────────────────▲
//
// cut, from a timeout or Kill, resets both sides in any state; the goroutines then
// find closed connections and go the same way.
type copyPair struct {
	engine   *copyEngine
	gates    []*Gate
	accepted time.Time
	dialing  context.Context // ends when the client has gone or the session was cut
	stopDial context.CancelCauseFunc
	timeouts Timeouts    // of the endpoint that was connected to
	watchdog *time.Timer // of the timeouts
	up, down copyFlow
	leaving  bool          // the client had sent all it will when there was no backend yet
	closed   chan struct{} // closed after the session's Close has returned
	asked    atomic.Int64  // age in nanoseconds from which the backend's first byte is timed
	answered atomic.Int64  // age at it; 0 = none came

	calls   sync.Mutex // held while the session is in use
	session Session    // nil after its Close

	mu         sync.Mutex
	client     *copySide
	backend    *copySide     // nil until connected
	settled    bool          // nothing but a cut can change reason and err any more
	wasCut     bool          // reset by a timeout or Kill
	over       bool          // both directions have ended, or there will be none
	delivering bool          // one side is left, with bytes to acknowledge
	path       Path          // seen before the backend was closed
	halfClosed time.Duration // age when the first direction ended
	doubted    time.Duration // when the timeout was due that is looked at again
	reason     Reason
	err        error
}

// copySide is one of a pair's two connections. Its fields are guarded by the pair's
// mutex.
type copySide struct {
	net.Conn
	onClose, onReset Reason // why the session ends if this side ends first
	ended            bool   // it has ended its direction, in order
	finSent          bool   // we have ended our direction
	broken           bool   // its connection is no more: RST, or no sign of life
}

// errCut is the cause with which cut ends a dial.
var errCut = errors.New("session cut")

func newCopyPair(e *copyEngine, gates []*Gate, session Session, client net.Conn, accepted time.Time) *copyPair {
	p := &copyPair{
		engine:   e,
		gates:    gates,
		accepted: accepted,
		closed:   make(chan struct{}),
		session:  session,
		client:   &copySide{Conn: client, onClose: ReasonClientClosed, onReset: ReasonClientReset},
	}
	p.dialing, p.stopDial = context.WithCancelCause(context.Background())
	return p
}

// run is the pair's goroutine.
func (p *copyPair) run() {
	defer p.engine.running.Done()
	if p.dial() {
		p.relay()
		p.closeSides()
	}
	p.stopDial(nil)
	p.close()
}

// matches reports whether a session that has not had its Close matches.
func (p *copyPair) matches(match func(Session) bool) bool {
	p.calls.Lock()
	defer p.calls.Unlock()
	return p.session != nil && (match == nil || match(p.session))
}

// ask calls the session's Dial.
func (p *copyPair) ask(last error) (Endpoint, error) {
	p.calls.Lock()
	defer p.calls.Unlock()
	return p.session.Dial(last)
}

// connected calls the session's Connected, if it has one.
func (p *copyPair) connected(took time.Duration) {
	p.calls.Lock()
	defer p.calls.Unlock()
	if c, ok := p.session.(Connected); ok {
		c.Connected(took)
	}
}

// close tells the session, and then gives everything back: the permits last, so
// that the limits hold for whatever the session counted.
func (p *copyPair) close() {
	result := p.result()
	p.calls.Lock()
	p.session.Close(result)
	p.session = nil
	p.calls.Unlock()
	p.engine.forget(p)
	releaseAll(p.gates)
	close(p.closed)
}

func (p *copyPair) result() Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Result{
		Reason:    p.reason,
		Err:       p.err,
		Up:        p.up.moved.Load(),
		Down:      p.down.moved.Load(),
		Duration:  p.age(),
		FirstByte: p.firstByte(),
		Path:      p.path,

		ClientEnded: p.leaving || p.client.ended,
	}
}

// firstByte is how long the backend took to its first byte.
func (p *copyPair) firstByte() time.Duration {
	answered := p.answered.Load()
	if answered == 0 {
		return 0
	}
	return max(time.Duration(answered-p.asked.Load()), 1)
}

// age is the time since the client was accepted, by the monotonic clock.
func (p *copyPair) age() time.Duration { return time.Since(p.accepted) }

// settle notes why the session ends, once. p.mu is held.
func (p *copyPair) settle(reason Reason, err error) {
	if !p.settled {
		p.settled, p.reason, p.err = true, reason, err
	}
}

// cut is cutFor without an error.
func (p *copyPair) cut(reason Reason) bool { return p.cutFor(reason, nil) }

// cutFor resets both sides. It reports whether that is why the session ends, which it
// is not for one that had already come to its own end.
func (p *copyPair) cutFor(reason Reason, err error) bool {
	p.mu.Lock()
	ends := !p.wasCut && (!p.over || p.delivering)
	if ends {
		p.wasCut, p.settled, p.reason, p.err = true, true, reason, err
	}
	client, backend := p.client, p.backend
	p.up.stop()
	p.down.stop()
	if ends {
		p.look()
	}
	p.mu.Unlock()

	p.stopDial(errCut)
	reset(client.Conn)
	if backend != nil {
		reset(backend.Conn)
	}
	return ends
}

// fail ends a session that has no backend: its client is reset.
func (p *copyPair) fail(reason Reason, err error) {
	p.finish(reason, err)
	reset(p.client.Conn)
}

// finish marks the end of everything that a cut could still end.
func (p *copyPair) finish(reason Reason, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.settle(reason, err)
}

// attach takes the connected backend. It answers false, with the backend reset, if
// the session was cut in the meantime.
func (p *copyPair) attach(conn net.Conn, ep Endpoint) bool {
	backend := &copySide{Conn: conn, onClose: ReasonBackendClosed, onReset: ReasonBackendReset}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wasCut {
		reset(conn)
		return false
	}
	p.backend = backend
	if ep.Timeouts != nil {
		p.timeouts = *ep.Timeouts
	}
	p.up.between(p, p.client, backend)
	p.down.between(p, backend, p.client)
	if b := ep.Bandwidth; b != nil {
		p.up.lane, p.down.lane = &b.lanes[0], &b.lanes[1]
	}
	if c := ep.Counters; c != nil {
		p.up.counter, p.down.counter = &c.Up, &c.Down
	}
	return true
}

// closeSides closes what is left after both directions are over. A side whose peer
// broke is reset in turn, once everything has been delivered.
func (p *copyPair) closeSides() {
	p.mu.Lock()
	p.look()
	client, backend := p.client, p.backend
	resetClient := backend.broken && !client.broken
	resetBackend := client.broken && !backend.broken
	p.delivering = !p.wasCut && (resetClient || resetBackend)
	p.mu.Unlock()

	switch {
	case resetClient:
		backend.Close()
		p.resetDelivered(client)
	case resetBackend:
		client.Close()
		p.resetDelivered(backend)
	default:
		client.Close()
		backend.Close()
	}
	p.mu.Lock()
	p.delivering = false
	p.mu.Unlock()
}

// reset closes conn so that its peer sees a reset, where the protocol has one.
func reset(conn net.Conn) {
	if c, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		c.SetLinger(0)
	}
	conn.Close()
}

// closeWrite ends our direction of conn.
func closeWrite(conn net.Conn) error {
	return conn.(interface{ CloseWrite() error }).CloseWrite()
}

// copyFlow is one direction of a pair.
type copyFlow struct {
	pair     *copyPair
	from, to *copySide
	counter  *atomic.Uint64 // the endpoint's; may be nil
	moved    atomic.Uint64  // bytes handed to the receiving kernel
	last     atomic.Int64   // age of the pair, in nanoseconds, at the last byte
	ended    bool           // nothing will move any more; guarded by the pair's mutex
	reader   *reader        // of from
	blocked  atomic.Int64   // age of the pair since when the write under way takes nothing; 0 = there is none
	lane     *lane          // bounds it; may be nil
	pace     pace           // used by the pump alone
	waits    atomic.Bool    // for its turn
	stopped  bool           // waits no more; guarded by the pair's mutex
	halt     chan struct{}  // closed by stop; nil until it waits
}

func (f *copyFlow) between(p *copyPair, from, to *copySide) {
	f.pair, f.from, f.to, f.reader = p, from, to, readerOf(from.Conn)
}
