package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// ICMP is the Prober that pings; see NewICMP.
type ICMP struct {
	raw4, raw6 rawSocket
}

// NewICMP is a Prober that sends one ICMP echo request and waits for its
// reply, over IPv4 or IPv6 as the address asks. It has one phase, "echo". A
// destination that a router declares unreachable is down at once.
//
// There are two ways, tried in this order at each probe, so that a permission
// that is given or taken while the process runs is noticed:
//
//   - A ping socket (Linux only, icmp(7)) needs no privilege, but
//     net.ipv4.ping_group_range, for IPv6 too, has to include a group of the
//     process. Each probe opens its own: the kernel then keeps ids apart, hands
//     each socket only its own replies, and tells it alone of its errors. A
//     socket shared by all probes would give the error of one to the next
//     one's send.
//   - A raw socket needs CAP_NET_RAW. All probes under way share one for each
//     address family, and the replies are sorted here: the kernel copies every
//     ICMP packet that comes in to every raw socket, so that n sockets would
//     cost n*n copies.
//
// Where neither is permitted the verdict is unknown, ReasonNotPermitted. There
// is nothing to close: sockets and goroutines exist only while probes do.
func NewICMP() *ICMP {
	return &ICMP{raw4: rawSocket{protocol: protocolICMP}, raw6: rawSocket{protocol: protocolICMPv6}}
}

// errPermission tells what would permit a probe.
var errPermission = fmt.Errorf("icmp %w: set the sysctl net.ipv4.ping_group_range"+
	" to include a group of this process, or grant it CAP_NET_RAW", errNotPermitted)

// Probe pings a's host; the port is ignored. The verdict on a unix socket,
// which has no host, is unknown.
func (p *ICMP) Probe(ctx context.Context, a Address) Result {
	start := time.Now()
	err := p.ping(ctx, a)
	if err != nil && !errors.Is(err, errNotPermitted) {
		err = fmt.Errorf("ping %s: %w", host(a), err)
	}
	return newResult(ctx, a, "echo", start, err)
}

// ping tries one way after the other. errNotPermitted from a way means that it
// has sent nothing.
func (p *ICMP) ping(ctx context.Context, a Address) error {
	if !a.AddrPort.IsValid() {
		return fmt.Errorf("no IP address: %w", syscall.EINVAL)
	}
	e := newEcho(a.AddrPort.Addr())
	err := pingUnprivileged(ctx, e)
	if !errors.Is(err, errNotPermitted) {
		return err
	}
	if err = p.raw(e.to).ping(ctx, e); errors.Is(err, errNotPermitted) {
		return errPermission
	}
	return err
}

// raw is the raw socket of to's family.
func (p *ICMP) raw(to netip.Addr) *rawSocket {
	if to.Is4() {
		return &p.raw4
	}
	return &p.raw6
}

// host is a without its port.
func host(a Address) string {
	if a.Path != "" {
		return a.String()
	}
	return a.AddrPort.Addr().String()
}
