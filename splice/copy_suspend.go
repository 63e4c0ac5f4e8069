package splice

import "net"

// closeSuspended is the suspension that every system can do: the socket is closed,
// and nil is left of it. A unix socket's file stays, so that its address is still
// taken and connects to it are refused.
func closeSuspended(socket net.Listener) (net.Listener, error) {
	if u, ok := socket.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	return nil, socket.Close()
}
