package splice

import (
	"context"
	"math"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

// cpus is what the process may use, by affinity and cgroup quota, before an engine
// raised GOMAXPROCS.
var cpus = runtime.GOMAXPROCS(0)

// reactor is the Linux engine: a few loops that share nothing but the budget of
// pipes. Its own lock guards the listeners, which come and go seldom.
type reactor struct {
	o      Options
	loops  []*loop
	budget pipeBudget

	mostStuck int // of one loop's pipes; see unstick

	base    time.Time // zero of the loops' clocks, which tell the same time
	lowPort uint16    // below it, no local port is chosen by the system
	threads sync.WaitGroup

	mu        sync.Mutex
	listeners map[*listener]struct{}
	closed    bool // no new listeners
	stopped   bool // no loops

	draining atomic.Bool
	drained  chan struct{} // signalled when a session ends while draining; holds one
}

func newReactor(o Options) (*reactor, error) {
	if o.Threads <= 0 {
		o.Threads = cpus
	}
	if o.PipeSize <= 0 {
		o.PipeSize = defaultPipeSize
	}
	if o.MaxPipes == 0 {
		o.MaxPipes = defaultPipesPerLoop * o.Threads
	}
	o.SilentAfter = o.silentAfter()
	r := &reactor{o: o, base: time.Now(), lowPort: lowestPort(), listeners: map[*listener]struct{}{}, drained: make(chan struct{}, 1)}
	r.budget.max = int64(max(o.MaxPipes, 0))
	r.mostStuck = max(o.MaxPipes, 0) / (2 * o.Threads)
	for range o.Threads {
		l, err := newLoop(r)
		if err != nil {
			for _, l := range r.loops {
				sys.Close(l.ep)
				sys.Close(l.wakefd)
			}
			return nil, err
		}
		r.loops = append(r.loops, l)
	}
	// A loop that polls holds its processor: leave some for everything else.
	if want := o.Threads + 2; runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
	for _, l := range r.loops {
		r.threads.Go(l.run)
	}
	return r, nil
}

func newLoop(r *reactor) (*loop, error) {
	ep, e := sys.EpollCreate()
	if e != 0 {
		return nil, os.NewSyscallError("epoll_create", e)
	}
	wakefd, e := sys.Eventfd()
	if e == 0 {
		if e = sys.EpollAdd(ep, wakefd, unix.EPOLLIN, 0, 0); e != 0 {
			sys.Close(wakefd)
		}
	}
	if e != 0 {
		sys.Close(ep)
		return nil, os.NewSyscallError("eventfd", e)
	}
	return &loop{
		r: r, ep: ep, wakefd: wakefd, base: r.base,
		events:  make([]sys.Event, eventBatch),
		buf:     make([]byte, bufferSize),
		pipes:   pipePool{budget: &r.budget, size: r.o.PipeSize},
		sockets: map[uint32]*socket{},
	}, nil
}

// listener is one address: a socket for each loop, or for a unix path one that all
// loops watch.
type listener struct {
	r       *reactor
	bind    Bind
	addr    netip.AddrPort
	fds     []int32
	shared  bool        // one descriptor in every loop
	sockets []*socket   // by loop
	file    unix.Stat_t // the unix socket's, to remove no other

	mu        sync.Mutex
	suspended bool
	closed    bool
}

func (r *reactor) Listen(b Bind) (Listener, error) {
	if b.Backlog <= 0 {
		b.Backlog = math.MaxInt32 // the kernel cuts it to net.core.somaxconn
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		if b.Inherited != 0 {
			sys.Close(int32(b.Inherited))
		}
		return nil, ErrClosed
	}
	ln := &listener{r: r, bind: b, addr: b.Addr}
	if e := ln.open(); e != 0 {
		ln.removeFile()
		return nil, bindError(&b, e)
	}
	r.listeners[ln] = struct{}{}
	return ln, nil
}

// open binds and listens, then registers with the loops: an epoll that is told of
// a socket before it listens reports a hang-up once and is silent ever after.
func (ln *listener) open() (e sys.Errno) {
	ln.shared = ln.bind.Inherited != 0 || ln.bind.Unix != ""
	if ln.bind.Inherited != 0 {
		ln.adopt()
	} else if ln.bind.Unix != "" {
		fd, e := openUnixListener(ln.bind.Unix)
		if e != 0 {
			return e
		}
		ln.fds = []int32{fd}
		unix.Lstat(ln.bind.Unix, &ln.file)
	} else if ln.fds, ln.addr, e = openListeners(&ln.bind, len(ln.r.loops)); e != 0 {
		return e
	}
	ln.tuneClients()
	if e = ln.listen(); e == 0 {
		e = ln.register()
	}
	if e != 0 {
		closeAll(ln.fds)
	}
	return e
}

// adopt takes the inherited socket, which all loops watch: sockets of their own at the
// same address would leave clients in this one's queue that nobody takes. It may come
// from somebody who died while it was suspended.
func (ln *listener) adopt() {
	fd := int32(ln.bind.Inherited)
	ln.fds = []int32{fd}
	syscall.SetNonblock(ln.bind.Inherited, true)
	if ln.bind.Unix == "" {
		ln.addr, _ = sys.LocalAddr(fd)
		tune(fd) // accepted sockets have what the listening one has
		sys.SetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
}

func (ln *listener) listen() sys.Errno {
	for _, fd := range ln.fds {
		if e := sys.Listen(fd, ln.bind.Backlog); e != 0 {
			return e
		}
	}
	return 0
}

// register has every loop accept: on its own socket, or all on the one of a unix
// path.
func (ln *listener) register() (first sys.Errno) {
	ln.sockets = make([]*socket, len(ln.r.loops))
	errnos := make([]sys.Errno, len(ln.r.loops))
	ln.r.onEach(func(i int, l *loop) {
		ln.sockets[i], errnos[i] = l.serve(ln, ln.fds[i%len(ln.fds)])
	})
	for _, e := range errnos {
		if e != 0 {
			ln.r.onEach(func(i int, l *loop) { l.forget(ln.sockets[i]) })
			return e
		}
	}
	return 0
}

func (ln *listener) Addr() netip.AddrPort { return ln.addr }

// tuneClients has clients inherit the listener's keepalive. A unix socket has none.
func (ln *listener) tuneClients() {
	if ln.bind.Unix != "" {
		return
	}
	for _, fd := range ln.fds {
		setKeepalive(fd, ln.bind.Keepalive)
		setUserTimeout(fd, ln.bind.Keepalive.UserTimeout)
	}
}

func (ln *listener) SetKeepalive(k Keepalive) error {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.closed {
		return ErrClosed
	}
	ln.bind.Keepalive = k
	ln.tuneClients()
	return nil
}

func (ln *listener) Suspend() error { return ln.suspend(true) }
func (ln *listener) Resume() error  { return ln.suspend(false) }

func (ln *listener) suspend(yes bool) error {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.closed {
		return ErrClosed
	}
	if ln.suspended == yes || ln.bind.isFixed() {
		return nil
	}
	call, f := "listen", ln.relisten
	if yes {
		call, f = "shutdown", ln.unlisten
	}
	e := f()
	ln.suspended = yes || e != 0 // what could not listen again may be told to once more
	if e != 0 {
		return os.NewSyscallError(call, e)
	}
	return nil
}

// unlisten takes TCP sockets out of the listening state. Without SO_REUSEADDR their
// address stays taken: with it, another process could now listen there. A unix
// socket could not listen again, so it is closed; its file stays, and with it the
// address.
func (ln *listener) unlisten() sys.Errno {
	if ln.bind.Unix != "" {
		ln.r.onEach(func(i int, l *loop) { l.forget(ln.sockets[i]) })
		closeAll(ln.fds)
		return 0
	}
	for _, fd := range ln.fds {
		if e := sys.Unlisten(fd); e != 0 {
			return e
		}
		if ln.bind.Inherited != 0 { // its port may have been given, not asked for: see openListeners
			sys.Bind(fd, familyOf(ln.addr.Addr()), ln.addr)
		}
		sys.SetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
	}
	return 0
}

func (ln *listener) relisten() sys.Errno {
	if ln.bind.Unix != "" {
		return ln.open()
	}
	for _, fd := range ln.fds { // live sessions have the same address
		sys.SetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	return ln.listen()
}

func (ln *listener) Close() error {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.closed {
		return ErrClosed
	}
	ln.closed = true
	ln.removeFile()
	if !ln.suspended || ln.bind.Unix == "" {
		ln.r.onEach(func(i int, l *loop) { ln.leave(l, ln.sockets[i]) })
		if ln.suspended && ln.bind.Inherited != 0 {
			ln.relisten()
		}
		closeAll(ln.fds)
	}
	ln.r.mu.Lock()
	defer ln.r.mu.Unlock()
	delete(ln.r.listeners, ln)
	return nil
}

// leave ends a loop's part. Clients in the queue of an inherited socket are not lost with
// it.
func (ln *listener) leave(l *loop, s *socket) {
	if ln.bind.Inherited != 0 {
		l.forget(s)
	} else {
		l.retire(s)
	}
}

// removeFile removes the unix socket's file, unless it is another's by now. While the
// socket is closed, suspended, its inode may be another's as well.
func (ln *listener) removeFile() {
	var now unix.Stat_t
	path := ln.bind.Unix
	if path == "" || ln.bind.Inherited != 0 || unix.Lstat(path, &now) != nil || now.Dev != ln.file.Dev || now.Ino != ln.file.Ino {
		return
	}
	if !ln.suspended || abandoned(path) {
		unix.Unlink(path)
	}
}

// onEach runs f on every loop and returns when all have.
func (r *reactor) onEach(f func(i int, l *loop)) {
	var wg sync.WaitGroup
	wg.Add(len(r.loops))
	for i, l := range r.loops {
		l.post(func() {
			defer wg.Done()
			f(i, l)
		})
	}
	wg.Wait()
}

func (r *reactor) Stats() []LoopStats {
	all := make([]LoopStats, len(r.loops))
	for i, l := range r.loops {
		all[i] = LoopStats{
			Sessions:     l.stats.sessions.Load(),
			Accepted:     l.stats.accepted.Load(),
			Events:       l.stats.events.Load(),
			Wakeups:      l.stats.wakeups.Load(),
			CopyBytes:    l.stats.copied.Load(),
			SpliceBytes:  l.stats.spliced.Load(),
			PipesInUse:   l.pipes.inUse.Load(),
			PipesPooled:  l.pipes.pooled.Load(),
			AcceptPauses: l.stats.pauses.Load(),
		}
	}
	return all
}

// Alive asks every loop to answer by running a task.
func (r *reactor) Alive(ctx context.Context) error {
	answers := make(chan struct{}, len(r.loops))
	r.mu.Lock()
	if r.stopped {
		r.mu.Unlock()
		return ErrClosed
	}
	for _, l := range r.loops {
		l.post(func() { answers <- struct{}{} })
	}
	r.mu.Unlock()
	for range r.loops {
		select {
		case <-answers:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Shutdown goes in this order: no new clients, so that the number of sessions can
// only fall; then the wait; then the cut; the loops last, since all of that runs
// on them.
func (r *reactor) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return ErrClosed
	}
	r.closed = true
	listeners := r.listeners
	r.listeners = map[*listener]struct{}{}
	r.mu.Unlock()
	for ln := range listeners {
		ln.Close()
	}
	err := r.drain(ctx)
	r.mu.Lock()
	r.stopped = true
	r.onEach(func(_ int, l *loop) { l.stop = true })
	r.mu.Unlock()
	r.threads.Wait()
	return err
}

func (r *reactor) drain(ctx context.Context) error {
	r.draining.Store(true)
	for r.sessions() > 0 {
		select {
		case <-r.drained:
		case <-ctx.Done():
			if r.Kill(nil, ReasonDrained) > 0 {
				return ctx.Err()
			}
			return nil
		}
	}
	return nil
}

// ended is called by a loop that recycled pairs.
func (r *reactor) ended() {
	if r.draining.Load() {
		select {
		case r.drained <- struct{}{}:
		default:
		}
	}
}

func (r *reactor) sessions() (n int64) {
	for _, l := range r.loops {
		n += l.stats.sessions.Load()
	}
	return n
}
