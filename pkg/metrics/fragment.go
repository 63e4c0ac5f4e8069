package metrics

import (
	"encoding/binary"
	"hash/crc32"
	"hash/maphash"
	"math"
)

// fragmentRows is how many rows of a family a fragment has. Fewer would have to be made
// again less often than those in which something changed; more would take less to look
// at.
const fragmentRows = 32

// fragment is the compressed text of one family for some rows that follow each other. A
// page keeps it for the next scrape, for which most of them are as they were: only what
// they are made from is looked at then, which takes a small part of writing and
// compressing them.
//
//	rows ──> key ──digest──> as it was made from? ──yes──────────────┐
//	                               │ no                              v
//	                               └──> text ──> bits, CRC ──> gzipLines.add
//
// Its first line may refer to the line before it in the stream, that of the row before,
// which is part of the key, too.
type fragment struct {
	made   uint64 // digest of what it was made from
	words  []byte // its bits, as lineDeflater.add takes them
	bits   uint
	length uint32 // of the text, in bytes; 0 = no row has the family
	sum    uint32 // CRC-32 of the text
	shift  uint32 // crcShift(length)
}

// digestSeed is that of all digests. Two keys have the same digest with a chance of 2^-64,
// whatever they are.
var digestSeed = maphash.MakeSeed()

// after is the CRC of a stream that has sum, with the fragment after it.
func (g *fragment) after(sum uint32) uint32 { return crcAfter(sum, g.sum, g.shift) }

// make makes the fragment that of text, which follows the line before; before may be
// empty.
func (g *fragment) make(before, text []byte) {
	d := lineDeflater{out: g.words[:0]}
	d.lines(before, text)
	g.bits = uint(len(d.out))*8 + d.n
	d.align()
	for len(d.out)%8 > 0 {
		d.out = append(d.out, 0)
	}
	g.words, g.sum = d.out, crc32.ChecksumIEEE(text)
	if n := uint32(len(text)); g.length != n || n == 0 {
		g.length, g.shift = n, crcShift(n)
	}
}

// fragments are those of the nth family, as the last scrape left them.
func (rs *rows[T]) fragments(nth int) []fragment {
	for len(rs.kept) <= nth {
		rs.kept = append(rs.kept, nil)
	}
	for n := (rs.n + fragmentRows - 1) / fragmentRows; len(rs.kept[nth]) < n; {
		rs.kept[nth] = append(rs.kept[nth], fragment{})
	}
	return rs.kept[nth][:(rs.n+fragmentRows-1)/fragmentRows]
}

// compressed is text for a stream of gzipLines: it makes only the fragments that are not
// as they were.
func (f *family[T]) compressed(t *textWriter, rs *rows[T], nth int) {
	name, titled := prefix+f.name, false
	for i, kept := 0, rs.fragments(nth); i < len(kept) && t.zip.err == nil; i++ {
		g, first, end := &kept[i], i*fragmentRows, min((i+1)*fragmentRows, rs.n)
		work := (end - first) * keptWork
		if made := f.digest(t, rs.all[max(first-1, 0):end]); made != g.made {
			f.remake(g, t, name, rs, first, end)
			g.made = made
			work += int(g.length)
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
		t.out.work(work + len(g.words))
	}
}

// remake writes and compresses the rows from first to end, that not included.
func (f *family[T]) remake(g *fragment, t *textWriter, name string, rs *rows[T], first, end int) {
	t.flush()
	if first > 0 && f.has(rs.all[first-1].of) {
		f.line(t, name, &rs.all[first-1])
	}
	before := len(t.line)
	for i := first; i < end; i++ {
		if r := &rs.all[i]; f.has(r.of) {
			f.line(t, name, r)
		}
	}
	g.make(lastLine(t.line[:before]), t.line[before:])
	t.line = t.line[:0]
}

// digest is that of all that the lines of some rows are made from: which rows they are,
// whether they have the family, and their values.
func (f *family[T]) digest(t *textWriter, some []row[T]) uint64 {
	key := append(t.key[:0], byte(one(t.open)))
	for i := range some {
		if r := &some[i]; f.has(r.of) {
			key = binary.LittleEndian.AppendUint64(key, r.id)
			key = f.appendValues(key, r.of)
		} else {
			key = binary.LittleEndian.AppendUint64(key, 0) // no row has this id
		}
	}
	t.key = key
	return maphash.Bytes(digestSeed, key)
}

// appendValues appends the values of one row.
func (f *family[T]) appendValues(key []byte, row *T) []byte {
	switch {
	case f.durations != nil:
		d := f.durations(row)
		for _, n := range d.Buckets {
			key = binary.LittleEndian.AppendUint64(key, n)
		}
		return binary.LittleEndian.AppendUint64(key, uint64(d.Sum))
	case f.total != nil:
		n, took := f.total(row)
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(key, n), uint64(took))
	case f.state != nil:
		return binary.LittleEndian.AppendUint64(key, uint64(f.state(row)))
	}
	for i := range max(1, len(f.values)) {
		key = binary.LittleEndian.AppendUint64(key, math.Float64bits(f.value(row, i)))
	}
	return key
}
