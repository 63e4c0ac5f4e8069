package balancer

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"net/netip"
)

// ipHash sends a client's address, whatever its port, always to the same backend: its home. Homes follow
// from the configured names and weights and the hash key alone, so that every balancer with the same
// configuration agrees on them, in whatever order the backends stand and however they fare.
//
//	home        ring.slots[SipHash(key, address) mod size]
//	else probe  ring.slots[SipHash(key, address, i) mod size] for i = 1..32, the first that is usable
//	else        the usable row with the highest score of SipHash(key, address, name)
//
// So the clients of a backend that is down spread over all others, nobody else moves, and they return when
// it does. A client without an address has no home: the chain's next algorithm picks, else round-robin.
type ipHash struct{}

const probes = 32

// hashKeys are the keys of ip-hash: one for what hashes a client, one for what hashes a backend's name.
type hashKeys struct{ client, name sipKey }

// newHashKeys derives both from the SHA-256 of secret: bytes 0..15 and 16..31. The empty secret is as good
// as any other, except that everybody knows it.
func newHashKeys(secret string) hashKeys {
	h := sha256.Sum256([]byte(secret))
	return hashKeys{client: newSipKey(h[:16]), name: newSipKey(h[16:])}
}

func (ipHash) prepare(t *tier) {
	roundRobin{}.prepare(t)
	t.ring = t.groups[tierGroups[t.number]].table()
}

func (ipHash) propose(t *tier, q request) *row {
	if !q.client.IsValid() {
		return nil
	}
	return t.homeOf(t.hashOf(q.client))
}

// hashOf is the hash of an address that leads to its home.
func (t *tier) hashOf(client netip.Addr) uint64 {
	a := hashedAddr(client)
	return t.ring.keys.client.sum(a[:16])
}

func (h ipHash) choose(t *tier, q request) *Backend {
	if !q.client.IsValid() {
		return roundRobin{}.choose(t, q)
	}
	if r := h.propose(t, q); r != nil && q.take(r) {
		return r.backend
	}
	a := hashedAddr(q.client)
	for i := range uint64(probes) {
		if r := t.homeOf(a.with(t.ring.keys.client, i+1)); r != nil && q.take(r) {
			return r.backend
		}
	}
	return t.rendezvous(q)
}

// homeOf is the row of the slot to which hash leads, nil if that backend is not in this tier.
func (t *tier) homeOf(hash uint64) *row {
	i := t.slotOf(hash)
	if int(t.places[i]) != t.number {
		return nil
	}
	return &t.rows[i]
}

// slotOf is the position in rows to which the slot of hash belongs, in whatever tier that row stands.
func (t *tier) slotOf(hash uint64) int32 {
	return t.homes[tierGroups[t.number]][t.ring.seatOf(hash)]
}

// rendezvous takes the usable row with the highest score for this client (Thaler and Ravishankar 1998, with
// the weights of Schindelhauer and Schomaker 2005).
func (t *tier) rendezvous(q request) *Backend {
	a := hashedAddr(q.client)
	for {
		var best *row
		highest := math.Inf(-1)
		for i := range t.size() {
			r := t.row(i)
			if !q.usable(r) {
				continue
			}
			if s := t.ring.score(a, r.seat); s > highest {
				best, highest = r, s
			}
		}
		if best == nil {
			return nil
		}
		if q.take(best) {
			return best.backend
		}
	}
}

// score is weight / -ln(u), with u the client's and the backend's common hash as a fraction between 0 and 1.
func (r *ring) score(a addrHash, seat int32) float64 {
	u := (float64(a.with(r.keys.client, r.names[seat])>>11) + 0.5) / (1 << 53)
	return float64(r.seats[seat].weight) / -math.Log(u)
}

// addrHash is what is hashed for a client: its address in 16 bytes, an IPv4 one in its mapped form and an
// IPv6 one without its zone, and room for a number.
type addrHash [24]byte

func hashedAddr(client netip.Addr) (a addrHash) {
	ip := client.As16()
	copy(a[:], ip[:])
	return a
}

// with hashes the address followed by n, little endian.
func (a addrHash) with(k sipKey, n uint64) uint64 {
	binary.LittleEndian.PutUint64(a[16:], n)
	return k.sum(a[:])
}
