package splice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// copyListener accepts with one goroutine. A blocking accept cannot reserve its
// permits beforehand without keeping them from the other listeners, so it accepts
// first and waits for the permits then, before Open: at a full gate one client of
// each listener waits in user space, connected and unread, and the others wait in
// the kernel's queue.
//
//	listening ⇄ suspended
//	    └────┬──────┘
//	      closing   accepts what is queued, as far as there are permits
//	         │
//	      closed
type copyListener struct {
	engine *copyEngine
	bind   Bind
	addr   netip.AddrPort

	mu        sync.Mutex
	changed   sync.Cond    // suspended or closing has changed
	keepalive Keepalive    // of clients accepted from now on
	socket    net.Listener // nil while a suspended socket had to be closed
	file      os.FileInfo  // a unix socket's, to remove no other
	suspended bool
	closing   chan struct{} // closed by Close

	closeOnce sync.Once
	done      chan struct{} // closed when acceptLoop has returned
}

// listenCopy binds b and does not accept yet.
func listenCopy(e *copyEngine, b Bind) (*copyListener, error) {
	l := &copyListener{
		engine:    e,
		bind:      b,
		keepalive: b.Keepalive,
		closing:   make(chan struct{}),
		done:      make(chan struct{}),
	}
	l.changed.L = &l.mu
	socket, err := listen(b)
	if err != nil {
		return nil, err
	}
	l.listens(socket)
	l.addr = addrPort(socket.Addr())
	// Port 0 is the system's choice only once: Resume has to have the same.
	l.bind.Addr = netip.AddrPortFrom(b.Addr.Addr(), l.addr.Port())
	return l, nil
}

// listen binds and listens as b says.
func listen(b Bind) (net.Listener, error) {
	if b.Inherited != 0 {
		return adopt(b)
	}
	network, address := b.network()
	// Plain TCP: Go's listeners would speak MPTCP where the kernel can, and nothing
	// here needs its extra costs.
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	lc.KeepAliveConfig.Enable = true // setKeepalive says the rest for each client
	socket, err := lc.Listen(context.Background(), network, address)
	if b.Unix != "" && errors.Is(err, syscall.EADDRINUSE) && removeStaleSocket(b.Unix) {
		socket, err = lc.Listen(context.Background(), network, address)
	}
	if err == nil && b.Backlog > 0 {
		err = setBacklog(socket, b.Backlog)
	}
	if err != nil {
		return nil, bindError(&b, bareError(err))
	}
	return socket, nil
}

// network is what the net package has to be asked for. Only the zero Addr listens
// on both families: 0.0.0.0 and :: mean what they say.
func (b Bind) network() (network, address string) {
	switch addr := b.Addr.Addr(); {
	case b.Unix != "":
		return "unix", b.Unix
	case !addr.IsValid():
		return "tcp", fmt.Sprintf(":%d", b.Addr.Port())
	case addr.Is4():
		return "tcp4", b.Addr.String()
	}
	return "tcp6", b.Addr.String()
}

// bareError takes the names off that the net package puts around an error number:
// ours stand there already.
func bareError(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// bindError is why b cannot be listened on. Of a path, the system says that it is in use
// whatever is there; nobody has to be looked for who listens on a file.
func bindError(b *Bind, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) && b.Unix != "" {
		if info, e := os.Lstat(b.Unix); e == nil && info.Mode().Type() != os.ModeSocket {
			return fmt.Errorf("listen %s: %w: what is there is no socket", b, err)
		}
	}
	return fmt.Errorf("listen %s: %w", b, err)
}

// removeStaleSocket removes the socket file that a dead process left behind, and
// reports whether it did. Anything but a socket, and a socket where someone
// answers, stays.
func removeStaleSocket(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED) && os.Remove(path) == nil
}

func (l *copyListener) Addr() netip.AddrPort { return l.addr }

// acceptLoop is the listener's goroutine.
func (l *copyListener) acceptLoop() {
	defer close(l.done)
	pause := backoff{min: 5 * time.Millisecond, max: time.Second}
	for {
		socket := l.listening()
		if socket == nil {
			return
		}
		conn, err := socket.Accept()
		switch {
		case err == nil:
			pause.reset()
			l.admit(conn)
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Close asks for the loop's attention.
		case l.isClosing():
			return // what is still queued is reset with the socket
		case l.isSuspended():
		default:
			l.pause(err, &pause)
		}
	}
}

// listening waits for the socket to accept from; nil once the listener is closing
// and has nothing left to serve.
func (l *copyListener) listening() net.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.suspended && !l.isClosing() {
		l.changed.Wait()
	}
	if l.isClosing() {
		if l.suspended || l.bind.Inherited != 0 || !clientQueued(l.socket) {
			return nil
		}
		setAcceptDeadline(l.socket, time.Time{})
	}
	return l.socket
}

func (l *copyListener) isClosing() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

func (l *copyListener) isSuspended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.suspended
}

// pause waits after a failed accept, so that it neither spins nor gives up: the
// client stays in the kernel's queue, and descriptors come back as sessions end.
func (l *copyListener) pause(err error, b *backoff) {
	first := b.last == 0
	wait := b.next()
	if first && outOfResources(err) {
		l.engine.acceptPaused(err)
	}
	select {
	case <-time.After(wait):
	case <-l.closing:
	}
}

func outOfResources(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// admit gives conn its permits and its session, and starts the pair.
func (l *copyListener) admit(conn net.Conn) {
	accepted := time.Now()
	setConnKeepalive(conn, l.clientKeepalive())
	if !l.awaitPermits() {
		reset(conn)
		return
	}
	l.engine.accepted.Add(1)
	session, err := l.bind.Handler.Open(peerOf(conn))
	if err != nil {
		reset(conn)
		releaseAll(l.bind.Gates)
		return
	}
	l.engine.start(newCopyPair(l.engine, l.bind.Gates, session, conn, accepted))
}

func (l *copyListener) clientKeepalive() Keepalive {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keepalive
}

func (l *copyListener) SetKeepalive(k Keepalive) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosing() {
		return ErrClosed
	}
	l.keepalive = k
	return nil
}

// awaitPermits takes a permit of every gate, waiting for it if need be. It answers
// false, without permits, if the listener closes meanwhile.
func (l *copyListener) awaitPermits() bool {
	woken := make(chan struct{}, 1)
	wake := func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}
	var asked *Gate // that will call wake
	for {
		full := reserveAll(l.bind.Gates)
		if full == nil {
			return true
		}
		if full != asked { // and try again: a permit may have come back just before
			full.await(wake)
			asked = full
			continue
		}
		select {
		case <-woken:
			asked = nil
		case <-l.closing:
			return false
		}
	}
}

func (l *copyListener) Suspend() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosing() {
		return ErrClosed
	}
	if l.suspended || l.bind.isFixed() {
		return nil
	}
	socket, err := suspend(l.socket)
	l.socket, l.suspended = socket, true // also what could not be: Resume is to find it so
	l.changed.Broadcast()
	if err != nil {
		return fmt.Errorf("suspend %s: %w", l.bind, bareError(err))
	}
	return nil
}

func (l *copyListener) Resume() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosing() {
		return ErrClosed
	}
	if !l.suspended {
		return nil
	}
	socket, err := resume(l.socket, l.bind)
	if err != nil {
		return fmt.Errorf("resume %s: %w", l.bind, bareError(err))
	}
	l.listens(socket)
	l.suspended = false
	l.changed.Broadcast()
	return nil
}

// listens notes the socket, and its file if it is a unix one.
func (l *copyListener) listens(socket net.Listener) {
	l.socket = socket
	if l.bind.Unix != "" {
		l.file, _ = os.Lstat(l.bind.Unix)
	}
}

// Close has the accept loop serve what is queued, waits for it, and then closes
// the socket.
func (l *copyListener) Close() (err error) {
	err = ErrClosed
	l.closeOnce.Do(func() { err = l.close() })
	return err
}

func (l *copyListener) close() error {
	l.mu.Lock()
	close(l.closing)
	l.changed.Broadcast()
	socket := l.socket
	if socket != nil {
		setAcceptDeadline(socket, longAgo)
	}
	l.mu.Unlock()

	<-l.done
	l.engine.forgetListener(l)
	if l.bind.Unix != "" && l.suspended { // never an inherited one
		removeStaleSocket(l.bind.Unix)
	}
	if socket == nil {
		return nil
	}
	if l.suspended && l.bind.Inherited != 0 {
		resume(socket, l.bind) // for whoever holds it too
	}
	if u, ok := socket.(*net.UnixListener); ok {
		if now, err := os.Lstat(l.bind.Unix); err == nil && !os.SameFile(now, l.file) {
			u.SetUnlinkOnClose(false)
		}
	}
	return socket.Close()
}

// setAcceptDeadline interrupts the accept that goes on if at is in the past.
func setAcceptDeadline(socket net.Listener, at time.Time) {
	socket.(interface{ SetDeadline(time.Time) error }).SetDeadline(at)
}

// peerOf describes conn's other end. A client that reached a dual-stack socket by
// IPv4 has an IPv4 address.
func peerOf(conn net.Conn) Peer {
	if _, ok := conn.(*net.UnixConn); ok {
		return Peer{Unix: true}
	}
	return Peer{Remote: addrPort(conn.RemoteAddr()), Local: addrPort(conn.LocalAddr())}
}

// addrPort is the zero value for an address that is not TCP's.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
