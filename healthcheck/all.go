package healthcheck

import (
	"context"
	"fmt"
	"time"
)

// All is the Prober of which all parts must pass. They are asked one after the other,
// so that a server has one connection at a time, within the same deadline.
//
// The first that is down ends it. Otherwise one that is unknown makes the whole unknown,
// and else one that is degraded makes it degraded. Reason and error are those of the part
// that decided, with its name; phases are those of all, and each one's name begins with
// its part's, but for the first part's. Facts are put together: what the first one told,
// and the later ones where that told nothing; the smallest Share, the strongest Wish,
// the smallest MaxConnections and the earliest NotAfter.
type All []Part

// Part is a Prober among others.
type Part struct {
	Name string // for people, such as "postgres"
	Prober
}

// Probe asks a.
func (all All) Probe(ctx context.Context, a Address) Result {
	start := time.Now()
	whole := Result{Address: a, Verdict: Up}
	for i, part := range all {
		r := part.Probe(ctx, a)
		if i == 0 {
			whole.Address = r.Address
		}
		for _, phase := range r.Phases {
			if i > 0 {
				phase.Name = part.Name + "." + phase.Name
			}
			whole.Phases = append(whole.Phases, phase)
		}
		whole.Facts.add(&r.Facts)
		if whole.Warning == "" {
			whole.Warning = r.Warning
		}
		if worse(r.Verdict, whole.Verdict) {
			whole.Verdict, whole.Reason = r.Verdict, r.Reason
			whole.Err = &partError{part.Name, r.Text(), r.Err}
		}
		if r.Verdict == Down {
			break
		}
	}
	whole.Took = time.Since(start)
	return whole
}

// worse says whether verdict v of one part prevails over verdict w of another: down over
// unknown over degraded over up.
func worse(v, w Verdict) bool {
	rank := [NumVerdicts]int{Down: 3, Unknown: 2, Degraded: 1, Up: 0}
	return rank[v] > rank[w]
}

// partError is the error of a part. Its text says which one it is.
type partError struct {
	part, text string
	err        error
}

func (e *partError) Error() string { return fmt.Sprintf("%s: %s", e.part, e.text) }
func (e *partError) Unwrap() error { return e.err }

// add puts what another probe told of the same server to f.
func (f *Facts) add(more *Facts) {
	if f.Role == RoleUnknown {
		f.Role = more.Role
	}
	if f.Timeline == 0 {
		f.Timeline = more.Timeline
	}
	if !f.HasLag {
		f.Lag, f.HasLag = more.Lag, more.HasLag
	}
	if f.Version == "" {
		f.Version = more.Version
	}
	if f.NotAfter.IsZero() || !more.NotAfter.IsZero() && more.NotAfter.Before(f.NotAfter) {
		f.NotAfter = more.NotAfter
	}
	f.Share = leastSet(f.Share, more.Share)
	f.Wish = max(f.Wish, more.Wish)
	f.MaxConnections = leastSet(f.MaxConnections, more.MaxConnections)
}

// leastSet is the smaller of two numbers of which 0 is none.
func leastSet(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
