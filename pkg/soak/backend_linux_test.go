package soak

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hostAddress is a port of the system's choice on the n'th of this process's own
// loopback addresses: nobody else takes the port while a backend is stopped.
func hostAddress(n int) string { return fmt.Sprintf("127.1.%d.%d:0", os.Getpid()%256, n+1) }

// backend is a server of ours. It stops and starts at one address.
type backend struct {
	name, address string
	ledger        *ledger
	serving       sync.WaitGroup

	down    spells // it does not listen
	crashes spells // its connections are being reset
	removed spells // it is not in the configuration

	mu       sync.Mutex
	listener net.Listener // nil while it is stopped
	conns    map[*net.TCPConn]struct{}
}

// newBackend starts the n'th backend.
func newBackend(t testing.TB, l *ledger, name string, n int) *backend {
	t.Helper()
	b := &backend{name: name, ledger: l, address: hostAddress(n), conns: map[*net.TCPConn]struct{}{}}
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	l.backends[name] = b
	t.Cleanup(func() {
		b.stop(true)
		b.serving.Wait()
	})
	return b
}

// start listens again. It may be called when the backend runs.
func (b *backend) start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp", b.address)
	if err != nil {
		return err
	}
	b.listener, b.address = listener, listener.Addr().String()
	b.down.turn(false)
	b.serving.Go(func() { b.accept(listener) })
	return nil
}

// stop listens no more; what lives goes on, or with crash is reset. It may be called
// when the backend is stopped.
func (b *backend) stop(crash bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listener != nil {
		b.down.turn(true)
		b.listener.Close()
		b.listener = nil
	}
	if crash {
		b.crashes.turn(true)
		defer b.crashes.turn(false)
		for conn := range b.conns {
			conn.SetLinger(0)
			conn.Close()
		}
	}
}

func (b *backend) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		b.take(conn.(*net.TCPConn))
	}
}

func (b *backend) take(conn *net.TCPConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns[conn] = struct{}{}
	b.serving.Go(func() { b.serve(conn) })
}

// serve plays the server's part of a session, if its client lets it know of which.
func (b *backend) serve(conn *net.TCPConn) {
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.conns, conn)
	}()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	var head [greeting]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return
	}
	number := binary.BigEndian.Uint32(head[:])
	r := b.ledger.meet(number, b.name)
	if r == nil {
		return
	}
	got := playServer(conn, number, &r.script, func() { b.ledger.note(r, func() { r.cutDown = true }) })
	b.ledger.note(r, func() { r.server = &got })
}

// live is the number of its connections.
func (b *backend) live() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

// newSilent is the address of the n'th backend, which never answers: the kernel drops the SYN
// of whoever connects while the queue of a listener is full.
func newSilent(t testing.TB, n int) string {
	t.Helper()
	listener, err := net.Listen("tcp", hostAddress(n))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = unix.Listen(int(fd), 0) }) // a queue of one
	if err = errors.Join(err, inner); err != nil {
		t.Fatal(err)
	}
	filler, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { filler.Close() })
	return listener.Addr().String()
}
