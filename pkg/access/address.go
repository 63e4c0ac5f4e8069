package access

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// address is 128 bits. An IPv4 address is the upper 32, so that a prefix has as many
// leading bits here as where it was written.
type address struct{ hi, lo uint64 }

// toAddress is not for mapped ones.
func toAddress(a netip.Addr) address {
	if a.Is4() {
		b := a.As4()
		return address{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	b := a.As16()
	return address{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a address) netip(v6 bool) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	if v6 {
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(b[:4]))
}

func (a address) compare(b address) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}

// masked keeps the first n bits.
func (a address) masked(n int) address {
	return address{a.hi &^ (^uint64(0) >> n), a.lo &^ (^uint64(0) >> max(n-64, 0))}
}

// common is the number of leading bits that are those of b.
func (a address) common(b address) int {
	if a.hi != b.hi {
		return bits.LeadingZeros64(a.hi ^ b.hi)
	}
	return 64 + bits.LeadingZeros64(a.lo^b.lo)
}

// plus is 2^(128-n) further: behind the prefix of n bits that begins at a. It is zero
// if nothing is.
func (a address) plus(n int) address {
	if n <= 64 {
		return address{a.hi + 1<<(64-n), a.lo}
	}
	lo, carry := bits.Add64(a.lo, 1<<(128-n), 0)
	return address{a.hi + carry, lo}
}
