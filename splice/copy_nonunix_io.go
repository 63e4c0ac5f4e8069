//go:build !unix

package splice

import "net"

// reader reads one connection. It holds a buffer while it waits.
type reader struct{ conn net.Conn }

func readerOf(conn net.Conn) *reader { return &reader{conn} }

// read waits for bytes, and reads at most so many into a buffer that is the caller's
// to give back, also with an error.
func (r *reader) read(most int) (*buffer, int, error) {
	buf := buffers.Get().(*buffer)
	n, err := r.conn.Read(buf[:most])
	return buf, n, err
}

// await cannot wait without reading: a turn is then reserved before there are bytes.
func (r *reader) await() error { return nil }

// pending cannot be told.
func (r *reader) pending() int { return len(buffer{}) }

// writeAll writes b, and tells of it at the end.
func writeAll(conn net.Conn, b []byte, took func(n int)) error {
	n, err := conn.Write(b)
	took(n)
	return err
}
