package metrics

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// gzipLines is a gzip writer (RFC 1952) for lines of which each resembles the one
// before: one DEFLATE block of fixed codes, made of lines that it compresses itself and
// of fragments that were compressed before. That takes a tenth of the time of the general
// compressor at its fastest level, which was most of a scrape, and leaves the body of one
// about a quarter larger, which is a twentieth of the text.
//
// Any bytes may be written; other ones get larger by a sixteenth.
type gzipLines struct {
	w      io.Writer
	bits   lineDeflater
	last   []byte // what the next line may refer to; empty after a fragment
	sum    uint32
	length uint32
	err    error
}

// gzipHead has no name, no time, and says that the fastest algorithm was used.
var gzipHead = [...]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255}

// reset begins a new stream.
func (z *gzipLines) reset(w io.Writer) {
	*z = gzipLines{w: w, bits: lineDeflater{out: append(z.bits.out[:0], gzipHead[:]...)}, last: z.last[:0]}
	z.bits.put(1, 1) // the last block, and the only one
	z.bits.put(1, 2) // of fixed codes
}

func (z *gzipLines) Write(p []byte) (int, error) {
	z.sum = crc32.Update(z.sum, crc32.IEEETable, p)
	z.length += uint32(len(p))
	z.last = append(z.last[:0], z.bits.records(z.last, p, 1)...)
	z.flushFull()
	return len(p), z.err
}

// add writes the text of a fragment.
func (z *gzipLines) add(f *fragment) {
	z.sum = f.after(z.sum)
	z.length += f.length
	z.bits.add(f.words, f.bits)
	z.last = z.last[:0]
	z.flushFull()
}

// Close ends the stream.
func (z *gzipLines) Close() error {
	z.bits.put(0, 7) // end of block
	z.bits.align(1)
	z.bits.out = binary.LittleEndian.AppendUint32(z.bits.out, z.sum)
	z.bits.out = binary.LittleEndian.AppendUint32(z.bits.out, z.length)
	z.flush()
	return z.err
}

// flushFull passes on what has come together if it is worth a write.
func (z *gzipLines) flushFull() {
	if len(z.bits.out) >= flushAt {
		z.flush()
	}
}

func (z *gzipLines) flush() {
	if z.err == nil {
		_, z.err = z.w.Write(z.bits.out)
	}
	z.bits.out = z.bits.out[:0]
}
