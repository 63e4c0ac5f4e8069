package metrics

import (
	"encoding/binary"
	"hash/crc32"
	"hash/maphash"
	"math"
	"math/bits"
)

// fragmentRows is how many rows of a family a fragment has, at most 63 (see appendKey).
// With fewer less has to be made again where one changed; with more each takes less to
// keep and to put together.
const fragmentRows = 32

// fragment is the compressed text of one family for some rows that follow each other. A
// page keeps it for the next scrape, for which most of them are as they were: only what
// they are made from is looked at then, which takes a small part of writing and
// compressing them.
//
//	rows ──> key ──> its digest as it was? ──yes──────────────────┐
//	                        │ no                                  v
//	                        └──> text ──> bits and CRC ──> gzipLines.add
//
// Its first lines may refer to those before them in the stream, which are the row's before,
// and part of the key, too.
type fragment struct {
	made   uint64 // digest of the key that it was made from
	wanted uint64 // the same of this scrape
	words  []byte // its bits, as lineDeflater.add takes them
	bits   uint
	length uint32 // of the text, in bytes; 0 = no row has the family
	sum    uint32 // CRC-32 of the text
	shift  uint32 // crcShift(length), unless that is 0
}

// digestSeed is that of all digests. Two keys have the same digest with a chance of 2^-64,
// whatever they are.
var digestSeed = maphash.MakeSeed()

// after is the CRC of a stream that has sum, with the fragment after it.
func (g *fragment) after(sum uint32) uint32 { return crcAfter(sum, g.sum, g.shift) }

// make makes the fragment that of text, records of so many lines, which follows the record
// before; before may be empty. d is for use meanwhile.
func (g *fragment) make(d *lineDeflater, before, text []byte, lines int) {
	d.restart()
	d.records(before, text, lines)
	g.keep(d, text)
}

// keep makes the fragment that of text, of which d has the bits.
func (g *fragment) keep(d *lineDeflater, text []byte) {
	g.bits = uint(len(d.out))*8 + d.n
	d.align(8)
	if len(d.out) > cap(g.words) {
		g.words = make([]byte, 0, len(d.out))
	}
	g.words, g.sum = append(g.words[:0], d.out...), crc32.ChecksumIEEE(text)
	if n := uint32(len(text)); g.length != n {
		g.length, g.shift = n, crcShift(n)
	}
}

// look finds out which fragments of the families of a kind are as the last scrape left
// them. It goes by rows, since these have far more memory than a processor has at hand.
// work is told what that was worth in bytes.
func (rs *rows[T]) look(fs []family[T], as form, work func(int)) {
	rs.kept = sized(rs.kept, len(fs))
	n := (rs.n + fragmentRows - 1) / fragmentRows
	for i := range fs {
		rs.kept[i] = sized(rs.kept[i], n)
	}
	for i := range n {
		some := rs.all[max(i*fragmentRows-1, 0):min((i+1)*fragmentRows, rs.n)]
		rs.key = appendRows(append(rs.key[:0], byte(as), byte(len(some))), some)
		who := len(rs.key)
		for j := range fs {
			rs.key = fs[j].appendKey(rs.key[:who], some)
			rs.kept[j][i].wanted = maphash.Bytes(digestSeed, rs.key)
		}
		work(len(some) * lookWork)
	}
}

// sized is s with n elements: those that it has, and zero ones.
func sized[T any](s []T, n int) []T {
	if n > cap(s) {
		s = append(s[:cap(s)], make([]T, n-cap(s))...)
	}
	return s[:n]
}

// compressed is text for a stream of gzipLines, after look: it makes only the fragments
// that are not as they were.
func (f *family[T]) compressed(t *textWriter, rs *rows[T], kept []fragment) {
	name, titled := prefix+f.name, false
	for i := range kept {
		g := &kept[i]
		if g.made != g.wanted {
			f.remake(g, t, name, rs.all[:min((i+1)*fragmentRows, rs.n)], i*fragmentRows)
			t.out.work(int(g.length) / madeAtOnce)
		} else {
			t.out.work(len(g.words))
		}
		if g.length == 0 {
			continue
		}
		if !titled {
			t.title(name, f.help, f.kind)
			t.flush()
			titled = true
		}
		t.zip.add(g)
		if t.err = t.zip.err; t.err != nil {
			return
		}
	}
}

// remake writes and compresses the last rows of all, from the one that is first.
func (f *family[T]) remake(g *fragment, t *textWriter, name string, all []row[T], first int) {
	t.flush()
	if first > 0 && f.has(all[first-1].of) {
		f.line(t, name, &all[first-1])
	}
	before, lines := len(t.line), f.lines()
	for i := range all[first:] {
		if r := &all[first+i]; f.has(r.of) {
			f.line(t, name, r)
		}
	}
	g.make(&t.bits, lastRecord(t.line[:before], lines), t.line[before:], lines)
	g.made = g.wanted
	t.line = t.line[:0]
}

// appendRows appends which rows they are.
func appendRows[T any](key []byte, some []row[T]) []byte {
	for i := range some {
		key = binary.LittleEndian.AppendUint64(key, some[i].id)
	}
	return key
}

// appendKey appends which of some rows, at most 64, have the family, and its values of
// these.
func (f *family[T]) appendKey(key []byte, some []row[T]) []byte {
	has := uint64(1)<<len(some) - 1
	if f.when != nil {
		has = 0
		for i := range some {
			if f.when(some[i].of) {
				has |= 1 << i
			}
		}
	}
	key = binary.LittleEndian.AppendUint64(key, has)
	for ; has > 0; has &= has - 1 {
		key = f.appendValues(key, some[bits.TrailingZeros64(has)].of)
	}
	return key
}

// appendValues appends the values of one row.
func (f *family[T]) appendValues(key []byte, row *T) []byte {
	switch {
	case f.single != nil:
		return binary.LittleEndian.AppendUint64(key, math.Float64bits(f.single(row)))
	case f.state != nil:
		return binary.LittleEndian.AppendUint64(key, uint64(f.state(row)))
	case f.counts != nil:
		return appendCounts(key, f.counts(row))
	case f.total != nil:
		n, took := f.total(row)
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(key, n), uint64(took))
	case f.durations != nil:
		d := f.durations(row)
		return binary.LittleEndian.AppendUint64(appendCounts(key, d.Buckets[:]), uint64(d.Sum))
	}
	for i := range f.values {
		key = binary.LittleEndian.AppendUint64(key, math.Float64bits(f.value(row, i)))
	}
	return key
}

func appendCounts(key []byte, all []uint64) []byte {
	for _, n := range all {
		key = binary.LittleEndian.AppendUint64(key, n)
	}
	return key
}
