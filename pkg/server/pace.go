package server

import (
	"slices"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/pkg/standing"
)

// paceEvery is how often connect times are compared.
const paceEvery = time.Second

// pace is how long a backend's connects take: their mean in the last paceEvery in
// which there were some. It is taken from counts that sessions keep anyway, so that
// it costs them nothing.
type pace struct {
	sessions uint64
	took     time.Duration
	mean     time.Duration // 0 before the first
	at       time.Time
}

// measure takes the paces of p's backends, and sets from their median what a slow
// connect is.
func (s *Server) measure(p *pool, now time.Time) {
	b := &p.cfg.Breaker
	if !b.Enabled || b.SlowConnect == 0 {
		return
	}
	k := p.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	rows := p.balancer.Backends()
	paces := make(map[*balancer.Backend]*pace, len(rows))
	var means []time.Duration
	for _, row := range rows {
		was := k.paces[row.Backend]
		if was == nil {
			was = &pace{}
		}
		if now.Sub(was.at) >= paceEvery {
			was.take(row.Value.(*proxy.Target), now)
		}
		if paces[row.Backend] = was; was.mean > 0 {
			means = append(means, was.mean)
		}
	}
	k.paces = paces
	p.front.SetLimits(limits(p.cfg, median(means)))
}

func (c *pace) take(t *proxy.Target, now time.Time) {
	sessions, took := t.Sessions.Load(), time.Duration(t.ConnectTime.Load())
	if n := sessions - c.sessions; n > 0 {
		c.mean = max((took-c.took)/time.Duration(n), 1)
	}
	c.sessions, c.took, c.at = sessions, took, now
}

// median is the lower one of an even number, so that of two backends the faster one
// is the measure. It is 0 for less than two: nobody is slow alone.
func median(means []time.Duration) time.Duration {
	if len(means) < 2 {
		return 0
	}
	slices.Sort(means)
	return means[(len(means)-1)/2]
}

// limits are the streaks that are worth a word in a pool whose connects usually take
// so long.
func limits(c *config.Pool, usual time.Duration) standing.Limits {
	b := &c.Breaker
	if !b.Enabled {
		return standing.Limits{}
	}
	l := standing.Limits{Failures: int32(b.Failures), Resets: int32(b.Resets)}
	if usual > 0 && b.SlowConnect > 0 {
		l.Slow = max(usual*time.Duration(b.SlowConnect), config.LeastSlowConnect)
	}
	return l
}
