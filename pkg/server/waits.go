package server

import (
	"fmt"
	"net"

	"github.com/limeload/limeload/pkg/config"
)

// waits reports whether an address cannot be bound before a listener of old has let go
// of it: of the same address, under another name, or of one that takes it in, as :5432
// does with 127.0.0.1:5432. Then nothing more may fail if it can be helped, so the error
// is an address that is not this machine's.
func (s *Server) waits(old *state, a config.Address, names answers) (bool, error) {
	for _, l := range old.listeners {
		for _, b := range l.bound {
			switch {
			case !b.from.Overlaps(a):
			case b.from == a:
				return true, nil
			case s.inherited.has(a.Port): // whose manager never lets go of it
				return false, nil
			default:
				return true, assignable(a, names)
			}
		}
	}
	return false, nil
}

// assignable tries an address on any port.
func assignable(a config.Address, names answers) error {
	binds, err := bindsOf(a, names)
	if err != nil {
		return err
	}
	for _, b := range binds {
		host := "" // every address
		if b.Addr.Addr().IsValid() {
			host = b.Addr.Addr().String()
		}
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return fmt.Errorf("listen %s: %w", a, err)
		}
		ln.Close()
	}
	return nil
}

// has reports whether a socket has the port.
func (in *inherited) has(port uint16) bool {
	for i := range in.sockets {
		if s := &in.sockets[i]; s.Unix == "" && s.Addr.Port() == port {
			return true
		}
	}
	return false
}
