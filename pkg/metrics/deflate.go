package metrics

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// lineDeflater compresses lines into the bits of a DEFLATE block of fixed codes (RFC
// 1951, 3.2.6). The lines come in records, which are as many as a row has in a family:
// they differ from those of the row before in a name and perhaps in values. It looks for
// what it could refer to in the record before and nowhere else. So what becomes of
// records follows from them and the one before alone, wherever in a stream they are: the
// bits can be kept and used again.
type lineDeflater struct {
	out []byte
	acc uint64 // bits that are not in out yet, the first one lowest
	n   uint   // how many, less than 32

	held []byte // text that is the same as that at the distance far; see same
	far  int
}

const (
	// leastMatch is how many bytes must be the same for a reference to be worth it.
	leastMatch = 4
	// longestMatch is what one reference can stand for.
	longestMatch = 258
	// longestPiece bounds what counts as a record, so that the one before is not too far
	// away to be referred to.
	longestPiece = 16 << 10
)

// records compresses text, which has records of so many lines each; the first one comes
// after the record before. It answers what the next one comes after.
func (d *lineDeflater) records(before, text []byte, lines int) (last []byte) {
	for len(text) > 0 {
		one := firstRecord(text, lines)
		text = text[len(one):]
		d.record(before, one)
		before = one
	}
	d.release()
	return before
}

// lastRecord is what of text the next record may refer to.
func lastRecord(text []byte, lines int) (last []byte) {
	for len(text) > 0 {
		last = firstRecord(text, lines)
		text = text[len(last):]
	}
	return last
}

// firstRecord is p up to the end of so many lines, that included.
func firstRecord(p []byte, lines int) []byte {
	p = p[:min(len(p), longestPiece)]
	end := 0
	for range lines {
		i := bytes.IndexByte(p[end:], '\n')
		if i < 0 {
			return p
		}
		end += i + 1
	}
	return p[:end]
}

// record writes a record as what it has in common with the one before, from its beginning
// and again after every word in which they differ, and what is its own.
func (d *lineDeflater) record(before, own []byte) {
	distance := len(before) // from the rest of the one to that of the other
	for len(own) > 0 {
		n := sameHead(before, own)
		d.same(own[:n], distance)
		before, own = before[n:], own[n:]
		n = wordEnd(own)
		d.literals(own[:n])
		skipped := wordEnd(before)
		if n+skipped == 0 && len(own) > 0 && len(before) > 0 { // other signs, which have to pass
			d.literals(own[:1])
			n, skipped = 1, 1
		}
		distance += n - skipped
		before, own = before[skipped:], own[n:]
		if len(before) == 0 {
			d.literals(own)
			return
		}
	}
}

// same holds p, which is the text at a distance, too, until it is known how it goes on:
// one reference may do for what follows, beyond the end of a line or of the record.
func (d *lineDeflater) same(p []byte, distance int) {
	if len(p) == 0 {
		return
	}
	if n := len(d.held); n > 0 && d.far == distance {
		d.held = d.held[:n+len(p)] // p is what follows
		return
	}
	d.release()
	d.held, d.far = p, distance
}

// release writes what is held.
func (d *lineDeflater) release() {
	if p := d.held; len(p) >= leastMatch {
		d.held = nil
		d.refer(len(p), d.far)
	} else if len(p) > 0 {
		d.held = nil
		d.literals(p)
	}
}

// wordEnd is where the next sign that parts names and numbers is.
func wordEnd(p []byte) int {
	for i, c := range p {
		if c == '"' || c == ' ' || c == '\n' || c == ',' {
			return i
		}
	}
	return len(p)
}

func (d *lineDeflater) literals(p []byte) {
	if len(p) > 0 {
		d.release()
	}
	for _, c := range p {
		code := literals[c]
		d.put(uint64(code.bits), uint(code.n))
	}
}

// sameHead is with how many bytes both begin.
func sameHead(a, b []byte) (n int) {
	most := min(len(a), len(b))
	for n+8 <= most {
		if differ := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); differ != 0 {
			return n + bits.TrailingZeros64(differ)/8
		}
		n += 8
	}
	for n < most && a[n] == b[n] {
		n++
	}
	return n
}

// refer writes a reference to n bytes at a distance.
func (d *lineDeflater) refer(n, distance int) {
	for n > 0 {
		take := min(n, longestMatch)
		if left := n - take; left > 0 && left < leastMatch {
			take -= leastMatch
		}
		n -= take
		code, far := lengths[take], distanceCode(distance)
		d.put(uint64(code.bits), uint(code.n))
		d.put(uint64(far.bits), uint(far.n))
	}
}

// add appends n bits that were compressed elsewhere. They lie in words of 8 bytes, the
// first bit lowest; those of the last word that are not meant are 0.
func (d *lineDeflater) add(words []byte, n uint) {
	whole := int(n / 64 * 8)
	was := len(d.out)
	d.out = slices.Grow(d.out, whole)[:was+whole]
	d.acc = shift(d.out[was:], words[:whole], d.acc, d.n)
	if n %= 64; n > 0 {
		w := binary.LittleEndian.Uint64(words[whole:])
		d.put(w&math.MaxUint32, min(n, 32))
		d.put(w>>32, n-min(n, 32))
	}
}

// shift copies words to out after the n bits of acc, less than 64. It answers the bits
// that are left over, as many.
func shift(out, words []byte, acc uint64, n uint) uint64 {
	up, down := n&63, (63-n)&63
	for len(words) >= 8 && len(out) >= 8 {
		w := binary.LittleEndian.Uint64(words)
		binary.LittleEndian.PutUint64(out, acc|w<<up)
		acc = w >> 1 >> down // w >> 64 - n, which may be 64
		words, out = words[8:], out[8:]
	}
	return acc
}

// align moves all bits to out, with zeros up to a whole number of words of so many bytes.
func (d *lineDeflater) align(word int) {
	for ; d.n > 0 || len(d.out)%word > 0; d.n -= min(d.n, 8) {
		d.out = append(d.out, byte(d.acc))
		d.acc >>= 8
	}
}

// restart forgets all bits.
func (d *lineDeflater) restart() { d.out, d.acc, d.n = d.out[:0], 0, 0 }

// put appends n bits, at most 32.
func (d *lineDeflater) put(b uint64, n uint) {
	d.acc |= b << d.n
	if d.n += n; d.n >= 32 {
		d.out = binary.LittleEndian.AppendUint32(d.out, uint32(d.acc))
		d.acc >>= 32
		d.n -= 32
	}
}

// code is a Huffman code as it lies in the stream, the first bit lowest, with the extra
// bits that follow it.
type code struct {
	bits uint32
	n    uint8
}

// symbol is the fixed code of a literal, or of a length.
func symbol(s uint32) code {
	reversed := func(v uint32, n uint8) code { return code{bits.Reverse32(v) >> (32 - n), n} }
	switch {
	case s < 144:
		return reversed(0x30+s, 8)
	case s < 256:
		return reversed(0x190+s-144, 9)
	case s < 280:
		return reversed(s-256, 7)
	}
	return reversed(0xc0+s-280, 8)
}

var (
	literals = func() (all [256]code) {
		for i := range all {
			all[i] = symbol(uint32(i))
		}
		return all
	}()
	// lengths are by length, from 3 on.
	lengths = func() (all [longestMatch + 1]code) {
		for n := 3; n < longestMatch; n++ {
			s, extra, few := grouped(uint32(n-3), 4)
			c := symbol(257 + s)
			all[n] = code{c.bits | extra<<c.n, c.n + few}
		}
		all[longestMatch] = symbol(285)
		return all
	}()
)

// distanceCode is that of a distance of 1 and more, up to 32 768.
func distanceCode(distance int) code {
	s, extra, few := grouped(uint32(distance-1), 2)
	return code{bits.Reverse32(s)>>27 | extra<<5, 5 + few}
}

// grouped is how DEFLATE has lengths and distances: the first few, twice as many as
// there are in a group, have a symbol each; then each group of so many symbols takes one
// more extra bit than the one before.
func grouped(v, group uint32) (symbol, extra uint32, few uint8) {
	if v < 2*group {
		return v, 0, 0
	}
	few = uint8(bits.Len32(v/group) - 1)
	return uint32(few)*group + v>>few, v & (1<<few - 1), few
}
