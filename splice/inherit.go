package splice

import (
	"fmt"
	"net"
	"os"
)

// isFixed reports whether the socket cannot be suspended: an inherited unix socket
// could be neither made to listen again nor bound a second time. Its clients are
// accepted, and their sessions find no backend.
func (b *Bind) isFixed() bool { return b.Inherited != 0 && b.Unix != "" }

// adopt makes the goroutine engine's listener of an inherited socket.
func adopt(b Bind) (net.Listener, error) {
	file := os.NewFile(uintptr(b.Inherited), b.String())
	defer file.Close() // the listener has a duplicate
	socket, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("listen %s: %w", b, bareError(err))
	}
	if u, ok := socket.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
		return socket, nil
	}
	if err := relisten(socket, b); err != nil { // who had it may have died while it was suspended
		socket.Close()
		return nil, fmt.Errorf("listen %s: %w", b, bareError(err))
	}
	return socket, nil
}

// closeInherited lets go of a socket that will not be used.
func closeInherited(b Bind) {
	if b.Inherited != 0 {
		os.NewFile(uintptr(b.Inherited), b.String()).Close()
	}
}
