package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// TCP is the Prober for which a completed handshake is enough; see NewTCP.
type TCP struct{}

// NewTCP is a Prober that connects and goes away. It has one phase, "connect".
//
// On Linux the server's application does not notice: the client's kernel is
// told to hold back the ACK that would complete the handshake, and the
// connection is reset as soon as the SYN/ACK is there. On the wire that is
// SYN, SYN/ACK, RST, and nothing ever reaches the server's accept(2). The
// kernel holds the ACK back for 200 ms at most (TCP_DELACK_MAX), so a process
// that gets no CPU for that long is noticed after all. Elsewhere the server
// accepts a connection that is reset at once.
//
// A unix socket has no handshake: there the probe connects and closes, and
// the server accepts a connection that ends without a byte.
func NewTCP() *TCP { return &TCP{} }

// Probe connects to a.
func (*TCP) Probe(ctx context.Context, a Address) Result {
	start := time.Now()
	var err error
	if a.Path != "" {
		err = connectUnix(ctx, a.Path)
	} else {
		err = shakeHands(ctx, a.AddrPort)
	}
	if err != nil {
		err = fmt.Errorf("connect %s: %w", a, err)
	}
	return newResult(ctx, a, "connect", start, err)
}

// connectUnix connects to the unix stream socket at path and closes.
func connectUnix(ctx context.Context, path string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return unixCause(err)
	}
	return conn.Close()
}

// unixCause is the bare error of a failed connect(2) to a unix socket. EAGAIN
// there means that the backlog is full (unix(7)): nobody accepts.
func unixCause(err error) error {
	if errors.Is(err, syscall.EAGAIN) {
		return fmt.Errorf("backlog is full: %w", syscall.ECONNREFUSED)
	}
	return cause(err)
}
