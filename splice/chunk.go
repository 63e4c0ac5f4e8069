package splice

// chunk is a small buffer for bytes that were read and could not be written.
type chunk struct {
	buf        []byte
	start, end int
}

func (c *chunk) bytes() []byte { return c.buf[c.start:c.end] }
func (c *chunk) len() int      { return c.end - c.start }
func (c *chunk) skip(n int)    { c.start += n }

// chunkSizes are the capacities that the pool keeps apart, so that a pair that is
// stuck with a few bytes does not hold 64 KiB.
var chunkSizes = [...]int{2 << 10, 16 << 10, 64 << 10}

// chunksKept bounds the free chunks of each size; the garbage collector takes the
// others.
const chunksKept = 64

// chunkPool recycles the chunks of one loop. Not safe for concurrent use.
type chunkPool struct {
	free [len(chunkSizes)][]*chunk
}

// keep copies b, which must be no longer than the largest size.
func (cp *chunkPool) keep(b []byte) *chunk {
	class := 0
	for len(b) > chunkSizes[class] {
		class++
	}
	var c *chunk
	if free := cp.free[class]; len(free) > 0 {
		c = free[len(free)-1]
		cp.free[class] = free[:len(free)-1]
	} else {
		c = &chunk{buf: make([]byte, chunkSizes[class])}
	}
	c.start, c.end = 0, copy(c.buf, b)
	return c
}

// drop takes a chunk back.
func (cp *chunkPool) drop(c *chunk) {
	for class, size := range chunkSizes {
		if len(c.buf) == size && len(cp.free[class]) < chunksKept {
			cp.free[class] = append(cp.free[class], c)
		}
	}
}
