package splice

import (
	"sync/atomic"
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
)

const (
	defaultPipeSize     = 1 << 20
	defaultPipesPerLoop = 64

	// minPipeSize is the smallest pipe that is worth the two calls. A user beyond
	// /proc/sys/fs/pipe-user-pages-soft silently gets pipes of one or two pages
	// (pipe(7)): with those, splicing is slower than copying.
	minPipeSize = 64 << 10

	// A pipe is asked to take this many times its size. It has a slot for each page of
	// that, but a slot takes a piece of a packet of up to 32 KiB; what does not fit stays
	// in the socket.
	pipeOverfill = 2

	// After a pipe could not be had, copy for this long before asking again.
	pipeRetry = time.Second
	// What the pool did not use for this long is closed.
	pipeTrim = 5 * time.Second
)

// pipe is a kernel buffer, nominally of size bytes. The owner counts what is in it.
type pipe struct {
	r, w int32
	size int
}

// pipeBudget bounds the pipes of a whole engine.
type pipeBudget struct {
	max  int64
	used atomic.Int64
}

// pipePool keeps the empty pipes of one loop. A pipe belongs to a flow only while
// it holds bytes. One that may hold bytes is destroyed, never pooled: what is left
// in it would reach another connection.
type pipePool struct {
	budget *pipeBudget
	size   int
	free   []*pipe
	low    int   // fewest free pipes since the last trim
	trimAt int64 // on the loop's clock
	retry  int64 // no attempt to make a pipe before this

	inUse, pooled atomic.Int64 // gauges for Stats
}

// take answers an empty pipe, or nil: then the caller copies.
func (pp *pipePool) take(now int64) *pipe {
	if n := len(pp.free); n > 0 {
		p := pp.free[n-1]
		pp.free = pp.free[:n-1]
		pp.low = min(pp.low, n-1)
		pp.inUse.Add(1)
		pp.pooled.Add(-1)
		return p
	}
	if now < pp.retry {
		return nil
	}
	p := pp.create()
	if p == nil {
		pp.retry = now + int64(pipeRetry)
		return nil
	}
	pp.inUse.Add(1)
	return p
}

// put takes an empty pipe back.
func (pp *pipePool) put(p *pipe) {
	pp.free = append(pp.free, p)
	pp.inUse.Add(-1)
	pp.pooled.Add(1)
}

// destroy closes a pipe that is in use and may hold bytes.
func (pp *pipePool) destroy(p *pipe) {
	pp.inUse.Add(-1)
	pp.closePipe(p)
}

// trim closes, once in a while, the pipes that were not needed since the last time.
func (pp *pipePool) trim(now int64) {
	if now < pp.trimAt {
		return
	}
	pp.trimAt = now + int64(pipeTrim)
	pp.shrink(pp.low)
	pp.low = len(pp.free)
}

func (pp *pipePool) shrink(n int) {
	for range n {
		last := len(pp.free) - 1
		pp.closePipe(pp.free[last])
		pp.free = pp.free[:last]
		pp.pooled.Add(-1)
	}
}

func (pp *pipePool) create() *pipe {
	if pp.budget.used.Add(1) > pp.budget.max {
		pp.budget.used.Add(-1)
		return nil
	}
	r, w, e := sys.Pipe()
	if e != 0 {
		pp.budget.used.Add(-1)
		return nil
	}
	sys.SetPipeSize(w, pp.size)
	p := &pipe{r: r, w: w, size: sys.PipeSize(w)}
	if p.size < min(minPipeSize, pp.size) {
		pp.closePipe(p)
		return nil
	}
	return p
}

func (pp *pipePool) closePipe(p *pipe) {
	sys.Close(p.r)
	sys.Close(p.w)
	pp.budget.used.Add(-1)
}
