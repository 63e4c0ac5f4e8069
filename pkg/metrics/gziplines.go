package metrics

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/bits"
)

// gzipLines is a gzip writer (RFC 1952) for lines of which each resembles the one
// before. It looks nowhere else for what it could refer to, and uses the fixed codes of
// DEFLATE (RFC 1951, 3.2.6): that takes a tenth of the time of the general compressor at
// its fastest level, which was most of a scrape, and leaves the body of one about twice
// as large, which is a tenth of the text.
//
// Any bytes may be written; other ones get larger by a sixteenth.
type gzipLines struct {
	w      io.Writer
	out    []byte
	acc    uint64 // bits that are not in out yet, the first one lowest
	n      uint   // how many
	last   []byte // what was referred to by the last line of the last Write
	sum    uint32
	length uint32
	err    error
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

// gzipHead has no name, no time, and says that the fastest algorithm was used.
var gzipHead = [...]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255}

// reset begins a new stream.
func (z *gzipLines) reset(w io.Writer) {
	*z = gzipLines{w: w, out: append(z.out[:0], gzipHead[:]...), last: z.last[:0]}
	z.put(1, 1) // the last block, and the only one
	z.put(1, 2) // of fixed codes
}

func (z *gzipLines) Write(p []byte) (int, error) {
	z.sum = crc32.Update(z.sum, crc32.IEEETable, p)
	z.length += uint32(len(p))
	before := z.last
	for rest := p; len(rest) > 0; {
		piece := firstLine(rest)
		rest = rest[len(piece):]
		z.line(before, piece)
		before = piece
	}
	z.last = append(z.last[:0], before...)
	z.flush()
	return len(p), z.err
}

// Close ends the stream.
func (z *gzipLines) Close() error {
	z.put(0, 7) // end of block
	for ; z.n > 0; z.n -= min(z.n, 8) {
		z.out = append(z.out, byte(z.acc))
		z.acc >>= 8
	}
	z.out = binary.LittleEndian.AppendUint32(z.out, z.sum)
	z.out = binary.LittleEndian.AppendUint32(z.out, z.length)
	z.flush()
	return z.err
}

func (z *gzipLines) flush() {
	if z.err == nil {
		_, z.err = z.w.Write(z.out)
	}
	z.out = z.out[:0]
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
func (z *gzipLines) line(before, line []byte) {
	distance := len(before) // from the rest of the one to that of the other
	for len(line) > 0 {
		n := sameHead(before, line)
		if n >= leastMatch {
			z.refer(n, distance)
		} else {
			z.literals(line[:n])
		}
		before, line = before[n:], line[n:]
		n = wordEnd(line)
		z.literals(line[:n])
		skipped := wordEnd(before)
		if n+skipped == 0 && len(line) > 0 && len(before) > 0 { // other signs, which have to pass
			z.literals(line[:1])
			n, skipped = 1, 1
		}
		distance += n - skipped
		before, line = before[skipped:], line[n:]
		if len(before) == 0 {
			z.literals(line)
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

func (z *gzipLines) literals(p []byte) {
	for _, c := range p {
		code := literals[c]
		z.put(uint64(code.bits), uint(code.n))
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
func (z *gzipLines) refer(n, distance int) {
	for n > 0 {
		take := min(n, longestMatch)
		if left := n - take; left > 0 && left < leastMatch {
			take -= leastMatch
		}
		n -= take
		code, far := lengths[take], distanceCode(distance)
		z.put(uint64(code.bits), uint(code.n))
		z.put(uint64(far.bits), uint(far.n))
	}
}

// put appends n bits, at most 32.
func (z *gzipLines) put(b uint64, n uint) {
	z.acc |= b << z.n
	if z.n += n; z.n >= 32 {
		z.out = binary.LittleEndian.AppendUint32(z.out, uint32(z.acc))
		z.acc >>= 32
		z.n -= 32
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
