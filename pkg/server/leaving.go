package server

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/splice"
)

// What is in the configuration no more, and has sessions still, is leaving:
//
//	runs ── removed ──> leaving ── its last session ended ──> forgotten
//	 ^                     │ │
//	 └── configured again ─┘ └─ after drain_timeout its sessions are cut
//
// It gets no new sessions but is shown until the last one has ended. Configured again
// before that, it is the same as before, with its sessions and counts.
type leaving struct {
	// mu is held while a state takes the place of another, so that a Snapshot has
	// everything once. The lists change under it and under Server.applying.
	mu        sync.Mutex
	backends  []*leavingBackend // of pools that stay
	pools     []*leavingPool
	listeners []*leavingListener

	more chan struct{} // holds a token when there is more to see off
}

// departure is when something was removed, and when its sessions are cut.
type departure struct {
	since, deadline time.Time
	cut             bool
}

type leavingBackend struct {
	departure
	pool    string
	backend *balancer.Backend
}

type leavingPool struct {
	departure
	*pool
}

type leavingListener struct {
	departure
	*listener
}

const (
	// seeOffEvery is how often is looked whether the last session has ended.
	seeOffEvery = time.Second

	// pickGrace is how long something is not forgotten, busy or not: a pick that began
	// before the removal may still come to it, and the last session may still be
	// counting. Both take microseconds.
	pickGrace = time.Second
)

func (b *leavingBackend) target() *proxy.Target { return b.backend.Value().(*proxy.Target) }

func (b *leavingBackend) busy() bool { return b.backend.Active() > 0 }

func (p *leavingPool) busy() bool {
	return slices.ContainsFunc(p.balancer.Backends(), func(row balancer.State) bool { return row.Active > 0 })
}

// uncheck forgets what probes and sessions said.
func (p *pool) uncheck() {
	p.keeper.forget()
	blank := map[*balancer.Backend]balancer.Standing{}
	for _, row := range p.balancer.Backends() {
		blank[row.Backend] = balancer.Standing{}
	}
	p.balancer.SetStandings(blank)
}

func (l *leavingListener) busy() bool { return l.front.Gate.Used() > 0 }

// pool finds a pool that leaves, nil if there is none of that name.
func (l *leaving) pool(name string) *pool {
	for _, p := range l.pools {
		if p.cfg.Name == name {
			return p.pool
		}
	}
	return nil
}

// front finds a listener that leaves.
func (l *leaving) front(name string) *proxy.Listener {
	for _, gone := range l.listeners {
		if gone.cfg.Name == name {
			return gone.front
		}
	}
	return nil
}

// of lists the backends that leave a pool.
func (l *leaving) of(pool string) (of []*leavingBackend) {
	for _, b := range l.backends {
		if b.pool == pool {
			of = append(of, b)
		}
	}
	return of
}

// turn notes what the step from old to next removed, and what it brought back. gone
// are the backends that left pools that stay. needs mu.
func (l *leaving) turn(old, next *state, gone []*leavingBackend) {
	now := time.Now()
	d := departure{since: now, deadline: now.Add(next.cfg.Shutdown.DrainTimeout)}
	l.pools = slices.DeleteFunc(l.pools, func(p *leavingPool) bool { return next.pool(p.cfg.Name) != nil })
	l.listeners = slices.DeleteFunc(l.listeners, func(g *leavingListener) bool { return next.listener(g.cfg.Name) != nil })
	l.backends = slices.DeleteFunc(l.backends, func(b *leavingBackend) bool {
		p := next.pool(b.pool)
		return p != nil && p.balancer.Has(b.backend)
	})
	for _, b := range gone {
		b.departure = d
		l.backends = append(l.backends, b)
	}
	pools, listeners := next.poolIndex(), next.listenerIndex()
	for _, p := range old.pools {
		if pools[p.cfg.Name] == nil {
			p.uncheck() // nobody looks any more
			l.pools = append(l.pools, &leavingPool{d, p})
		}
	}
	for _, was := range old.listeners {
		if listeners[was.cfg.Name] == nil {
			l.listeners = append(l.listeners, &leavingListener{d, was})
		}
	}
	if len(l.backends)+len(l.pools)+len(l.listeners) > 0 {
		select {
		case l.more <- struct{}{}:
		default:
		}
	}
}

// seeOff cuts what is due and forgets what has ended, until ctx ends.
func (s *Server) seeOff(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.leaving.more:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if again, some := s.seeOffDue(time.Now()); some {
			timer.Reset(again)
		}
	}
}

// seeOffDue answers after which time it wants to look again, if ever.
func (s *Server) seeOffDue(now time.Time) (again time.Duration, some bool) {
	s.applying.Lock()
	defer s.applying.Unlock()
	l := &s.leaving
	s.cutDue(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	old := func(d departure) bool { return now.Sub(d.since) >= pickGrace }
	for _, b := range slices.Clone(l.backends) {
		if old(b.departure) && !b.busy() {
			s.bequeath(b)
			l.backends = slices.DeleteFunc(l.backends, func(other *leavingBackend) bool { return other == b })
		}
	}
	l.pools = slices.DeleteFunc(l.pools, func(p *leavingPool) bool {
		return old(p.departure) && !p.busy() && l.of(p.cfg.Name) == nil
	})
	l.listeners = slices.DeleteFunc(l.listeners, func(g *leavingListener) bool { return old(g.departure) && !g.busy() })
	again = seeOffEvery
	for _, d := range l.departures() {
		if !d.cut {
			again = min(again, d.deadline.Sub(now))
		}
	}
	return max(again, time.Millisecond), len(l.departures()) > 0
}

func (l *leaving) departures() (all []*departure) {
	for _, b := range l.backends {
		all = append(all, &b.departure)
	}
	for _, p := range l.pools {
		all = append(all, &p.departure)
	}
	for _, g := range l.listeners {
		all = append(all, &g.departure)
	}
	return all
}

// cutDue cuts the sessions whose time is over. needs s.applying.
func (s *Server) cutDue(now time.Time) {
	backends, fronts := map[*balancer.Backend]bool{}, map[*proxy.Listener]bool{}
	due := func(d *departure) bool {
		is := !d.cut && !now.Before(d.deadline)
		d.cut = d.cut || is
		return is
	}
	for _, b := range s.leaving.backends {
		if due(&b.departure) {
			backends[b.backend] = true
		}
	}
	for _, p := range s.leaving.pools {
		if due(&p.departure) {
			for _, row := range p.balancer.Backends() {
				backends[row.Backend] = true
			}
		}
	}
	for _, l := range s.leaving.listeners {
		if due(&l.departure) {
			fronts[l.front] = true
		}
	}
	if len(backends)+len(fronts) == 0 {
		return
	}
	n := s.engine.Kill(func(session splice.Session) bool {
		l, b := proxy.Of(session)
		return fronts[l] || b != nil && backends[b]
	}, splice.ReasonDrained)
	if n > 0 {
		s.log.Info().Int("sessions", n).Msg("removed: sessions cut")
	}
}

// bequeath leaves what b counted to the backend that has its name now, at another
// address, so that the series of the name does not fall: one that runs, or else one
// that is leaving too. needs leaving.mu.
func (s *Server) bequeath(b *leavingBackend) {
	if heir := s.heir(b); heir != nil {
		heir.Absorb(b.target())
		s.history.bequeath(heir, b.target())
	}
}

// heir is the target of the backend that has b's name now, nil if none has. needs
// leaving.mu.
func (s *Server) heir(b *leavingBackend) *proxy.Target {
	if p := s.state.Load().pool(b.pool); p != nil {
		for _, row := range p.balancer.Backends() {
			if row.Name == b.backend.Name() {
				return row.Value.(*proxy.Target)
			}
		}
	}
	for _, other := range s.leaving.of(b.pool) {
		if other != b && other.backend.Name() == b.backend.Name() {
			return other.target()
		}
	}
	return nil
}
