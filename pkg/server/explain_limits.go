package server

import (
	"fmt"
	"slices"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/proxy"
)

// refusedByAdmission is an access list or a limit of the listener. One whose action is
// delay holds the client instead.
func refusedByAdmission(q *question) (string, Outcome) {
	name, rule := q.listener.front.Refusal(q.client.Unmap())
	switch {
	case name == "":
		return "", ""
	case q.delays(name):
		return name + ": " + rule, OutcomeHeld
	}
	return name + ": " + rule, OutcomeRefused
}

// delays reports whether a client that meets the limit of that name is held, for which
// there has to be room.
func (q *question) delays(name string) bool {
	a := q.listener.front.Conf().Admission
	if a == nil || q.listener.front.Held() >= a.Hold.Most {
		return false
	}
	switch name {
	case proxy.LimitConnections.String():
		return a.All.DelayConnections
	case proxy.LimitRate.String():
		return a.All.DelayRate
	case proxy.LimitSourceConnections.String():
		return a.Each.DelayConnections
	case proxy.LimitSourceRate.String():
		return a.Each.DelayRate
	}
	return false
}

// excludedByRate is the pool's limit on new connections.
func excludedByRate(c *Candidate) (string, time.Time) {
	if c.rateWait == 0 {
		return "", time.Time{}
	}
	return fmt.Sprintf("rate: the next connection is due in %v", c.rateWait.Round(time.Millisecond)), time.Time{}
}

// rateWait is how long it is until b is below its rate, 0 if it is.
func (p *pool) rateWait(b *balancer.Backend) time.Duration {
	return p.front.RateWait(b.Value().(*proxy.Target))
}

// passedOver reports whether a session gives b back and picks another one.
func (p *pool) passedOver(b *balancer.Backend) bool { return unresolved(b) || p.rateWait(b) > 0 }

// heldByRate reports whether a client without a backend waits for a rate.
func (q *question) heldByRate() bool {
	backends := q.pool.balancer.Backends()
	return q.pool.cfg.Limits.Action == config.ActionDelay && slices.ContainsFunc(backends, func(b balancer.State) bool {
		return b.Usable && q.pool.rateWait(b.Backend) > 0
	})
}
