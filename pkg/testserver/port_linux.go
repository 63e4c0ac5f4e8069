package testserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
)

// Ports are taken from below the range from which the kernel gives ports to
// outgoing connections (32768 and up, ip(7)): a server that is down for a while
// finds its port free when it comes back.
const (
	firstPort = 20000
	lastPort  = 32000

	// Each process looks in a part of its own, so that two test programs at once seldom
	// find the same port free.
	parts = 20
)

// given are the ports that this process handed out.
var given struct {
	sync.Mutex
	ports map[int]bool
}

// FreePort answers a port of 127.0.0.1 that nobody listens on, and answers it only
// once: until someone binds it, a connection to it is refused.
func FreePort(t testing.TB) int {
	t.Helper()
	given.Lock()
	defer given.Unlock()
	const size = (lastPort - firstPort) / parts
	first := firstPort + os.Getpid()%parts*size
	for range 5000 {
		port := first + rand.IntN(size)
		if given.ports[port] || !bindable(port) {
			continue
		}
		if given.ports == nil {
			given.ports = map[int]bool{}
		}
		given.ports[port] = true
		return port
	}
	t.Fatalf("no free port between %d and %d", first, first+size)
	return 0
}

// bindable reports whether nobody has a port. A child that is just being started
// would have a copy of the socket, until it runs its program, and so the port.
func bindable(port int) bool {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
