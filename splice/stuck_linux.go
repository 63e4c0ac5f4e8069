package splice

import (
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
)

// A peer that reads nothing may hold a pipe for as long as it likes. So that a crowd of
// them does not hold all pipes, and everybody else has to copy, no more than half of
// them stay with flows whose sink took nothing for stuckAfter:
//
//   - A stuck flow that has little in its pipe gives it back, and keeps the bytes as
//     copy mode would.
//   - One that has more than that keeps the pipe, unless half of the pipes are kept. Once
//     they are, pipes are filled with no more than copy mode would keep. So what is kept
//     of full ones is no more than the pipes themselves held.
const stuckAfter = time.Second

// unstick looks at the flows of p that are stuck with a pipe.
func (l *loop) unstick(p *pair) {
	for d := range p.flows {
		f := &p.flows[d]
		switch {
		case f.pipe == nil || f.stuck || f.blocked == 0 || l.now-f.blocked < int64(stuckAfter):
		case f.inPipe <= len(l.buf) || l.stuck >= l.r.mostStuck:
			l.drainPipe(f)
		default:
			f.stuck = true
			l.stuck++
		}
	}
}

// drainPipe moves what is in f's pipe to a remainder, and gives the pipe back.
func (l *loop) drainPipe(f *flow) {
	c := &chunk{buf: make([]byte, f.inPipe)}
	for c.end < f.inPipe {
		n, e := sys.ReadPipe(f.pipe.r, c.buf[c.end:])
		if n == 0 {
			panic("splice: a pipe lost bytes: " + e.Error())
		}
		c.end += n
	}
	f.rest, f.inPipe = c, 0
	l.pipes.put(f.pipe)
	f.pipe = nil
}

// unstuck is called when f has no pipe any more.
func (l *loop) unstuck(f *flow) {
	if f.stuck {
		f.stuck = false
		l.stuck--
	}
}

// fill is how much a pipe may be filled with now.
func (l *loop) fill(size int) int {
	if l.stuck >= l.r.mostStuck {
		return min(size, len(l.buf))
	}
	return pipeOverfill * size
}
