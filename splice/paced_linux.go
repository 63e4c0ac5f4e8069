package splice

import "github.com/limeload/limeload/splice/internal/sys"

// pumpPaced is one step of pump for a flow whose bandwidth is bounded. It answers the
// bytes read, and false if the flow has to wait for its turn: the loop then goes on
// with it in takeTurns.
func (l *loop) pumpPaced(p *pair, d side, budget int) (n int, ok bool) {
	if p.paces == nil {
		p.paces = new([2]pace)
	}
	ln, pc := &p.limits.lanes[d], &p.paces[d]
	if pc.waits(ln, l.now) {
		return 0, false
	}
	most := min(budget, len(l.buf))
	if p.flows[d].splicing {
		most = min(budget, l.r.o.PipeSize)
	}
	grant := pc.reserve(ln, l.now, most, func() int { return sys.Readable(p.ends[d].fd) })
	if grant == 0 {
		l.arm(p)
		return 0, false
	}
	n = l.move(p, d, min(grant, len(l.buf)), grant)
	pc.settle(ln, n)
	return n, true
}

// takeTurns goes on with the flows of p whose turn has come. The wait for it was not
// idleness; what came after it was, if the loop comes late. A turn that a flow cannot
// use, since its sink is full, it gives back: if it kept it for later, it would have
// that beyond what its bucket holds by then. One that only has to wait for the next
// round, since this one's budget is used up, keeps it: it would else be last again among
// those who share the bucket, round after round.
func (l *loop) takeTurns(p *pair) {
	if p.paces == nil {
		return
	}
	for d := range p.paces {
		pc := &p.paces[d]
		due := pc.due
		if due != 0 && !pc.waits(&p.limits.lanes[d], l.now) && p.state == stateRelaying {
			p.flows[d].last = max(p.flows[d].last, min(due, l.now))
			l.pump(p, side(d))
			if p.state == stateRelaying && !p.flows[d].queued && !pc.waits(&p.limits.lanes[d], l.now) {
				pc.settle(&p.limits.lanes[d], 0)
			}
		}
	}
}
