//go:build linux

package main_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/testserver"
	"golang.org/x/sys/unix"
)

// listen listens on an address until t ends.
func listen(t *testing.T, address string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// accept takes the next client of l.
func accept(t *testing.T, l *net.TCPListener) *net.TCPConn {
	t.Helper()
	l.SetDeadline(time.Now().Add(patience))
	c, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	return guard(t, c)
}

// dial connects to an address.
func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	return dialFrom(t, "", address)
}

// dialFrom connects to an address from a source address; empty is the system's
// choice.
func dialFrom(t *testing.T, source, address string) *net.TCPConn {
	t.Helper()
	var d net.Dialer
	if source != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return guard(t, c.(*net.TCPConn))
}

// guard gives a connection a deadline and an end.
func guard(t *testing.T, c *net.TCPConn) *net.TCPConn {
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

// send writes text.
func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// expect reads as many bytes as want has.
func expect(t *testing.T, c io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("got %.40q (%d bytes), %v; want %.40q (%d bytes)", got[:n], n, err, want, len(want))
	}
}

// expectEnd reads the other side's orderly end.
func expectEnd(t *testing.T, c io.Reader) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("got %d bytes, %v; want the end", n, err)
	}
}

// expectReset reads the other side's RST.
func expectReset(t *testing.T, c io.Reader) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %d bytes, %v; want a reset", n, err)
	}
}

// dialReset connects to an address where clients are accepted and reset at once, and
// answers the client's address. A RST that overtakes the connecting program is its
// connect's error.
func dialReset(t *testing.T, address string) net.Addr {
	t.Helper()
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: testserver.FreePort(t)}
	c, err := (&net.Dialer{LocalAddr: from}).DialContext(t.Context(), "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) { // somebody took that port meanwhile
		return dialReset(t, address)
	}
	if err == nil {
		expectReset(t, guard(t, c.(*net.TCPConn)))
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v; want a reset", err)
	}
	return from
}

// reset ends a connection with a RST.
func reset(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
		t.Fatal(err)
	}
}

// closeWrite ends one direction of a connection.
func closeWrite(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// refused reports whether nobody listens on an address.
func refused(address string) bool {
	c, err := net.Dial("tcp", address)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// echo is a backend that says its name, on a line, to every client and then sends
// back what it gets.
type echo struct {
	t       *testing.T
	name    string
	address string

	mu       sync.Mutex
	listener *net.TCPListener // nil while it is down
	clients  []*net.TCPConn   // all that ever came
	most     int              // the most that were connected at one time
	serving  sync.WaitGroup
}

// startEcho starts a backend, which is stopped when t ends.
func startEcho(t *testing.T, name, address string) *echo {
	t.Helper()
	e := &echo{t: t, name: name, address: address}
	e.start()
	t.Cleanup(e.stop)
	return e
}

// start listens, on the same port as before if it was stopped.
func (e *echo) start() {
	e.t.Helper()
	l := listen(e.t, e.address)
	e.address, e.listener = l.Addr().String(), l
	e.serving.Go(func() { e.accept(l) })
}

// stop ends it as a crash would: nobody listens any more, and its clients are reset.
// A child that is just being started would have copies of the sockets, until it runs
// its program, and keep them open.
func (e *echo) stop() {
	syscall.ForkLock.RLock()
	e.listener.Close()
	e.mu.Lock()
	for _, c := range e.clients {
		c.SetLinger(0)
		c.Close()
	}
	e.mu.Unlock()
	syscall.ForkLock.RUnlock()
	e.serving.Wait()
}

func (e *echo) accept(l *net.TCPListener) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return
		}
		e.enter(c)
		e.serving.Go(func() { e.serve(c) })
	}
}

// enter counts a client, and those that are connected now.
func (e *echo) enter(c *net.TCPConn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clients = append(e.clients, c)
	connected := 0
	for _, c := range e.clients {
		if established(c) {
			connected++
		}
	}
	e.most = max(e.most, connected)
}

// established asks the kernel whether neither side has ended c. Only that tells at
// once: an end that was not read yet has happened nevertheless.
func established(c *net.TCPConn) bool {
	const stateEstablished = 1 // TCP_ESTABLISHED, include/net/tcp_states.h
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	yes := false
	raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		yes = err == nil && info.State == stateEstablished
	})
	return yes
}

func (e *echo) serve(c *net.TCPConn) {
	defer c.Close()
	io.WriteString(c, e.name+"\n")
	io.Copy(c, c)
}

// served is how many clients came.
func (e *echo) served() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.clients)
}

// crowd is the most clients that were connected at one time.
func (e *echo) crowd() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.most
}

// visitor is a client of an echo.
type visitor struct {
	*net.TCPConn
	from *bufio.Reader
	name string // of the backend that serves it
}

// visit connects to an echo through limeload, and learns which one it is.
func visit(t *testing.T, address string) *visitor {
	t.Helper()
	return visitFrom(t, "", address)
}

func visitFrom(t *testing.T, source, address string) *visitor {
	t.Helper()
	v := meet(dialFrom(t, source, address))
	if v.name == "" {
		t.Fatal("the session ended before a backend said its name")
	}
	return v
}

// meet reads a backend's name from a connection, empty if it ended before.
func meet(c *net.TCPConn) *visitor {
	v := &visitor{TCPConn: c, from: bufio.NewReader(c)}
	if name, err := v.from.ReadString('\n'); err == nil {
		v.name = name[:len(name)-1]
	}
	return v
}

// chat sends something there and back.
func (v *visitor) chat(t *testing.T) {
	t.Helper()
	send(t, v, "are you there?")
	expect(t, v.from, "are you there?")
}

// leave ends the session in order, and waits for the backend to do so too.
func (v *visitor) leave(t *testing.T) {
	t.Helper()
	closeWrite(t, v.TCPConn)
	expectEnd(t, v.from)
	v.Close()
}
