package server

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/splice"
)

// pool is a configured pool, running.
type pool struct {
	cfg      *config.Pool
	balancer *balancer.Pool
	front    *proxy.Pool
}

// listener is a configured listener, running.
type listener struct {
	cfg   *config.Listener
	front *proxy.Listener
	bound []bound // one per address
}

// build makes the pools, with their backends' addresses and their probes.
func (s *Server) build(ctx context.Context) error {
	for i := range s.cfg.Pools {
		p, err := s.newPool(&s.cfg.Pools[i])
		if err != nil {
			return fmt.Errorf("pool %s: %w", s.cfg.Pools[i].Name, err)
		}
		s.pools = append(s.pools, p)
	}
	s.names.first(ctx)
	for _, p := range s.pools {
		s.watch(p)
	}
	return nil
}

func (s *Server) newPool(c *config.Pool) (*pool, error) {
	specs := make([]balancer.Spec, len(c.Backends))
	for i := range c.Backends {
		specs[i] = s.spec(&c.Backends[i])
	}
	b, err := balancer.New(balancer.Options{Algorithms: c.Algorithm, HashKey: c.HashKey, HashSlots: c.HashSlots}, specs)
	if err != nil {
		return nil, err
	}
	front := proxy.NewPool(c.Name, b, proxy.Dialing{Timeout: c.Connect.Timeout, Attempts: c.Connect.Attempts, Source: c.Source})
	return &pool{cfg: c, balancer: b, front: front}, nil
}

// spec is what the balancer is told of a backend. Its target's addresses are known
// at once, or kept by the resolver.
func (s *Server) spec(c *config.Backend) balancer.Spec {
	t := &proxy.Target{Name: c.Name}
	switch ip := c.Address.IP(); {
	case c.Address.Network == config.Unix:
		t.Unix = c.Address.Path
	case ip.IsValid():
		t.SetAddrs([]netip.AddrPort{netip.AddrPortFrom(ip, c.Address.Port)})
	default:
		s.names.add(c.Address.Host, c.Address.Port, t.SetAddrs)
	}
	return balancer.Spec{
		Name: c.Name, Address: c.Address.String(), Weight: c.Weight,
		MaxConnections: c.MaxConnections, Backup: c.Backup, Value: t,
	}
}

// watch has the pool's backends probed. Without probes they are up at once.
func (s *Server) watch(p *pool) {
	for _, row := range p.balancer.Backends() {
		if p.cfg.Health.Type == config.HealthNone {
			p.balancer.SetHealth(row.Backend, balancer.Up)
			continue
		}
		s.monitor.Put(s.check(p, row.Backend))
	}
}

// check is the probe of one backend. OnChange is where health reaches the
// balancer.
func (s *Server) check(p *pool, b *balancer.Backend) healthcheck.Check {
	h, target := &p.cfg.Health, b.Value().(*proxy.Target)
	log := s.log.With().Str("pool", p.cfg.Name).Str("backend", b.Name()).Logger()
	return healthcheck.Check{
		ID:        p.cfg.Name + "/" + b.Name(),
		Prober:    Prober(h),
		Addresses: func() []healthcheck.Address { return ProbeAddresses(h, target.Unix, target.Addrs()) },
		Interval:  h.Interval, FastInterval: h.FastInterval, DownInterval: h.DownInterval,
		Timeout: h.Timeout, Rise: h.Rise, Fall: h.Fall,
		OnResult: func(r healthcheck.Result) {
			log.Debug().Str("verdict", r.Verdict.String()).Str("reason", r.Text()).
				Float64("duration", r.Took.Seconds()).Msg("probe")
		},
		OnChange: func(c healthcheck.Change) {
			p.balancer.SetHealth(b, health(c.New))
			log.Info().Str("old", c.Old.String()).Str("new", c.New.String()).Str("reason", c.Result.Text()).
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

// listen binds every listener. An error leaves those that were bound before it to
// the caller's abort.
func (s *Server) listen(ctx context.Context) error {
	for i := range s.cfg.Listeners {
		c := &s.cfg.Listeners[i]
		l := &listener{cfg: c, front: proxy.NewListener(c.Name, s.log, s.conf(c))}
		l.front.Gate.SetLimit(c.MaxConnections)
		s.listeners = append(s.listeners, l)
		for _, a := range c.Listen {
			if err := s.bind(ctx, l, a); err != nil {
				return listenError(c.Name, err)
			}
		}
	}
	for _, p := range s.pools {
		if p.cfg.WhenDown == config.WhenDownUnlisten {
			p.balancer.OnUsable(func(usable bool) { s.unlisten(p, !usable) })
			if p.balancer.Usable() == 0 { // before anybody could tell
				s.unlisten(p, true)
			}
		}
	}
	return nil
}

func (s *Server) conf(c *config.Listener) proxy.Conf {
	return proxy.Conf{
		Pool: s.pool(c.Pool).front,
		Timeouts: splice.Timeouts{
			Idle: c.Timeouts.Idle, HalfClose: c.Timeouts.HalfClose, Lifetime: c.Timeouts.MaxLifetime,
		},
		Access: s.cfg.Log.Access,
	}
}

func (s *Server) pool(name string) *pool {
	for _, p := range s.pools {
		if p.cfg.Name == name {
			return p
		}
	}
	return nil // Validate does not let this be
}

// bind listens on one configured address, which is several if its host is a name
// with several.
func (s *Server) bind(ctx context.Context, l *listener, a config.Address) error {
	binds, err := s.binds(ctx, a)
	if err != nil {
		return err
	}
	for _, b := range binds {
		b.Handler, b.Gates = l.front, []*splice.Gate{&l.front.Gate, &s.gate}
		ln, err := s.engine.Listen(b)
		if err != nil {
			return err
		}
		l.bound = append(l.bound, bound{ln, b.Unix})
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

// unlisten makes the kernel refuse the clients of a pool, or serve them again.
func (s *Server) unlisten(p *pool, down bool) {
	for _, l := range s.listeners {
		if l.cfg.Pool != p.cfg.Name {
			continue
		}
		for _, b := range l.bound {
			suspend := b.Suspend
			if !down {
				suspend = b.Resume
			}
			if err := suspend(); err != nil && !s.stopping.Load() {
				s.log.Error().Str("listener", l.front.Name).Err(err).Msg("unlisten")
			}
		}
		s.log.Info().Str("listener", l.front.Name).Str("pool", p.cfg.Name).Bool("listening", !down).Msg("when_down")
	}
}
