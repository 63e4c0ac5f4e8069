package metrics

import "encoding/binary"

const (
	// farthest is how far back a reference can be (RFC 1951, 3.2.5).
	farthest = 32 << 10
	// latestBits is for how many hashes a matcher has room: a fragment has a few hundred
	// different ones of those that it notes.
	latestBits = 11
)

// matcher compresses messages into the bits of a DEFLATE block of fixed codes, as
// lineDeflater does it with lines. Messages have no signs that part words, and one that is
// longer than the one before says so at its beginning. So it looks at two places:
//
//	as far back as the last reference was: there the message of the row before goes on as
//	this one does, while their names are as long; and
//	where the next bytes were met last, after something that was different.
//
// Both are in the text that it is given: what becomes of that follows from it alone, and
// the bits can be kept. The zero value works.
type matcher struct {
	latest [1 << latestBits]uint32 // 1 and where some leastMatch bytes are, by their hash; 0 = nowhere
}

// compress writes text from a place on to d. What is before it may be referred to.
func (m *matcher) compress(d *lineDeflater, text []byte, from int) {
	clear(m.latest[:])
	m.note(text, 0, from)
	distance := from
	for i := from; i < len(text); {
		n := 0
		if i+leastMatch <= len(text) {
			distance, n = m.match(text, i, distance)
		}
		if n == 0 {
			d.literals(text[i : i+1])
			n = 1
		} else {
			d.refer(n, distance)
		}
		m.note(text, i, i+min(n, leastMatch)) // the rest was, where it was met before
		i += n
	}
}

// match is how far back bytes lie that are the same as those at i, and how many are: 0
// where it found none. last is how far back the last ones were.
func (m *matcher) match(text []byte, i, last int) (distance, n int) {
	next := first4(text, i)
	if last > 0 && last <= min(i, farthest) && first4(text, i-last) == next {
		return last, sameHead(text[i-last:], text[i:])
	}
	at := int(m.latest[hash4(next)]) - 1
	if at < 0 || i-at > farthest || first4(text, at) != next {
		return last, 0
	}
	return i - at, sameHead(text[at:], text[i:])
}

// note remembers what is where, from a place up to another.
func (m *matcher) note(text []byte, from, to int) {
	for i := from; i < min(to, len(text)-leastMatch+1); i++ {
		m.latest[hash4(first4(text, i))] = uint32(i + 1)
	}
}

// first4 are the leastMatch bytes at i.
func first4(text []byte, i int) uint32 { return binary.LittleEndian.Uint32(text[i:]) }

// hash4 multiplies by 2^32 divided by the golden ratio: the upper bits depend on all.
func hash4(b uint32) uint32 { return b * 2654435761 >> (32 - latestBits) }
