//go:build !unix

package splice

import "net"

// What unix systems see of a socket is not looked for here.

// clientQueued does not know, so that a closing listener resets what is queued.
func clientQueued(net.Listener) bool { return false }

// readable does not know: what was not read yet did not come.
func readable(net.Conn) bool { return false }

// writable does not know.
func writable(net.Conn) bool { return false }

// setBacklog leaves the system's choice.
func setBacklog(net.Listener, int) error { return nil }

// awaitPeer sees nothing: a client that leaves during a dial is met after it.
func awaitPeer(net.Conn, func(func() peerState) bool) {}

// lookAtPeer sees nothing either.
func lookAtPeer(net.Conn, func(func() peerState) bool) {}
