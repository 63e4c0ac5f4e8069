package splice

import (
	"net"
	"time"
)

// A peer that we cannot write to is dead when it acknowledged nothing for silentAfter
// and left silentProbes probes or retransmissions unanswered. A live peer that merely
// does not read answers probes, whose interval the kernel stretches to two minutes: so
// the time alone proves nothing.
const (
	silentAfter  = 60 * time.Second // unless Options say otherwise
	silentProbes = 2
)

// config is k in the words of the net package.
func (k Keepalive) config() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: k.idle(), Interval: k.interval(), Count: k.count()}
}

// setConnKeepalive gives an accepted client its keepalive; a unix socket has none.
func setConnKeepalive(conn net.Conn, k Keepalive) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetKeepAliveConfig(k.config())
		setConnUserTimeout(conn, k.UserTimeout)
	}
}

func (o *Options) silentAfter() time.Duration {
	if o.SilentAfter <= 0 {
		return silentAfter
	}
	return o.SilentAfter
}
