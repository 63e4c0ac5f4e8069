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
			return nil, s.allAbove(l, soonest)
		}
		b = next
	}
}

// allAbove is a pick's answer where every backend that it could have had is above its
// rate.
func (s *session) allAbove(l *BackendLimit, soonest time.Duration) error {
	why := LimitBackendRate
	place := &s.conf.Pool.held
	if l.Delay && !s.held() {
		if l.Hold.room(place) {
			s.holdAt(place, l.Hold, why)
		} else {
			why = LimitDelay
		}
	}
	if s.held() && l.Delay {
		return s.hold(obstacle{wait: soonest}, l.Rate.Interval())
	}
	s.listener.refuse(why, s.client.Addr())
	return why
}
