//go:build !linux

package splice

import (
	"net"
	"syscall"
)

// What is Linux's alone is absent here.

// unsent cannot be known, so that a reset is passed on as an orderly end: it could
// discard bytes.
func unsent(net.Conn) (n int, ok bool) { return 0, false }

// isReset cannot be told from an orderly end that another call has met first.
func isReset(net.Conn) bool { return false }

// suspend closes the socket: for its time another process can take the address.
func suspend(socket net.Listener) (net.Listener, error) { return closeSuspended(socket) }

func resume(_ net.Listener, b Bind) (net.Listener, error) { return listen(b) }

// bindLate has nothing to set: the port is chosen by bind.
func bindLate(string, string, syscall.RawConn) error { return nil }
