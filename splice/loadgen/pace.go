package loadgen

// forever is a time that does not come, on any loop's clock.
const forever = int64(1) << 62

// pace is the schedule of an open loop, or one thread's share of it: operation i is
// due at start + i x interval. It knows no clock; times are nanoseconds on the
// caller's. The zero interval is a closed loop, in which nothing is ever due.
type pace struct {
	start    int64
	interval float64
	taken    uint64
}

// next is when the next operation is due.
func (p *pace) next() int64 {
	if p.interval == 0 {
		return forever
	}
	return p.start + int64(float64(p.taken)*p.interval)
}

// take answers when the next operation was due, and goes on to the one after it.
func (p *pace) take() int64 {
	t := p.next()
	p.taken++
	return t
}
