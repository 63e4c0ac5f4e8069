package server

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/splice"
)

// Apply makes the running server what cfg says, which must be valid and is not
// changed afterwards. A start is the step from an empty configuration.
//
// It goes in two parts. The first prepares all that can fail, which is binding new
// addresses; if one does, nothing was changed. The second cannot fail: pools, then
// listeners, then what is gone is let go. A listener that stays keeps its sockets
// and what the kernel has queued in them; a backend that stays keeps health, counts
// and sessions; one that was removed gets no new sessions, and those it has are cut
// after drain_timeout.
//
// The answer lists what changed. What cannot change while the process runs is told
// in the log and stays as it is.
func (s *Server) Apply(ctx context.Context, cfg *config.Config) ([]config.Change, error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	if s.stopping.Load() {
		return nil, ErrClosed
	}
	began := time.Now()
	old := s.state.Load()
	cfg, fixed := keepFixed(old.cfg, cfg)
	effective := s.overrides.over(cfg)
	changes := config.Diff(old.cfg, effective)
	if err := s.apply(ctx, old, effective); err != nil {
		return nil, err
	}
	s.file = cfg
	for _, c := range fixed {
		s.log.Warn().Str("key", c.Path).Str("running", c.Old).Str("file", c.New).Msg("needs a restart")
	}
	for _, c := range changes {
		s.log.Info().Str("key", c.Path).Str("old", c.Old).Str("new", c.New).Msg("changed")
	}
	s.log.Info().Int("changes", len(changes)).Float64("duration", time.Since(began).Seconds()).Msg("reloaded")
	s.tellReloaded(changes)
	return changes, nil
}

func (s *Server) apply(ctx context.Context, old *state, cfg *config.Config) error {
	b, err := divide(s.budget.files, cfg)
	if err != nil {
		return err
	}
	next := &state{cfg: cfg}
	updates, err := s.preparePools(old, next)
	if err == nil {
		s.names.first(ctx)
		err = s.prepareListeners(ctx, old, next)
	}
	if err != nil {
		s.names.retain(old)
		return err
	}
	s.budget = b
	s.limitProcess(cfg)
	gone := s.commitPools(next, updates)
	s.state.Store(next)
	s.monitor.Replace(s.checks(next))
	s.commitListeners(next)
	s.recount(old, next)
	s.names.retain(next)
	err = s.release(ctx, old, next)
	s.tellListeners(old, next)
	for _, p := range next.pools {
		s.tendDoor(p.cfg.Name)
	}
	s.drainGone(old, next, gone)
	return err
}

// keepFixed answers cfg with the parts of the running configuration that cannot
// change, and how they differ.
func keepFixed(running, cfg *config.Config) (*config.Config, []config.Change) {
	if running.Listeners == nil {
		return cfg, nil // a start
	}
	kept := *cfg
	kept.Engine, kept.Admin = running.Engine, running.Admin
	kept.Log.Level, kept.Log.Format = running.Log.Level, running.Log.Format
	kept.Limits.SourceEntries = running.Limits.SourceEntries
	return &kept, config.Diff(&kept, cfg)
}

// update is what a pool that stays will be given.
type update struct {
	pool    *pool
	options balancer.Options
	specs   []balancer.Spec
}

// preparePools makes the pools that are new, and works out what the others become.
func (s *Server) preparePools(old, next *state) ([]update, error) {
	var updates []update
	for i := range next.cfg.Pools {
		c := &next.cfg.Pools[i]
		was := old.pool(c.Name)
		u := update{
			options: balancer.Options{Algorithms: c.Algorithm, HashKey: c.HashKey, HashSlots: c.HashSlots},
			specs:   s.specs(c, was.targets()),
		}
		if was == nil {
			b, err := balancer.New(u.options, u.specs)
			if err != nil {
				return nil, fmt.Errorf("pool %s: %w", c.Name, err)
			}
			u.pool = &pool{cfg: c, balancer: b, front: proxy.NewPool(c.Name, b, dialing(c)), door: new(sync.Mutex)}
			b.OnUsable(func(bool) { s.tendDoor(c.Name) })
		} else {
			u.pool = &pool{cfg: c, balancer: was.balancer, front: was.front, door: was.door}
			updates = append(updates, u)
		}
		next.pools = append(next.pools, u.pool)
	}
	return updates, nil
}

func dialing(c *config.Pool) proxy.Dialing {
	return proxy.Dialing{Timeout: c.Connect.Timeout, Attempts: c.Connect.Attempts, Source: c.Source, Limit: backendLimit(&c.Limits)}
}

// specs is what the balancer is told of a pool's backends. A target's addresses are
// known at once, or kept by the resolver.
func (s *Server) specs(c *config.Pool, targets map[identity]*proxy.Target) []balancer.Spec {
	specs := make([]balancer.Spec, len(c.Backends))
	for i := range c.Backends {
		b := &c.Backends[i]
		id := identity{b.Name, b.Address.String()}
		t := targets[id]
		if t == nil {
			t = s.newTarget(b)
		}
		r := s.overrides.find(c.Name, b.Name)
		specs[i] = balancer.Spec{
			Name: id.name, Address: id.address, Weight: b.Weight,
			MaxConnections: b.MaxConnections, Backup: b.Backup, Value: t,
			NeedsProbe: r != nil && r.Added && c.Health.Type != config.HealthNone,
		}
	}
	return specs
}

func (s *Server) newTarget(c *config.Backend) *proxy.Target {
	t := &proxy.Target{Name: c.Name}
	switch ip := c.Address.IP(); {
	case c.Address.Network == config.Unix:
		t.Unix = c.Address.Path
	case ip.IsValid():
		t.SetAddrs([]netip.AddrPort{netip.AddrPortFrom(ip, c.Address.Port)})
	default:
		s.names.add(t, c.Address.Host, c.Address.Port)
	}
	return t
}

// commitPools gives the pools that stay what they become, and answers the backends
// that are gone from them.
func (s *Server) commitPools(next *state, updates []update) (gone []*balancer.Backend) {
	for _, u := range updates {
		diff, err := u.pool.balancer.Apply(u.options, u.specs)
		if err != nil {
			// Validate admits nothing that the balancer refuses.
			s.log.Error().Str("pool", u.pool.cfg.Name).Err(err).Msg("pool not changed")
			continue
		}
		gone = append(gone, diff.Removed...)
		u.pool.front.SetDialing(dialing(u.pool.cfg))
	}
	for _, p := range next.pools {
		for _, row := range p.balancer.Backends() {
			if p.cfg.Health.Type == config.HealthNone {
				p.balancer.SetHealth(row.Backend, balancer.Up)
			}
			mode := balancer.Ready
			if r := s.overrides.find(p.cfg.Name, row.Name); r != nil {
				mode = r.Mode
			}
			p.balancer.SetMode(row.Backend, mode)
			if mode == balancer.Maintenance && p.cfg.Health.Type != config.HealthNone {
				p.balancer.SetHealth(row.Backend, balancer.Unchecked) // nobody looks any more
			}
		}
	}
	return gone
}

// checks are the probes of all backends.
func (s *Server) checks(st *state) []healthcheck.Check {
	var checks []healthcheck.Check
	for _, p := range st.pools {
		if p.cfg.Health.Type == config.HealthNone {
			continue
		}
		prober := Prober(&p.cfg.Health)
		for _, row := range p.balancer.Backends() {
			if row.Mode != balancer.Maintenance {
				checks = append(checks, s.check(p, row.Backend, prober))
			}
		}
	}
	return checks
}

// checkID names a backend's probe. The address is part of it: at another one, the
// backend starts anew.
func checkID(pool string, b *balancer.Backend) string {
	return pool + "/" + b.Name() + "@" + b.Address()
}

// check is the probe of one backend. OnChange is where health reaches the
// balancer.
func (s *Server) check(p *pool, b *balancer.Backend, prober healthcheck.Prober) healthcheck.Check {
	h, target := &p.cfg.Health, b.Value().(*proxy.Target)
	return healthcheck.Check{
		ID:        checkID(p.cfg.Name, b),
		Prober:    prober,
		Addresses: func() []healthcheck.Address { return ProbeAddresses(h, target.Unix, target.Addrs()) },
		Interval:  h.Interval, FastInterval: h.FastInterval, DownInterval: h.DownInterval,
		Timeout: h.Timeout, Rise: h.Rise, Fall: h.Fall,
		OnResult: func(r healthcheck.Result) {
			target.Probes[r.Verdict].Add(1)
			s.log.Debug().Str("pool", p.cfg.Name).Str("backend", b.Name()).
				Str("verdict", r.Verdict.String()).Str("reason", r.Text()).
				Float64("duration", r.Took.Seconds()).Msg("probe")
		},
		OnChange: func(c healthcheck.Change) {
			target.HealthChanges.Add(1)
			p.balancer.SetHealth(b, health(c.New))
			s.log.Info().Str("pool", p.cfg.Name).Str("backend", b.Name()).
				Str("old", c.Old.String()).Str("new", c.New.String()).Str("reason", c.Result.Text()).
				Float64("duration", c.At.Sub(c.Since).Seconds()).Int("usable", p.balancer.Usable()).
				Msg("backend " + c.New.String())
			s.publish(Event{
				Kind: EventHealth, Pool: p.cfg.Name, Backend: b.Name(),
				Old: c.Old.String(), New: c.New.String(), Reason: c.Result.Text(),
			})
		},
	}
}

func health(s healthcheck.State) balancer.Health {
	switch s {
	case healthcheck.StateUp:
		return balancer.Up
	case healthcheck.StateDown:
		return balancer.Down
	}
	return balancer.Unchecked
}

// Prober makes the prober of a health section; nil if it wants none.
func Prober(h *config.Health) healthcheck.Prober {
	switch h.Type {
	case config.HealthTCP:
		return healthcheck.NewTCP()
	case config.HealthICMP:
		return healthcheck.NewICMP()
	}
	return nil
}

// ProbeAddresses is where a backend is probed that has a unix socket, or else these
// addresses.
func ProbeAddresses(h *config.Health, unix string, addrs []netip.AddrPort) []healthcheck.Address {
	if unix != "" {
		return []healthcheck.Address{{Path: unix}}
	}
	out := make([]healthcheck.Address, len(addrs))
	for i, a := range addrs {
		if h.Port != 0 {
			a = netip.AddrPortFrom(a.Addr(), uint16(h.Port))
		}
		out[i] = healthcheck.Address{AddrPort: a}
	}
	return out
}

// prepareListeners binds every address that is new. One that another listener still
// holds has to wait until that has let go: see release.
func (s *Server) prepareListeners(ctx context.Context, old, next *state) error {
	taken := map[config.Address]bool{}
	for _, l := range old.listeners {
		for _, b := range l.bound {
			taken[b.from] = true
		}
	}
	for i := range next.cfg.Listeners {
		c := &next.cfg.Listeners[i]
		l := &listener{cfg: c}
		next.listeners = append(next.listeners, l)
		was := old.listener(c.Name)
		var err error
		if l.access, err = readAccess(was, next.cfg, i); err != nil {
			s.unbind(old, next)
			return err
		}
		if was == nil {
			l.front = proxy.NewListener(c.Name, s.log, s.conf(next, l))
			l.front.Gate.SetLimit(c.MaxConnections)
			s.fronts.number(l.front)
		} else {
			l.front = was.front
		}
		for _, a := range c.Listen {
			if kept := was.holds(a); kept != nil {
				l.bound = append(l.bound, kept...)
			} else if !taken[a] {
				if err := s.bind(ctx, l, a); err != nil {
					s.unbind(old, next)
					return err
				}
			}
		}
	}
	return nil
}

// holds is what l has bound of an address; l may be nil.
func (l *listener) holds(a config.Address) (held []bound) {
	if l != nil {
		for _, b := range l.bound {
			if b.from == a {
				held = append(held, b)
			}
		}
	}
	return held
}

// unbind closes what was bound for next, and not for old.
func (s *Server) unbind(old, next *state) {
	for _, l := range next.listeners {
		for _, b := range l.bound {
			if was := old.listener(l.cfg.Name); !slices.Contains(was.holds(b.from), b) {
				b.Close()
			}
		}
	}
}

func (s *Server) conf(st *state, l *listener) proxy.Conf {
	c := l.cfg
	return proxy.Conf{
		Pool: st.pool(c.Pool).front,
		Timeouts: splice.Timeouts{
			Idle: c.Timeouts.Idle, HalfClose: c.Timeouts.HalfClose, Lifetime: c.Timeouts.MaxLifetime,
		},
		Access:    st.cfg.Log.Access,
		Admission: s.admission(st.cfg, l),
	}
}

func (s *Server) commitListeners(next *state) {
	for _, l := range next.listeners {
		l.front.Configure(s.conf(next, l))
		l.front.Gate.SetLimit(l.cfg.MaxConnections)
	}
}

// release closes the sockets that are not in next any more, and then binds what had
// to wait for one of them. Only that can still fail, if another process is quicker.
func (s *Server) release(ctx context.Context, old, next *state) error {
	kept := map[splice.Listener]bool{}
	for _, l := range next.listeners {
		for _, b := range l.bound {
			kept[b.Listener] = true
		}
	}
	for _, l := range old.listeners {
		for _, b := range l.bound {
			if !kept[b.Listener] {
				b.Close()
			}
		}
	}
	var failed error
	for _, l := range next.listeners {
		for _, a := range l.cfg.Listen {
			if l.holds(a) == nil {
				if err := s.bind(ctx, l, a); err != nil && failed == nil {
					failed = err
				}
			}
		}
	}
	return failed
}

// bind listens on one configured address, which is several if its host is a name
// with several.
func (s *Server) bind(ctx context.Context, l *listener, a config.Address) error {
	binds, err := s.binds(ctx, a)
	if err != nil {
		return fmt.Errorf("listener %s: %w", l.cfg.Name, err)
	}
	for _, b := range binds {
		b.Handler, b.Gates = l.front, []*splice.Gate{&l.front.Gate, &s.gate}
		ln, err := s.engine.Listen(b)
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.cfg.Name, err)
		}
		l.bound = append(l.bound, bound{ln, a, b.Unix})
		s.log.Info().Str("listener", l.cfg.Name).Str("address", l.bound[len(l.bound)-1].address()).
			Str("pool", l.cfg.Pool).Msg("listening")
	}
	return nil
}

func (s *Server) binds(ctx context.Context, a config.Address) ([]splice.Bind, error) {
	ip := a.IP()
	switch {
	case a.Network == config.Unix:
		return []splice.Bind{{Unix: a.Path}}, nil
	case a.Host == "" || ip.IsValid():
		return []splice.Bind{{Addr: netip.AddrPortFrom(ip, a.Port)}}, nil
	}
	ips, err := s.names.lookup(ctx, a.Host)
	if err != nil {
		return nil, fmt.Errorf("listen %s: %w", a, err)
	}
	var binds []splice.Bind
	for _, ip := range ips {
		binds = append(binds, splice.Bind{Addr: netip.AddrPortFrom(ip, a.Port)})
	}
	return binds, nil
}

// tendDoor makes the kernel refuse the clients of a pool with when_down = "unlisten"
// while it has no usable backend, and serve them otherwise. It looks at how things
// are now, so that it does not matter in which order its calls come.
func (s *Server) tendDoor(name string) {
	p := s.state.Load().pool(name)
	if p == nil {
		return
	}
	p.door.Lock()
	defer p.door.Unlock()
	st := s.state.Load()
	if p = st.pool(name); p == nil {
		return
	}
	shut := p.cfg.WhenDown == config.WhenDownUnlisten && p.balancer.Usable() == 0
	for _, l := range st.listeners {
		if l.cfg.Pool == name {
			s.shut(l, shut)
		}
	}
}

func (s *Server) shut(l *listener, shut bool) {
	if l.front.Shut.Swap(shut) != shut {
		s.log.Info().Str("listener", l.cfg.Name).Str("pool", l.cfg.Pool).Bool("listening", !shut).Msg("when_down")
		s.tellShut(l, shut)
	}
	for _, b := range l.bound {
		turn := b.Resume
		if shut {
			turn = b.Suspend
		}
		if err := turn(); err != nil && !s.stopping.Load() {
			s.log.Error().Str("listener", l.cfg.Name).Str("address", b.address()).Err(err).Msg("when_down")
		}
	}
}

// drainGone cuts, after drain_timeout, the sessions of listeners and backends that
// were removed.
func (s *Server) drainGone(old, next *state, backends []*balancer.Backend) {
	for _, p := range old.pools {
		if next.pool(p.cfg.Name) == nil {
			p.balancer.OnUsable(nil)
			for _, row := range p.balancer.Backends() {
				backends = append(backends, row.Backend)
			}
		}
	}
	var fronts []*proxy.Listener
	for _, l := range old.listeners {
		if next.listener(l.cfg.Name) == nil {
			fronts = append(fronts, l.front)
		}
	}
	s.fronts.remove(fronts)
	if len(backends)+len(fronts) == 0 {
		return
	}
	after := next.cfg.Shutdown.DrainTimeout
	s.background.Go(func() {
		select {
		case <-time.After(after):
		case <-s.ctx.Done():
			return
		}
		n := s.engine.Kill(func(session splice.Session) bool {
			l, b := proxy.Of(session)
			return slices.Contains(fronts, l) || slices.Contains(backends, b)
		}, splice.ReasonDrained)
		if n > 0 {
			s.log.Info().Int("sessions", n).Str("drain_timeout", after.String()).Msg("removed: sessions cut")
		}
	})
}
