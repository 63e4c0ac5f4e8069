package healthcheck

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// rawSocket is the raw socket of one address family. It is open, and has a
// goroutine that receives, as long as there are probes that use it.
type rawSocket struct {
	protocol int // protocolICMP or protocolICMPv6

	mu   sync.Mutex
	open *rawSession // nil when no probe is under way
}

// rawSession is the time from the first probe's join to the last one's leave.
type rawSession struct {
	conn     *net.IPConn
	received chan struct{} // closed when receive has returned

	// Guarded by rawSocket.mu.
	users   int
	waiting map[uint32]*rawWaiter // by echo.key
}

type rawWaiter struct {
	echo   echo
	answer chan error // has room for the one answer
}

// errUnreachable is a router's word that the request was not delivered.
var errUnreachable = os.NewSyscallError("icmp", syscall.EHOSTUNREACH)

// receiveBuffer is how many bytes of replies the kernel may hold for us (it
// may grant less). A reply takes about 800 with its bookkeeping.
const receiveBuffer = 1 << 20

// ping sends e and waits for its answer.
func (s *rawSocket) ping(ctx context.Context, e echo) error {
	w := &rawWaiter{echo: e, answer: make(chan error, 1)}
	session, err := s.join(w)
	if err != nil {
		return err
	}
	defer s.leave(session, w)
	if err := session.send(&w.echo); err != nil {
		return err
	}
	select {
	case err := <-w.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join makes w one of the open session's waiters, and opens a session if there
// is none. It changes the sequence of w's echo if its key is taken.
func (s *rawSocket) join(w *rawWaiter) (*rawSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		conn, err := openRaw(s.protocol)
		if err != nil {
			return nil, err
		}
		s.open = &rawSession{conn: conn, received: make(chan struct{}), waiting: make(map[uint32]*rawWaiter)}
		go s.receive(s.open)
	}
	session := s.open
	for session.waiting[w.echo.key()] != nil {
		w.echo.seq++
	}
	session.waiting[w.echo.key()] = w
	session.users++
	return session, nil
}

// leave takes w out; the last one to leave closes the socket and waits for the
// goroutine.
func (s *rawSocket) leave(session *rawSession, w *rawWaiter) {
	s.mu.Lock()
	delete(session.waiting, w.echo.key())
	session.users--
	last := session.users == 0
	if last && s.open == session {
		s.open = nil
	}
	s.mu.Unlock()
	if last {
		session.conn.Close()
		<-session.received
	}
}

// send writes e's request to the socket.
func (s *rawSession) send(e *echo) error {
	b, err := e.request()
	if err != nil {
		return err
	}
	_, err = s.conn.WriteToIP(b, &net.IPAddr{IP: e.to.AsSlice(), Zone: e.to.Zone()})
	return cause(err)
}

// receive hands out what comes in until the socket is closed, or breaks.
func (s *rawSocket) receive(session *rawSession) {
	defer close(session.received)
	var packet [1500]byte
	for {
		n, _, err := session.conn.ReadFromIP(packet[:])
		if err != nil {
			s.abandon(session, cause(err))
			return
		}
		if r, ok := parseResponse(s.protocol, packet[:n]); ok {
			s.deliver(session, &r)
		}
	}
}

// deliver hands r to the waiter that it answers, if there is one.
func (s *rawSocket) deliver(session *rawSession, r *response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := session.waiting[r.key]
	if w == nil || !r.answers(&w.echo) {
		return
	}
	w.settle(r.outcome())
}

// abandon gives err to all who wait on a session that can receive no more, and
// lets the next probe open another one.
func (s *rawSocket) abandon(session *rawSession, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == session {
		s.open = nil
	}
	for _, w := range session.waiting {
		w.settle(err)
	}
}

// settle gives w its answer, unless it has one.
func (w *rawWaiter) settle(err error) {
	select {
	case w.answer <- err:
	default:
	}
}

// outcome is what r means for the probe that it answers.
func (r *response) outcome() error {
	if r.failed {
		return errUnreachable
	}
	return nil
}

// openRaw opens a raw socket that receives only what parseResponse reads.
func openRaw(protocol int) (*net.IPConn, error) {
	network, local := "ip4:icmp", netip.IPv4Unspecified()
	if protocol == protocolICMPv6 {
		network, local = "ip6:ipv6-icmp", netip.IPv6Unspecified()
	}
	conn, err := net.ListenIP(network, &net.IPAddr{IP: local.AsSlice()})
	if isAny(err, syscall.EPERM, syscall.EACCES) {
		return nil, errNotPermitted
	}
	if err != nil {
		return nil, fmt.Errorf("open raw socket: %w", cause(err))
	}
	// Both are only savings: parseResponse would sort out the rest.
	filter(protocol, conn)
	conn.SetReadBuffer(receiveBuffer)
	return conn, nil
}

// filter has the kernel drop what parseResponse would, if it can.
func filter(protocol int, conn *net.IPConn) {
	if protocol == protocolICMPv6 {
		var f ipv6.ICMPFilter
		f.SetAll(true)
		f.Accept(ipv6.ICMPTypeEchoReply)
		f.Accept(ipv6.ICMPTypeDestinationUnreachable)
		f.Accept(ipv6.ICMPTypeTimeExceeded)
		ipv6.NewPacketConn(conn).SetICMPFilter(&f)
		return
	}
	var f ipv4.ICMPFilter
	f.SetAll(true)
	f.Accept(ipv4.ICMPTypeEchoReply)
	f.Accept(ipv4.ICMPTypeDestinationUnreachable)
	f.Accept(ipv4.ICMPTypeTimeExceeded)
	ipv4.NewPacketConn(conn).SetICMPFilter(&f)
}
