package server

import (
	"fmt"
	"sync"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/pkg/standing"
	"github.com/limeload/limeload/splice"
)

// keeper keeps the standing of one pool's backends. It lives as long as the pool
// has its name.
//
//	probes, people ──────────────> tend ──> standing.Pool ──> balancer, log, events
//	sessions ──> ear ──> keep ───>   ^
//	time ───────────────────┘────────┘
type keeper struct {
	mu    sync.Mutex // held over a change and what follows from it, so that news keep their order
	pool  standing.Pool
	next  time.Time // when time changes something; zero = never
	paces map[*balancer.Backend]*pace
}

// Ruling and its kin are pkg/standing's, for those who read a Snapshot.
type (
	Ruling       = standing.Ruling
	BreakerState = standing.State
)

const NumBreakerStates = standing.NumStates

// tend makes a change of what is known about p's backends, and carries what follows
// from it to the balancer and to people. change answers false where nothing follows.
func (s *Server) tend(p *pool, change func(k *standing.Pool, now time.Time) bool) {
	k, now := p.keeper, time.Now()
	k.mu.Lock()
	if !change(&k.pool, now) {
		k.mu.Unlock()
		return
	}
	out := k.pool.Settle(now)
	if len(out.Standings) > 0 {
		p.balancer.SetStandings(out.Standings)
	}
	k.next = out.Next
	for _, c := range out.Changes {
		s.announceStanding(p, c)
	}
	k.mu.Unlock()
	s.follow(p, &out)
}

// follow does what may take its time.
func (s *Server) follow(p *pool, out *standing.Outcome) {
	for _, b := range out.Turned {
		b.Value().(*proxy.Target).Streaks.Forget()
	}
	for _, b := range out.Opened {
		s.monitor.Trigger(checkID(b))
	}
	if !out.Next.IsZero() {
		s.ear.wake()
	}
	if p.cfg.Health.OnDown != config.OnDownKill {
		return
	}
	for _, b := range out.Lost {
		if n := s.kill(b, splice.ReasonKilled); n > 0 {
			s.log.Info().Str("pool", p.cfg.Name).Str("backend", b.Name()).Int("sessions", n).
				Str("reason", p.keeper.ruling(b).Excluded).Msg("sessions killed")
		}
	}
}

// forget goes back to knowing nothing.
func (k *keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pool, k.next, k.paces = standing.Pool{}, time.Time{}, nil
}

// ruling is what holds for b now.
func (k *keeper) ruling(b *balancer.Backend) standing.Ruling {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pool.Ruling(b)
}

// rulings are what holds for all rows now.
func (k *keeper) rulings(rows []BackendSnapshot) standing.Split {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range rows {
		rows[i].Ruling = k.pool.Ruling(rows[i].Backend)
	}
	return k.pool.Split()
}

// letIn is a person's word that a backend shall serve: it need not wait for breaker,
// failback or an agent.
func (s *Server) letIn(pool, backend string) {
	row, err := s.backend(pool, backend)
	p := s.state.Load().pool(pool)
	if err != nil || p == nil {
		return // removed meanwhile
	}
	s.tend(p, func(k *standing.Pool, now time.Time) bool {
		k.Release(row.Backend, now)
		return true
	})
}

// quorum is how many usable backends make the pool ready.
func (p *pool) quorum() int { return max(p.cfg.Quorum, 1) }

// unready says why the pool is not ready; it is empty if it is.
func (p *pool) unready() string {
	switch n := p.balancer.Usable(); {
	case n >= p.quorum():
		return ""
	case n == 0:
		return fmt.Sprintf("pool %s has no usable backend", p.cfg.Name)
	default:
		return fmt.Sprintf("pool %s has %d usable backends; its quorum is %d", p.cfg.Name, n, p.quorum())
	}
}

// configure makes the backends of p those that its balancer has, and the rules those
// of its configuration.
func (s *Server) configure(p *pool) {
	s.tend(p, func(k *standing.Pool, now time.Time) bool {
		k.Configure(rules(p.cfg), members(p), now)
		return true
	})
	p.front.SetLimits(limits(p.cfg, 0))
}

func members(p *pool) []standing.Member {
	rows := p.balancer.Backends()
	all := make([]standing.Member, len(rows))
	for i, row := range rows {
		all[i] = standing.Member{Backend: row.Backend, Spec: row.Spec, Mode: row.Mode, Health: initial(&p.cfg.Health)}
		all[i].Fixed = p.cfg.Health.Type == config.HealthNone
	}
	return all
}

// initial is a backend's health before its first probe; without probes it is up.
func initial(h *config.Health) balancer.Health {
	if h.Type == config.HealthNone {
		return balancer.Up
	}
	return health(initialState(h))
}

func initialState(h *config.Health) healthcheck.State {
	switch h.Initial {
	case config.InitialUp:
		return healthcheck.StateUp
	case config.InitialDown:
		return healthcheck.StateDown
	}
	return healthcheck.StateUnchecked
}

// rules are those of a pool's configuration.
func rules(c *config.Pool) standing.Options {
	b := &c.Breaker
	o := standing.Options{
		Breaker: standing.BreakerOptions{
			Enabled: b.Enabled, Ejection: b.Ejection, MaxEjection: b.MaxEjection,
			MaxEjectedPercent: b.MaxEjectedPercent, TrustProbe: b.TrustProbe,
		},
		SlowStart: c.SlowStart,
		Manual:    c.Failback == config.FailbackManual,
	}
	switch c.Health.WantedRole() {
	case config.RolePrimary:
		o.Role, o.Fence = healthcheck.RolePrimary, standing.HighestTimeline
		if c.OnSplit == config.OnSplitRefuse {
			o.Fence = standing.Refuse
		}
	case config.RoleReplica:
		o.Role = healthcheck.RoleReplica
	}
	return o
}

// announceStanding tells people of a change.
func (s *Server) announceStanding(p *pool, c standing.Change) {
	e := Event{Pool: p.cfg.Name, Old: c.Old, New: c.New, Reason: c.Reason}
	if c.Backend != nil {
		e.Backend = c.Backend.Name()
	}
	level, msg := s.log.Info(), ""
	switch c.Kind {
	case standing.BreakerChanged:
		e.Kind, msg = EventBreaker, "breaker "+c.New
		if c.New == standing.Open.String() {
			level = s.log.Warn()
		}
	case standing.RoleChanged:
		e.Kind, msg = EventRole, "backend is "+c.New
	case standing.ExcludedChanged:
		e.Kind, e.Reason, msg = EventExcluded, c.New, "backend excluded"
		if c.New == "" {
			msg = "backend included"
		}
	case standing.SplitChanged:
		e.Kind, msg = EventSplit, "split over"
		if c.New != "" {
			level, msg = s.log.Error(), "split: several backends claim to be the primary"
		}
	}
	s.publish(e)
	level.Str("pool", e.Pool)
	if e.Backend != "" {
		level.Str("backend", e.Backend)
	}
	level.Str("old", e.Old).Str("new", e.New).Str("reason", e.Reason).Msg(msg)
}

// keep has time and sessions change standings, until the server stops.
func (s *Server) keep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.ear.more:
			s.listen()
		case <-timer.C:
		}
		timer.Reset(time.Until(s.pass(time.Now())))
	}
}

// pass does what time asks for, and answers when to do so again.
func (s *Server) pass(now time.Time) time.Time {
	next := now.Add(paceEvery)
	for _, p := range s.state.Load().pools {
		s.tend(p, func(*standing.Pool, time.Time) bool {
			return !p.keeper.next.IsZero() && !now.Before(p.keeper.next)
		})
		s.measure(p, now)
		p.keeper.mu.Lock()
		if due := p.keeper.next; !due.IsZero() && due.Before(next) {
			next = due
		}
		p.keeper.mu.Unlock()
	}
	return next
}

// listen takes in what sessions have told.
func (s *Server) listen() {
	for _, h := range s.ear.take() {
		if p := s.state.Load().pool(h.pool); p != nil {
			s.tend(p, func(k *standing.Pool, now time.Time) bool {
				k.Hear(h.Backend, h.Word, h.Ticket, h.Why, now)
				return true
			})
		}
	}
}

// ear is where sessions leave their words: on the engine's threads, which must not
// wait for what follows from them.
type ear struct {
	more chan struct{} // holds a token when there is something to do

	mu    sync.Mutex // never held for more than an append
	heard []heard
}

type heard struct {
	pool string
	proxy.Heard
}

func newEar() *ear { return &ear{more: make(chan struct{}, 1)} }

func (e *ear) hear(pool string, h proxy.Heard) {
	e.mu.Lock()
	e.heard = append(e.heard, heard{pool, h})
	e.mu.Unlock()
	e.wake()
}

func (e *ear) wake() {
	select {
	case e.more <- struct{}{}:
	default:
	}
}

func (e *ear) take() []heard {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.heard
	e.heard = nil
	return all
}
