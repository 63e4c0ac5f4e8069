//go:build !linux

package splice

import (
	"net"
	"syscall"
	"time"
)

// What is Linux's alone is absent here.

// unsent cannot be known, so that a reset is passed on as an orderly end: it could
// discard bytes.
func unsent(net.Conn) (n int, ok bool) { return 0, false }

// howEnded cannot tell a reset from an orderly end that another call has met first.
func howEnded(net.Conn) (reset bool, left error) { return false, nil }

// hasEnded cannot be seen without reading.
func hasEnded(net.Conn) bool { return false }

// sinceTaken cannot be known, so that only bytes that move here count.
func sinceTaken(net.Conn) (since time.Duration, queued bool) { return 0, false }

// isSilent cannot be known: keepalive and the system's own limits have to do.
func isSilent(net.Conn, time.Duration) bool { return false }

const seesSilence = false

// pathOf sees nothing.
func pathOf(net.Conn) Path { return Path{} }

// setConnUserTimeout has nothing to set.
func setConnUserTimeout(net.Conn, time.Duration) {}

// suspend closes the socket: for its time another process can take the address.
func suspend(socket net.Listener) (net.Listener, error) { return closeSuspended(socket) }

// relisten has nothing to do: nobody takes a socket out of the listening state.
func relisten(net.Listener, Bind) error { return nil }

func resume(_ net.Listener, b Bind) (net.Listener, error) { return listen(b) }

// bindLate has nothing to set: the port is chosen by bind.
func bindLate(string, string, syscall.RawConn) error { return nil }
