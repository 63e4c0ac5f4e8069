package loadgen

import (
	"bytes"
	"testing"
)

// TestPatternMatchesOnlyInPlace: a chunk that was moved by anything but whole periods
// does not match.
func TestPatternMatchesOnlyInPlace(t *testing.T) {
	table := pattern()
	chunk := stretch(table, 7, 1<<40, 512)
	for _, moved := range []uint64{1, 2, 512, 1448, 4096, 16384, 32768, 65535, 65536, 1 << 20, period - 1, period + 1} {
		if matches(table, 7, 1<<40+moved, chunk) {
			t.Errorf("a chunk moved by %d matches", moved)
		}
	}
	if !matches(table, 7, 1<<40+period, chunk) || !matches(table, 7+1, 1<<40-1, chunk) {
		t.Error("a chunk moved by a period, or by the phase, does not match")
	}
}

func TestPatternRepeats(t *testing.T) {
	table := pattern()
	if len(table) != period+chunkSize {
		t.Fatalf("got %d bytes; want %d", len(table), period+chunkSize)
	}
	if !bytes.Equal(table[:chunkSize], table[period:]) {
		t.Error("the table does not repeat after a period")
	}
}

func TestPhases(t *testing.T) {
	seen := map[uint32]int{}
	for n := range 60_000 {
		p := phaseFor(n, false)
		if p >= period {
			t.Fatalf("connection %d: got phase %d; want less than %d", n, p, period)
		}
		if other, ok := seen[p]; ok {
			t.Fatalf("connections %d and %d have the same phase", other, n)
		}
		seen[p] = n
	}
}

func TestHeader(t *testing.T) {
	for _, phase := range []uint32{0, 1, 255, 256, 65520} {
		h := header(Source, phase)
		if got := phaseOf(h); got != phase || h[0] != 'D' {
			t.Errorf("got phase %d of %v; want %d", got, h, phase)
		}
	}
	if got := phaseOf([headerSize]byte{'D', 0xff, 0xff, 0xff}); got >= period {
		t.Errorf("a header that nobody sends: got phase %d; want less than %d", got, period)
	}
}
