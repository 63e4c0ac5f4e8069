//go:build unix

package splice

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

// How the goroutine engine reads and writes sockets on unix systems: it tries as soon
// as the socket is ready, so that nobody holds a buffer while there is nothing to
// read, and a write tells of every byte as it is taken.

// reader reads one connection. It is used by one goroutine at a time.
type reader struct {
	conn    net.Conn
	raw     syscall.RawConn // nil for a connection that is not a socket's
	attempt func(fd uintptr) bool

	most int // of the read under way, and what came of it
	buf  *buffer
	n    int
	err  error
}

func readerOf(conn net.Conn) *reader {
	r := &reader{conn: conn}
	if sc, ok := conn.(syscall.Conn); ok {
		r.raw, _ = sc.SyscallConn()
	}
	r.attempt = r.try
	return r
}

// read waits for bytes, and reads at most so many into a buffer that is the caller's
// to give back, also with an error; it is nil if none was needed.
func (r *reader) read(most int) (*buffer, int, error) {
	if r.raw == nil {
		buf := buffers.Get().(*buffer)
		n, err := r.conn.Read(buf[:most])
		return buf, n, err
	}
	r.most, r.buf, r.n, r.err = most, nil, 0, nil
	if err := r.raw.Read(r.attempt); err != nil {
		r.err = err
	}
	return r.buf, r.n, r.err
}

// try reads what there is; false is nothing, and that the socket is waited for.
func (r *reader) try(fd uintptr) bool {
	buf := buffers.Get().(*buffer)
	n, err := sys.Read(int(fd), buf[:r.most])
	switch {
	case n > 0:
		r.buf, r.n = buf, n
		return true
	case err == unix.EAGAIN:
		buffers.Put(buf)
		return false
	case err == nil:
		r.err = io.EOF
	default:
		r.err = os.NewSyscallError("read", err)
	}
	buffers.Put(buf)
	return true
}

// await waits until there is something to read, an end or a break included.
func (r *reader) await() error {
	if r.raw == nil {
		return nil
	}
	return r.raw.Read(func(fd uintptr) bool { return pollFD(int(fd), unix.POLLIN) != 0 })
}

// writeAll writes b and tells of every part that the system takes.
func writeAll(conn net.Conn, b []byte, took func(n int)) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		n, err := conn.Write(b)
		took(n)
		return err
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var broke error
	err = raw.Write(func(fd uintptr) bool {
		for len(b) > 0 {
			n, err := sys.Write(int(fd), b)
			if err == unix.EAGAIN {
				return false
			}
			if err != nil {
				broke = os.NewSyscallError("write", err)
				return true
			}
			took(n)
			b = b[n:]
		}
		return true
	})
	return errors.Join(err, broke)
}
