package splice

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// copyEngine is the goroutine engine. It keeps the contract of Engine with the net
// package alone, so it runs wherever Go does; what only some systems can do stands
// in files of their own (copy_unix.go, copy_unix_io.go, copy_linux.go). Its currency is net.Conn.
//
// The files follow one connection:
//
//	copy_listener.go   accept, wait for the permits, Open
//	copy_pair.go       the session's life, and how it ends
//	copy_dial.go       connect, while watching the client
//	copy_relay.go      two pumps, one a direction; end of file, resets
//	copy_paced.go      turns, where bandwidth is bounded
//	copy_timeout.go    the timeouts of a connected session
//	copy_path.go       a look at how the backend could be reached
//
// Each listener has one goroutine, each session one, and one more while it dials
// (watching the client) or relays (pumping down).
type copyEngine struct {
	onAcceptPause func(error)
	silentAfter   time.Duration
	base          time.Time    // zero of clock
	pathAt        atomic.Int64 // on it, when the path of a session may be looked at again

	sessions     atomic.Int64
	accepted     atomic.Uint64
	copied       atomic.Uint64
	acceptPauses atomic.Uint64

	mu        sync.Mutex
	closed    bool // no listener may be added
	listeners map[*copyListener]struct{}
	pairs     map[*copyPair]struct{}

	running sync.WaitGroup // one for each pair
}

func newCopyEngine(o Options) Engine {
	return &copyEngine{
		onAcceptPause: o.OnAcceptPause,
		silentAfter:   o.silentAfter(),
		base:          time.Now(),
		listeners:     make(map[*copyListener]struct{}),
		pairs:         make(map[*copyPair]struct{}),
	}
}

func (e *copyEngine) Listen(b Bind) (Listener, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		closeInherited(b)
		return nil, ErrClosed
	}
	l, err := listenCopy(e, b)
	if err != nil {
		return nil, err
	}
	e.listeners[l] = struct{}{}
	go l.acceptLoop()
	return l, nil
}

func (e *copyEngine) Kill(match func(Session) bool, reason Reason) int {
	var cut []*copyPair
	for _, p := range e.live() {
		if p.matches(match) && p.cut(reason) {
			cut = append(cut, p)
		}
	}
	for _, p := range cut {
		<-p.closed
	}
	return len(cut)
}

func (e *copyEngine) KillOne(match func(Session) bool, reason Reason) bool {
	for _, p := range e.live() {
		if p.matches(match) && p.cut(reason) {
			<-p.closed
			return true
		}
	}
	return false
}

func (e *copyEngine) Stats() []LoopStats {
	return []LoopStats{{
		Sessions:     e.sessions.Load(),
		Accepted:     e.accepted.Load(),
		CopyBytes:    e.copied.Load(),
		AcceptPauses: e.acceptPauses.Load(),
	}}
}

// Alive has little to ask: each session has goroutines of its own, and all that they
// share is the lock of their set.
func (e *copyEngine) Alive(ctx context.Context) error {
	answered := make(chan struct{})
	go func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		close(answered)
	}()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown closes the listeners first, so that no session can begin behind its
// back; then it waits, and kills at ctx's end what is left.
func (e *copyEngine) Shutdown(ctx context.Context) error {
	for _, l := range e.close() {
		l.Close()
	}
	ended := make(chan struct{})
	go e.awaitPairs(ended)
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	killed := e.Kill(nil, ReasonDrained)
	<-ended
	if killed == 0 {
		return nil
	}
	return ctx.Err()
}

func (e *copyEngine) awaitPairs(ended chan<- struct{}) {
	e.running.Wait()
	close(ended)
}

// close makes Listen fail from now on and answers the listeners that there are.
func (e *copyEngine) close() []*copyListener {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	open := make([]*copyListener, 0, len(e.listeners))
	for l := range e.listeners {
		open = append(open, l)
	}
	return open
}

// live copies the set of pairs out.
func (e *copyEngine) live() []*copyPair {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*copyPair, 0, len(e.pairs))
	for p := range e.pairs {
		all = append(all, p)
	}
	return all
}

// start makes p known and runs it. Only accept loops call it, and Shutdown ends
// those before it waits for the pairs.
func (e *copyEngine) start(p *copyPair) {
	e.running.Add(1)
	e.sessions.Add(1)
	e.mu.Lock()
	e.pairs[p] = struct{}{}
	e.mu.Unlock()
	go p.run()
}

// forget is the end of a pair whose Close has returned.
func (e *copyEngine) forget(p *copyPair) {
	e.mu.Lock()
	delete(e.pairs, p)
	e.mu.Unlock()
	e.sessions.Add(-1)
}

func (e *copyEngine) forgetListener(l *copyListener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.listeners, l)
}

// acceptPaused counts an episode in which accepting pauses for want of a resource.
func (e *copyEngine) acceptPaused(err error) {
	e.acceptPauses.Add(1)
	if e.onAcceptPause != nil {
		e.onAcceptPause(err)
	}
}

// backoff is a wait that doubles from min up to max with each call.
type backoff struct {
	min, max, last time.Duration
}

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.min), b.max)
	return b.last
}

func (b *backoff) reset() { b.last = 0 }
