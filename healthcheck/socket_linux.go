package healthcheck

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// interruptWhenDone makes blocked operations on f fail with
// os.ErrDeadlineExceeded when ctx ends. The caller calls stop before it closes
// f; after that nothing touches f.
func interruptWhenDone(ctx context.Context, f *os.File) (stop func()) {
	interrupted := make(chan struct{})
	undo := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		f.SetDeadline(time.Unix(1, 0)) // fails only on a closed file, on which nothing blocks
	})
	return func() {
		if !undo() {
			<-interrupted
		}
	}
}

// sockaddr is a as the kernel takes it, with its address family.
func sockaddr(a netip.AddrPort) (unix.Sockaddr, int, error) {
	ip := a.Addr().Unmap()
	switch {
	case ip.Is4():
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}, unix.AF_INET, nil
	case ip.Is6():
		zone, err := zoneIndex(ip.Zone())
		return &unix.SockaddrInet6{Port: int(a.Port()), ZoneId: zone, Addr: ip.As16()}, unix.AF_INET6, err
	}
	return nil, 0, fmt.Errorf("no address: %w", unix.EINVAL)
}

// zoneIndex is the interface index of an IPv6 zone, which is a number or an
// interface's name.
func zoneIndex(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("zone %s: %w", zone, err)
	}
	return uint32(i.Index), nil
}

// addrPort is the opposite of sockaddr, without the zone.
func addrPort(s unix.Sockaddr) (netip.AddrPort, bool) {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr), uint16(s.Port)), true
	}
	return netip.AddrPort{}, false
}
