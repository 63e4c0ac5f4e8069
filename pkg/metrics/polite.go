package metrics

import (
	"io"
	"time"
)

// A scrape of thousands of backends takes tens of milliseconds of a processor that the
// sessions want, too. A moment more or less matters to nobody who scrapes, but to them:
// so it works for a stint, then rests for longer than that, and no session waits for
// more than a stint. Stints are counted in bytes, not in time: where the processor is
// wanted by many, time passes without work.
//
// A thread of low priority would not do: one that the system does not let run while it
// holds a lock of the runtime, or while the garbage collector waits for it, holds up
// everybody.
const (
	// stint is how many bytes are made until the next rest: about a third of a
	// millisecond's work.
	stint = 384 << 10
	// restAfter is how long the rest after a stint is. The runtime rounds it up to a whole
	// number of milliseconds where nobody else runs.
	restAfter = 500 * time.Microsecond
	// longestRest bounds that after a piece of many stints.
	longestRest = 20 * restAfter
	// lookWork is what it is worth to look at the values of a row.
	lookWork = 600
	// madeAtOnce is how many times as much text as in other stints is made where it is kept
	// afterwards: the first scrape, which makes all of it, is one of thousands.
	madeAtOnce = 2
	// poolWork is what the snapshot of a pool with few backends is worth in bytes, at
	// most.
	poolWork = 64 << 10
)

// polite passes on what is written, and rests after each stint.
type polite struct {
	w     io.Writer
	sleep func(time.Duration)
	done  int // bytes since the last rest
}

func (p *polite) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.work(len(b))
	return n, err
}

// pool is called after the snapshot of one.
func (p *polite) pool() { p.work(poolWork) }

// work counts bytes, and rests if they are enough.
func (p *polite) work(n int) {
	if p.done += n; p.done >= stint {
		p.sleep(min(restAfter*time.Duration(p.done/stint), longestRest))
		p.done = 0
	}
}
