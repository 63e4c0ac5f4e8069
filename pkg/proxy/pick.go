package proxy

import (
	"math"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/splice"
)

// BackendLimit bounds how fast new connections are made to each backend of a pool. A
// backend that is above it is passed over, as if this session had failed on it, so
// that the algorithm chooses among the others. While all are, the client is held, or
// reset.
type BackendLimit struct {
	Rate   limit.Rate // zero: no limit
	Delay  bool       // hold the client; else it is reset
	Hold   Hold
	DryRun bool // only count
}

// RateWait is how long it is until a backend is below its rate, 0 if it is.
func (p *Pool) RateWait(t *Target) time.Duration {
	l := &p.dialing.Load().Limit
	if l.Rate.IsZero() || l.DryRun {
		return 0
	}
	return t.rate.Wait(l.Rate, limit.Now())
}

// Paced reports whether backends have a rate.
func (p *Pool) Paced() bool { return !p.dialing.Load().Limit.Rate.IsZero() }

// Held is how many clients wait for a backend that is below its rate.
func (p *Pool) Held() int { return p.queue.Len() }

// limited reports whether err is a limit's answer, and not that of an attempt.
func limited(err error) bool {
	switch err.(type) {
	case splice.Wait, Refusal:
		return true
	}
	return false
}

// pick acquires a backend for the session's next attempt. The error is the
// balancer's, or a limit's.
func (s *session) pick(d *Dialing) (*balancer.Backend, error) {
	b, err := s.conf.Pool.Balancer.Acquire(s.client.Addr(), s.tried())
	if err != nil || d.Limit.Rate.IsZero() {
		s.letGo()
		return b, err
	}
	return s.pickBelow(&d.Limit, b)
}

// pickBelow goes on from an acquired backend to one that is below its rate.
func (s *session) pickBelow(l *BackendLimit, b *balancer.Backend) (*balancer.Backend, error) {
	now, soonest := limit.Now(), time.Duration(math.MaxInt64)
	o := s.conf.Pool.obstacle(l, s.before())
	if l.Delay && !l.DryRun && early(o.ahead, o.interval) {
		b.Release()
		return nil, s.allAbove(l, o)
	}
	var passed *balancer.Tried // those that are above, and those that failed
	for {
		rate := &b.Value().(*Target).rate
		below := rate.Take(l.Rate, now)
		if !below && l.DryRun {
			s.listener.wouldRefuse(LimitBackendRate, s.client.Addr())
		}
		if below || l.DryRun {
			s.letGo()
			return b, nil
		}
		b.EndTrial(b.ClaimTrial()) // if it was to be one, the next session is
		b.Release()
		if passed == nil {
			passed = &balancer.Tried{}
			if t := s.tried(); t != nil {
				*passed = *t
			}
		}
		passed.Add(b)
		soonest = min(soonest, rate.Wait(l.Rate, now))
		next, err := s.conf.Pool.Balancer.Acquire(s.client.Addr(), passed)
		if err != nil {
			o.wait = soonest
			return nil, s.allAbove(l, o)
		}
		b = next
	}
}

// obstacle is what is in the way of a client of which it is known where it is held.
// One comes in for each backend in the time of the rate.
func (p *Pool) obstacle(l *BackendLimit, held spot) obstacle {
	at := line{limit: LimitBackendRate}
	o := block(at, 0, l.Delay)
	o.interval = l.Rate.Interval() / time.Duration(max(p.Balancer.Usable(), 1))
	if l.Delay {
		o.ahead = p.queue.ahead(at, held)
	}
	return o
}

// before is where the session is held before its pool's backends.
func (s *session) before() spot {
	if s.held() {
		return s.trouble.spot
	}
	return spot{}
}

// allAbove is a pick's answer where every backend that it could have had is above its
// rate, or others are held who came before.
func (s *session) allAbove(l *BackendLimit, o obstacle) error {
	why := LimitBackendRate
	if l.Delay && !s.held() {
		if at, ok := s.conf.Pool.queue.join(o.line, l.Hold.Most); ok {
			s.holdAt(&s.conf.Pool.queue, at, l.Hold)
		} else {
			why = LimitDelay
		}
	}
	if s.held() && l.Delay {
		return s.hold(&o)
	}
	s.listener.refuse(why, s.client.Addr())
	return why
}
