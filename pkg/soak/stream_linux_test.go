package soak

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
)

// greeting is the length of what both ends send before the pattern: the session's
// number.
const greeting = 4

func greetingOf(number uint32) []byte { return binary.BigEndian.AppendUint32(nil, number) }

// stream is what one end sends: its greeting, then the pattern from an offset on.
type stream struct {
	head   []byte
	offset int64
}

// matches reports whether b is what the stream has at a position.
func (s stream) matches(position int64, b []byte) bool {
	if left := greeting - position; left > 0 {
		n := min(left, int64(len(b)))
		if !bytes.Equal(b[:n], s.head[position:position+n]) {
			return false
		}
		position, b = position+n, b[n:]
	}
	return bytes.Equal(b, at(s.offset+position-greeting, int64(len(b))))
}

// period is the length of the pattern: a prime, so that no chunk size divides it and
// a swap, loss or repetition of chunks cannot go unseen.
const period = 1<<20 - 3

var pattern = sync.OnceValue(func() []byte {
	b := make([]byte, 2*period)
	random := rand.NewChaCha8([32]byte{'s', 'o', 'a', 'k'})
	random.Read(b[:period])
	copy(b[period:], b[:period])
	return b
})

// at is a piece, up to a period long, of the endless pattern.
func at(offset, n int64) []byte {
	if n == 0 {
		return nil
	}
	from := offset % period
	return pattern()[from : from+min(n, period)]
}
