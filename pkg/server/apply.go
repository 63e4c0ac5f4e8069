package server

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/pkg/standing"
	"github.com/limeload/limeload/splice"
)

// apply makes the step from old to what cfg says, in two parts. The first prepares
// all that can fail, which is binding new addresses; if one does, nothing was
// changed. The second cannot fail: pools, then listeners, then what is gone is let
// go. A start is the step from an empty configuration. The error is *unasked where k
// lacks something: see step.
func (s *Server) apply(old *state, cfg *config.Config, k *known) error {
	b, err := divide(s.budget.files, cfg)
	if err != nil {
		return err
	}
	if err := s.filesFor(old, cfg, k); err != nil {
		return err
	}
	next := &state{cfg: cfg}
	probers := s.probersFor(k)
	updates, err := s.preparePools(old, next, probers)
	if err == nil {
		err = s.resolve(old, next, k.names)
	}
	if err == nil {
		err = s.prepareListeners(old, next, k)
	}
	if err != nil {
		s.names.retain(old)
		return err
	}
	s.monitor.SetConcurrency(b.probes)
	s.budget = b
	s.limitProcess(cfg)
	s.useProbers(probers)
	s.turn(old, next, updates)
	s.probe(old, next)
	s.commitListeners(next)
	s.recount(old, next)
	s.names.retain(next)
	err = s.release(old, next, k.names)
	s.tellListeners(old, next)
	for _, p := range next.pools {
		s.tendDoor(p.cfg.Name)
	}
	return err
}

// turn makes next what runs.
func (s *Server) turn(old, next *state, updates []update) {
	s.leaving.mu.Lock()
	defer s.leaving.mu.Unlock()
	gone := s.commitPools(updates)
	s.state.Store(next)
	s.leaving.turn(old, next, gone)
}

// update is what a pool will be given that is new or changes.
type update struct {
	pool    *pool
	options balancer.Options
	specs   []balancer.Spec
	fresh   bool // the balancer has it all already
}

// preparePools makes the pools that are new, and works out what those become that
// change. The others are taken over as they are: one change among thousands of
// backends is not to cost as much as all of them.
func (s *Server) preparePools(old, next *state, probers *Probers) ([]update, error) {
	var updates []update
	running, overridden := old.poolIndex(), s.overrides.personal()
	for i := range next.cfg.Pools {
		c := next.cfg.Pools[i]
		was, by := running[c.Name], overridden[c.Name]
		if was.is(&c, by) && !shareProbes(&c) {
			next.pools = append(next.pools, was)
			continue
		}
		if was == nil {
			was = s.leaving.pool(c.Name)
		}
		u, err := s.preparePool(&c, was)
		if err != nil {
			return nil, fmt.Errorf("pool %s: %w", c.Name, err)
		}
		if err := u.pool.makeProbers(probers); err != nil {
			return nil, err
		}
		u.pool.personal = by
		updates = append(updates, u)
		next.pools = append(next.pools, u.pool)
	}
	return updates, nil
}

// preparePool makes a pool, out of what it was if that is not nil.
func (s *Server) preparePool(c *config.Pool, was *pool) (update, error) {
	u := update{
		options: balancer.Options{Algorithms: c.Algorithm, HashKey: c.HashKey, HashSlots: c.HashSlots},
		specs:   s.specs(c, was.targets()),
		fresh:   was == nil,
	}
	if was != nil {
		u.pool = &pool{cfg: c, balancer: was.balancer, front: was.front, keeper: was.keeper, door: was.door}
		return u, nil
	}
	b, err := balancer.New(u.options, u.specs)
	if err != nil {
		return u, err
	}
	name := c.Name
	b.OnUsable(func(bool) { s.background.Go(func() { s.tendDoor(name) }) })
	u.pool = &pool{cfg: c, balancer: b, front: proxy.NewPool(name, b, dialing(c)), keeper: &keeper{}, door: &door{}}
	u.pool.front.OnHeard(func(h proxy.Heard) { s.ear.hear(name, h) })
	return u, nil
}

func dialing(c *config.Pool) proxy.Dialing {
	return proxy.Dialing{Timeout: c.Connect.Timeout, Attempts: c.Connect.Attempts, Source: c.Source, Limit: backendLimit(&c.Limits)}
}

// specs is what the balancer is told of a pool's backends. A target's addresses are
// known at once, or kept by the resolver.
func (s *Server) specs(c *config.Pool, targets map[identity]*proxy.Target) []balancer.Spec {
	specs := make([]balancer.Spec, len(c.Backends))
	returning := map[identity]*balancer.Backend{}
	for _, b := range s.leaving.of(c.Name) {
		id := identity{b.backend.Name(), b.backend.Address()}
		returning[id], targets[id] = b.backend, b.target()
	}
	for i := range c.Backends {
		b := &c.Backends[i]
		id := identity{b.Name, b.Address.String()}
		t := targets[id]
		if t == nil {
			t = &proxy.Target{Name: b.Name, Check: c.Name + "/" + id.name + "@" + id.address}
		}
		s.locate(t, b)
		r := s.overrides.find(c.Name, b.Name)
		specs[i] = balancer.Spec{
			Name: id.name, Address: id.address, Weight: b.Weight,
			MaxConnections: b.MaxConnections, Backup: b.Backup, Value: t, Was: returning[id],
			NeedsProbe: needsProbe(c, r),
		}
	}
	return specs
}

// needsProbe is whether a backend gets nothing before a good probe: where nobody
// knows its role, and where a person added it.
func needsProbe(c *config.Pool, r *Override) bool {
	added := r != nil && r.Added
	return c.Health.Type != config.HealthNone && (added || c.Health.WantedRole() != config.RoleAny)
}

// locate gives t its address; that of a host name is the resolver's to find.
func (s *Server) locate(t *proxy.Target, c *config.Backend) {
	switch ip := c.Address.IP(); {
	case c.Address.Network == config.Unix:
		t.Unix = c.Address.Path
	case ip.IsValid():
		if t.Addrs() == nil {
			t.SetAddrs([]netip.AddrPort{netip.AddrPortFrom(ip, c.Address.Port)})
		}
	default:
		s.names.add(t, c.Address.Host, c.Address.Port)
	}
}

// commitPools gives the pools that change what they become, and answers the backends
// that are gone from them.
func (s *Server) commitPools(updates []update) (gone []*leavingBackend) {
	for _, u := range updates {
		p := u.pool
		if !u.fresh {
			diff, err := p.balancer.Apply(u.options, u.specs)
			if err != nil {
				// Validate admits nothing that the balancer refuses.
				s.log.Error().Str("pool", p.cfg.Name).Err(err).Msg("pool not changed")
				continue
			}
			for _, b := range diff.Removed {
				gone = append(gone, &leavingBackend{pool: p.cfg.Name, backend: b})
			}
			p.front.SetDialing(dialing(p.cfg))
		}
		s.setModes(p)
	}
	return gone
}

// setModes gives the backends of p the modes that a person wants, and the standing
// that follows.
func (s *Server) setModes(p *pool) {
	for _, row := range p.balancer.Backends() {
		mode := balancer.Ready
		if r := s.overrides.find(p.cfg.Name, row.Name); r != nil {
			mode = r.Mode
		}
		p.balancer.SetMode(row.Backend, mode)
	}
	s.configure(p)
}

// probe has the probes follow the step from old to next.
func (s *Server) probe(old, next *state) {
	var gone []string
	var checks []healthcheck.Check
	was, is := old.poolIndex(), next.poolIndex()
	for _, p := range old.pools {
		if is[p.cfg.Name] != p {
			gone = append(gone, p.probes...)
		}
	}
	for _, p := range next.pools {
		if was[p.cfg.Name] != p {
			these := s.checks(p)
			for i := range these {
				p.probes = append(p.probes, these[i].ID)
			}
			checks = append(checks, these...)
		}
	}
	s.monitor.Replace(gone, checks)
}

// checks are the probes of a pool's backends.
func (s *Server) checks(p *pool) (checks []healthcheck.Check) {
	if p.cfg.Health.Type == config.HealthNone {
		return nil
	}
	for _, row := range p.balancer.Backends() {
		if row.Mode != balancer.Maintenance {
			checks = append(checks, s.check(p, row.Backend))
		}
	}
	return checks
}

// checkID names a backend's probe. The address is part of it: at another one, the
// backend starts anew.
func checkID(b *balancer.Backend) string { return b.Value().(*proxy.Target).Check }

// check is the probe of one backend. OnChange is where health reaches the
// balancer.
func (s *Server) check(p *pool, b *balancer.Backend) healthcheck.Check {
	h, target := &p.cfg.Health, b.Value().(*proxy.Target)
	warn := s.warner(p.cfg.Name, b.Name())
	return healthcheck.Check{
		ID:        checkID(b),
		Prober:    p.probers[identity{b.Name(), b.Address()}],
		Addresses: func() []healthcheck.Address { return ProbeAddresses(h, target.Unix, target.Addrs()) },
		Interval:  h.Interval, FastInterval: h.FastInterval, DownInterval: h.DownInterval,
		Timeout: h.Timeout, Rise: h.Rise, Fall: h.Fall, Initial: initialState(h),
		OnResult: func(r healthcheck.Result) {
			target.Probes[r.Verdict].Add(1)
			s.log.Debug().Str("pool", p.cfg.Name).Str("backend", b.Name()).
				Str("verdict", r.Verdict.String()).Str("reason", r.Text()).
				Float64("duration", r.Took.Seconds()).Msg("probe")
			warn(r.Warning)
			s.tend(p, func(k *standing.Pool, now time.Time) bool { return k.Probed(b, r, now) })
		},
		OnChange: func(c healthcheck.Change) {
			target.HealthChanges.Add(1)
			// The door waits for this line, which is why it turns.
			p.door.Lock()
			defer p.door.Unlock()
			s.tend(p, func(k *standing.Pool, _ time.Time) bool {
				k.SetHealth(b, health(c.New), c.Result.Text())
				return true
			})
			s.publish(Event{
				Kind: EventHealth, Pool: p.cfg.Name, Backend: b.Name(),
				Old: c.Old.String(), New: c.New.String(), Reason: c.Result.Text(),
			})
			s.log.Info().Str("pool", p.cfg.Name).Str("backend", b.Name()).
				Str("old", c.Old.String()).Str("new", c.New.String()).Str("reason", c.Result.Text()).
				Float64("duration", c.At.Sub(c.Since).Seconds()).Int("usable", p.balancer.Usable()).
				Msg("backend " + c.New.String())
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

// prepareListeners binds every address that is new. One that a listener still holds has
// to wait until that has let go: see waits and release.
func (s *Server) prepareListeners(old, next *state, k *known) error {
	for i := range next.cfg.Listeners {
		c := &next.cfg.Listeners[i]
		l := &listener{cfg: c}
		next.listeners = append(next.listeners, l)
		was := old.listener(c.Name)
		switch {
		case c.Access.IsZero():
		case was.is(c):
			l.access = was.access
		default:
			l.access = k.files.lists[c.Name].list
		}
		if was == nil {
			if l.front = s.leaving.front(c.Name); l.front == nil {
				l.front = proxy.NewListener(c.Name, s.log, s.conf(next, l))
				l.front.Gate.SetLimit(c.MaxConnections)
				l.front.Bandwidth.Set(rates(c))
				l.front.Number = s.numbers.Add(1)
			}
		} else {
			l.front = was.front
		}
		for _, a := range c.Listen {
			if kept := was.holds(a); kept != nil || was.is(c) {
				l.bound = append(l.bound, kept...)
				continue
			}
			later, err := s.waits(old, a, k.names)
			if err == nil && !later {
				err = s.bind(l, a, k.names)
			}
			if err != nil {
				s.unbind(old, next)
				return err
			}
		}
	}
	return nil
}

// is reports whether l, which may be nil, is what c asks for, since only overrides
// differ. What it could not bind waits for a reload: nobody has to see to that before
// they can drain a backend.
func (l *listener) is(c *config.Listener) bool { return l != nil && l.cfg == c }

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
		Pool:      st.pool(c.Pool).front,
		Timeouts:  timeouts(c),
		Access:    st.cfg.Log.Access,
		Admission: s.admission(st.cfg, l),
	}
}

func (s *Server) commitListeners(next *state) {
	for _, l := range next.listeners {
		l.front.Configure(s.conf(next, l))
		l.front.Gate.SetLimit(l.cfg.MaxConnections)
		l.front.Bandwidth.Set(rates(l.cfg))
		s.tune(l)
	}
}

// release closes the sockets that are not in next any more, and then binds what had
// to wait for one of them. Only that can still fail, if another process is quicker:
// the error is ErrIncomplete.
func (s *Server) release(old, next *state, names answers) error {
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
	return s.bindRest(old, next, names)
}

// ErrIncomplete is the error of a change that was made, but for an address that could
// not be bound in the end.
var ErrIncomplete = errors.New("all else was changed, and the next reload tries this again")

// bindRest binds what is not bound yet. A state that others see is not changed: a
// listener that gets an address is another one, in another state.
func (s *Server) bindRest(old, st *state, names answers) (failed error) {
	bound := *st
	bound.listeners = nil
	for _, l := range st.listeners {
		whole := *l
		whole.bound = slices.Clone(l.bound)
		for _, a := range l.cfg.Listen {
			if l.holds(a) == nil && !old.listener(l.cfg.Name).is(l.cfg) {
				if err := s.bind(&whole, a, names); err != nil && failed == nil {
					failed = fmt.Errorf("%w: %w", err, ErrIncomplete)
				}
			}
		}
		if len(whole.bound) != len(l.bound) {
			l = &whole
		}
		bound.listeners = append(bound.listeners, l)
	}
	if !slices.Equal(bound.listeners, st.listeners) {
		s.state.Store(&bound)
	}
	return failed
}

// bind listens on one configured address, which is several if its host is a name
// with several.
func (s *Server) bind(l *listener, a config.Address, names answers) error {
	binds, err := bindsOf(a, names)
	if err != nil {
		return fmt.Errorf("listener %s: %w", l.cfg.Name, err)
	}
	for _, b := range binds {
		socket, err := s.inherited.claim(&b)
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.cfg.Name, err)
		}
		b.Handler, b.Gates = l.front, []*splice.Gate{&l.front.Gate, &s.gate}
		b.Keepalive = keepalive(l.cfg)
		ln, err := s.engine.Listen(b)
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.cfg.Name, err)
		}
		l.bound = append(l.bound, bound{ln, a, b.Unix})
		line := s.log.Info().Str("listener", l.cfg.Name).Str("address", l.bound[len(l.bound)-1].address()).Str("pool", l.cfg.Pool)
		if socket != "" {
			line.Str("socket", socket)
		}
		line.Msg("listening")
	}
	return nil
}

// bindsOf are the binds of an address: several where its host is a name with several.
func bindsOf(a config.Address, names answers) ([]splice.Bind, error) {
	switch {
	case a.Network == config.Unix:
		return []splice.Bind{{Unix: a.Path}}, nil
	case !isName(a):
		return []splice.Bind{{Addr: netip.AddrPortFrom(a.IP(), a.Port)}}, nil
	}
	found := names[a.Host]
	if found.err != nil {
		return nil, fmt.Errorf("listen %s: %w", a, found.err)
	}
	var binds []splice.Bind
	for _, ip := range found.ips {
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
	ok := true
	for _, l := range st.listeners {
		if l.cfg.Pool == name {
			ok = s.shut(l, shut) && ok
		}
	}
	if !ok {
		p.door.retry(func() { s.tendDoor(name) })
	}
}

// shut reports whether all of l's sockets do as they are told, and tells when they do:
// whoever hears that it listens may connect.
func (s *Server) shut(l *listener, shut bool) bool {
	ok := true
	for _, b := range l.bound {
		turn := b.Resume
		if shut {
			turn = b.Suspend
		}
		if err := turn(); err != nil && err != splice.ErrClosed && !s.stopping.Load() {
			s.log.Error().Str("listener", l.cfg.Name).Str("address", b.address()).Err(err).Msg("when_down")
			ok = false
		}
	}
	if ok && l.front.Shut.Swap(shut) != shut {
		s.tellShut(l, shut)
		s.log.Info().Str("listener", l.cfg.Name).Str("pool", l.cfg.Pool).Bool("listening", !shut).Msg("when_down")
	}
	return ok
}
