//go:build !simkernel

package sys

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
)

var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// zone names the interface of a link-local address, by its number if it has no
// name any more; scope is the way back. Both are off the fast path: only
// addresses that carry a zone come here.
func zone(id uint32) string {
	if i, err := net.InterfaceByIndex(int(id)); err == nil {
		return i.Name
	}
	return strconv.Itoa(int(id))
}

func scope(a netip.Addr) uint32 {
	if a.Zone() == "" {
		return 0
	}
	if i, err := net.InterfaceByName(a.Zone()); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(a.Zone(), 10, 32)
	return uint32(n)
}
