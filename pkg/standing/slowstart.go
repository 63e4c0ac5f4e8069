package standing

import "time"

// ramp raises a backend's share in equal steps of one percent after it came back. The zero value is all of it.
//
//	back ──> 1 % ─────────> 100 %     after Options.SlowStart
type ramp struct {
	start time.Time
	over  time.Duration
}

// percent is the share at now, 1..100.
func (r *ramp) percent(now time.Time) int {
	if r.over <= 0 {
		return 100
	}
	gone := max(now.Sub(r.start), 0)
	if gone >= r.over {
		return 100
	}
	return max(1, int(100*float64(gone)/float64(r.over)))
}

// leastStep bounds how often a ramp makes a new table.
const leastStep = 100 * time.Millisecond

// next is when percent is greater than at now; zero when it is 100.
func (r *ramp) next(now time.Time) time.Time {
	if r.percent(now) == 100 {
		return time.Time{}
	}
	return now.Add(max(r.over/100, min(leastStep, r.over)))
}

// shareOf is part percent of percent percent, at least 1.
func shareOf(percent, part int) int { return max(1, percent*part/100) }
