package metrics

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// lineDeflater compresses lines into the bits of a DEFLATE block of fixed codes (RFC
// 1951, 3.2.6). It looks for what it could refer to in the line before and nowhere else.
// So what becomes of a line follows from this line and the one before alone, wherever
// in a stream they are: the bits can be kept and used again.
type lineDeflater struct {
	out []byte
	acc uint64 // bits that are not in out yet, the first one lowest
	n   uint   // how many, less than 32
}

const (
	// leastMatch is how many bytes must be the same for a reference to be worth it.
	leastMatch = 4
	// longestMatch is what one reference can stand for.
	longestMatch = 258
	// longestPiece bounds what counts as a line, so that the one before is not too far
	// away to be referred to.
	longestPiece = 16 << 10
)

// lines compresses text, the first line of which comes after the line before. It answers
// what the next line comes after.
func (d *lineDeflater) lines(before, text []byte) (last []byte) {
	for len(text) > 0 {
		line := firstLine(text)
		text = text[len(line):]
		d.line(before, line)
		before = line
	}
	return before
}

// lastLine is what of text the next line may refer to.
func lastLine(text []byte) (last []byte) {
	for len(text) > 0 {
		last = firstLine(text)
		text = text[len(last):]
	}
	return last
}

// firstLine is p up to the end of the first line, that included.
func firstLine(p []byte) []byte {
	p = p[:min(len(p), longestPiece)]
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		return p[:i+1]
	}
	return p
}

// line writes a line as what it has in common with the one before, from its beginning
// and again after every word in which they differ, and what is its own.
func (d *lineDeflater) line(before, line []byte) {
	distance := len(before) // from the rest of the one to that of the other
	for len(line) > 0 {
		n := sameHead(before, line)
		if n >= leastMatch {
			d.refer(n, distance)
		} else {
			d.literals(line[:n])
		}
		before, line = before[n:], line[n:]
		n = wordEnd(line)
		d.literals(line[:n])
		skipped := wordEnd(before)
		if n+skipped == 0 && len(line) > 0 && len(before) > 0 { // other signs, which have to pass
			d.literals(line[:1])
			n, skipped = 1, 1
		}
		distance += n - skipped
		before, line = before[skipped:], line[n:]
		if len(before) == 0 {
			d.literals(line)
			return
		}
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
