package loadgen

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
)

const (
	// period is the length of the pattern that every stream repeats. It is prime: a
	// stream that lost or repeated a page, a segment or a power of two does not match.
	period = 65521
	// chunkSize is the largest slice of a stream that one call sends, receives or
	// compares.
	chunkSize = 256 << 10
)

// pattern is the table from which every byte of every stream comes: byte o of a
// stream with phase p is pattern()[(p+o) % period]. It is chunkSize longer than the
// period, so that a chunk from any place is one slice.
var pattern = sync.OnceValue(func() []byte {
	table := make([]byte, period+chunkSize)
	chacha := rand.NewChaCha8([32]byte([]byte("the same bytes for every process")))
	chacha.Read(table[:period])
	for n := period; n < len(table); n *= 2 {
		copy(table[n:], table[:n])
	}
	return table
})

// stretch is n bytes, at most chunkSize, of the stream with that phase.
func stretch(table []byte, phase uint32, offset uint64, n int) []byte {
	at := (uint64(phase) + offset) % period
	return table[at:][:n]
}

// matches tells whether b is what the stream holds at offset.
func matches(table []byte, phase uint32, offset uint64, b []byte) bool {
	return bytes.Equal(b, stretch(table, phase, offset, len(b)))
}

// phaseFor spreads the phases of all connections over the pattern.
func phaseFor(n int, plain bool) uint32 {
	if plain {
		return 0
	}
	return uint32(uint64(n) * 40503 % period)
}

// headerSize is the length of what a client sends first to upload or download.
const headerSize = 4

func header(r Role, phase uint32) [headerSize]byte {
	return [headerSize]byte{byte(r), byte(phase), byte(phase >> 8), byte(phase >> 16)}
}

func phaseOf(h [headerSize]byte) uint32 {
	return (uint32(h[1]) | uint32(h[2])<<8 | uint32(h[3])<<16) % period
}

// receiptSize is the length of the server's answer to the end of an upload.
const receiptSize = 16

func receipt(taken, wrong uint64) (r [receiptSize]byte) {
	binary.LittleEndian.PutUint64(r[:], taken)
	binary.LittleEndian.PutUint64(r[8:], wrong)
	return r
}

func readReceipt(r [receiptSize]byte) (taken, wrong uint64) {
	return binary.LittleEndian.Uint64(r[:]), binary.LittleEndian.Uint64(r[8:])
}
