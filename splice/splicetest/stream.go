package splicetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

// stream is a TCP or unix connection of a test.
type stream interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// listenTCP is a listener of the test's own.
func listenTCP(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func listenUnix(t testing.TB, path string) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func dialTCP(t testing.TB, addr netip.AddrPort) stream {
	t.Helper()
	conn, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	return ours(t, conn)
}

func dialUnix(t testing.TB, path string) stream {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return ours(t, conn.(stream))
}

func accept(t testing.TB, l net.Listener) stream {
	t.Helper()
	l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(patience))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return ours(t, conn.(stream))
}

// ours bounds everything that a test does with a connection, and closes it at the
// test's end.
func ours(t testing.TB, s stream) stream {
	s.SetDeadline(time.Now().Add(2 * patience))
	t.Cleanup(func() { s.Close() })
	return s
}

// endpointOf is the endpoint at an address of the net package.
func endpointOf(a net.Addr) splice.Endpoint {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return splice.Endpoint{Addr: tcp.AddrPort()}
	}
	return splice.Endpoint{Unix: a.String()}
}

// resetNow ends a connection with a RST. What was written and not acknowledged is
// lost; flushed waits for that.
func resetNow(s stream) {
	s.(*net.TCPConn).SetLinger(0)
	s.Close()
}

func send(t testing.TB, s stream, text string) {
	t.Helper()
	if _, err := io.WriteString(s, text); err != nil {
		t.Fatalf("send %q: %v", text, err)
	}
}

func want(t testing.TB, s stream, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(s, got); err != nil || string(got) != text {
		t.Fatalf("received %q, %v; want %q", got[:n], err, text)
	}
}

// roundTrip sends from one peer to the other and back.
func roundTrip(t testing.TB, a, b stream) {
	t.Helper()
	send(t, a, "ping")
	want(t, b, "ping")
	send(t, b, "pong")
	want(t, a, "pong")
}

// wantEnd reads the orderly end.
func wantEnd(t testing.TB, s stream) {
	t.Helper()
	if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read got %d bytes, %v; want the end", n, err)
	}
}

// wantReset reads until the connection ends, which must be by a reset.
func wantReset(t testing.TB, s stream) {
	t.Helper()
	if _, err := io.Copy(io.Discard, s); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("connection ended with %v; want %v", err, syscall.ECONNRESET)
	}
}

// wantRejected connects to a listener that resets the client, which the client may
// hear of as early as in its connect.
func wantRejected(t testing.TB, l splice.Listener) {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err == nil {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("connection ended with %v; want %v", err, syscall.ECONNRESET)
	}
}

// wantRefused connects to an address where nobody listens.
func wantRefused(t testing.TB, addr net.Addr) {
	t.Helper()
	conn, err := net.Dial(addr.Network(), addr.String())
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("connect to %v got %v; want %v", addr, err, syscall.ECONNREFUSED)
	}
}

// wantBroken writes until that fails: the peer has no connection any more.
func wantBroken(t testing.TB, s stream) {
	t.Helper()
	eventually(t, "a write fails", func() bool {
		_, err := s.Write([]byte("x"))
		return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
	})
}

// end ends the test's direction.
func end(t testing.TB, s stream) {
	t.Helper()
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("within %v it did not come to be that %s", patience, what)
		}
	}
}

// period is the length of pattern: a prime, so that no chunk size of an engine
// divides it and a swap, loss or repetition of chunks cannot go unseen.
const period = 1<<20 - 3

var pattern = sync.OnceValue(func() []byte {
	b := make([]byte, 2*period)
	random := rand.NewChaCha8([32]byte{'p'})
	random.Read(b[:period])
	copy(b[period:], b[:period])
	return b
})

// at is a piece of the endless pattern that begins at an offset, up to a period
// long.
func at(offset int64, n int64) []byte {
	from := offset % period
	return pattern()[from : from+min(n, period)]
}

// sendPattern writes n bytes of the pattern, beginning at offset, in chunks.
func sendPattern(w io.Writer, offset, n int64, chunk int64) error {
	for sent := int64(0); sent < n; {
		m, err := w.Write(at(offset+sent, min(chunk, n-sent)))
		sent += int64(m)
		if err != nil {
			return fmt.Errorf("send byte %d of %d: %w", sent, n, err)
		}
	}
	return nil
}

// readPattern reads until the end, or an error, and checks that the bytes are the
// pattern from offset on. It answers their number, and the error if it is not EOF.
func readPattern(r io.Reader, offset int64, buf []byte) (n int64, err error) {
	for {
		m, err := r.Read(buf)
		if want := at(offset+n, int64(m)); !bytes.Equal(buf[:m], want) {
			return n, fmt.Errorf("bytes %d to %d are not what was sent", n, n+int64(m))
		}
		n += int64(m)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// wantPattern reads n bytes of the pattern and the end.
func wantPattern(t testing.TB, s stream, offset, n int64) {
	t.Helper()
	if got, err := readPattern(s, offset, make([]byte, 256<<10)); err != nil || got != n {
		t.Fatalf("received %d bytes, %v; want %d and the end", got, err, n)
	}
}

// wantPatternReset reads n bytes of the pattern and then a reset.
func wantPatternReset(t testing.TB, s stream, offset, n int64) {
	t.Helper()
	if got, err := readPattern(s, offset, make([]byte, 256<<10)); !errors.Is(err, syscall.ECONNRESET) || got != n {
		t.Fatalf("received %d bytes, %v; want %d and %v", got, err, n, syscall.ECONNRESET)
	}
}

// background runs f, named by what it does in the failure, and answers a function
// that waits for it.
func background(t testing.TB, what string, f func() error) (wait func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() {
		t.Helper()
		if err := <-done; err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
