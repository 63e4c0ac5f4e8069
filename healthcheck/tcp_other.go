//go:build !linux

package healthcheck

import (
	"context"
	"net"
	"net/netip"
)

// shakeHands connects to the peer and resets the connection. Without
// TCP_QUICKACK the peer accepts it.
func shakeHands(ctx context.Context, to netip.AddrPort) error {
	var d net.Dialer
	d.SetMultipathTCP(false)
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return cause(err)
	}
	defer conn.Close()
	if conn.LocalAddr().String() == conn.RemoteAddr().String() {
		return errSelfConnect
	}
	return conn.(*net.TCPConn).SetLinger(0)
}
