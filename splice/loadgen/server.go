package loadgen

import (
	"fmt"
	"net/netip"
	"strings"
)

// Role is what a server does with a connection. As a byte it is what a client sends
// first to choose it.
type Role byte

const (
	ByFirstByte Role = 0   // what the client's first byte says; Echo if it says nothing known
	Echo        Role = 'E' // sends back what comes
	Sink        Role = 'U' // takes an upload, and confirms it if the client chose the role
	Source      Role = 'D' // sends for as long as the client keeps its direction open
)

var roleNames = map[Role]string{ByFirstByte: "auto", Echo: "echo", Sink: "sink", Source: "source"}

func (r Role) String() string { return roleNames[r] }

// ParseRole is the Role of that name.
func ParseRole(name string) (Role, error) {
	for r, n := range roleNames {
		if n == name {
			return r, nil
		}
	}
	return 0, fmt.Errorf("unknown role %q: want one of %s", name, strings.Join([]string{"auto", "echo", "sink", "source"}, ", "))
}

// ServerOptions say what [Listen] does.
type ServerOptions struct {
	// Addresses are where to listen. Port 0 lets the system choose one.
	Addresses []netip.AddrPort
	// Role is what to do with every connection. A fixed Sink neither verifies nor
	// confirms, and a fixed Source begins with phase 0, since no client tells them how.
	Role Role
	// Threads is the number of loops; 0 is GOMAXPROCS. Connections are kept level
	// between them.
	Threads int
	// Verify is how much of an upload is compared.
	Verify Verify
}

// ServerStats is what a server has done so far.
type ServerStats struct {
	Accepted  uint64 // connections
	Open      int    // connections now
	BytesIn   uint64
	BytesOut  uint64
	Corrupt   uint64 // reads of uploads that held wrong bytes
	Exhausted uint64 // pauses of accepting for want of descriptors or memory
}
