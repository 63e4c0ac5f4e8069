package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/splice"
)

// What a person changes while the server runs are overrides: they lie over the
// file's configuration, survive its reloads, and go through the same apply as those,
// until ResetOverrides or the end of the process.

// Errors of the changes below, for errors.Is.
var (
	ErrUnknown   = errors.New("unknown")        // no pool or backend of that name
	ErrDuplicate = errors.New("exists already") // a backend of that name or address
	ErrRefused   = errors.New("refused")        // a value that makes no sense here
)

// Override is what differs, by a person's will, from what the file says of one
// backend.
type Override struct {
	Pool, Backend  string
	Mode           balancer.Mode // Ready is no override
	ModeSince      time.Time     // when it was set; zero if it never was
	Weight         *int          // nil: the file's
	MaxConnections *int          // likewise
	Added          bool          // the file does not have it
	Removed        bool          // the file has it
}

// overrides are kept by pool and backend, in the order in which they were made.
type overrides struct {
	rows  []*Override
	added []addition
}

type addition struct {
	pool    string
	backend config.Backend
}

func (o *overrides) find(pool, backend string) *Override {
	for _, r := range o.rows {
		if r.Pool == pool && r.Backend == backend {
			return r
		}
	}
	return nil
}

// of finds or makes the row of a backend.
func (o *overrides) of(pool, backend string) *Override {
	if r := o.find(pool, backend); r != nil {
		return r
	}
	r := &Override{Pool: pool, Backend: backend}
	o.rows = append(o.rows, r)
	return r
}

// clone is deep enough to be changed and thrown away.
func (o *overrides) clone() *overrides {
	c := &overrides{added: slices.Clone(o.added)}
	for _, r := range o.rows {
		row := *r
		c.rows = append(c.rows, &row)
	}
	return c
}

// over lays the overrides over the file's configuration. Overrides of what the file
// does not have any more are without effect.
func (o *overrides) over(file *config.Config) *config.Config {
	if len(o.rows) == 0 && len(o.added) == 0 {
		return file
	}
	c := *file
	c.Pools = slices.Clone(file.Pools)
	for i := range c.Pools {
		p := &c.Pools[i]
		p.Backends = slices.Clone(p.Backends)
		for _, a := range o.added {
			if a.pool == p.Name && !slices.ContainsFunc(p.Backends, func(b config.Backend) bool { return b.Name == a.backend.Name }) {
				p.Backends = append(p.Backends, a.backend)
			}
		}
		p.Backends = slices.DeleteFunc(p.Backends, func(b config.Backend) bool {
			r := o.find(p.Name, b.Name)
			return r != nil && r.Removed
		})
		for j := range p.Backends {
			b := &p.Backends[j]
			if r := o.find(p.Name, b.Name); r != nil {
				override(&b.Weight, r.Weight)
				override(&b.MaxConnections, r.MaxConnections)
			}
		}
	}
	return &c
}

func override(value, by *int) {
	if by != nil {
		*value = *by
	}
}

// change makes one change of the overrides, all of it or nothing.
func (s *Server) change(ctx context.Context, edit func(o *overrides) error) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	if s.stopping.Load() {
		return ErrClosed
	}
	o := s.overrides.clone()
	if err := edit(o); err != nil {
		return err
	}
	cfg := o.over(s.file)
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	old := s.overrides
	s.overrides = o
	if err := s.apply(ctx, s.state.Load(), cfg); err != nil {
		s.overrides = old
		return err
	}
	return nil
}

// Settings are the settings of a backend that a person can change; nil leaves one
// as it is.
type Settings struct {
	Mode           *balancer.Mode
	Weight         *int // 0..256
	MaxConnections *int // 0 = no limit
}

// SetBackend changes settings of a backend, together or not at all. The error is
// ErrUnknown or ErrRefused.
func (s *Server) SetBackend(ctx context.Context, pool, backend string, set Settings) error {
	var was *balancer.State
	err := s.change(ctx, func(o *overrides) (err error) {
		if was, err = s.backend(pool, backend); err != nil {
			return err
		}
		if set.Weight != nil && (*set.Weight < 0 || *set.Weight > config.MaxWeight) {
			return fmt.Errorf("%w: weight %d is out of range 0..%d", ErrRefused, *set.Weight, config.MaxWeight)
		}
		if set.MaxConnections != nil && *set.MaxConnections < 0 {
			return fmt.Errorf("%w: max_connections %d is negative", ErrRefused, *set.MaxConnections)
		}
		r := o.of(pool, backend)
		if set.Mode != nil {
			if *set.Mode != was.Mode {
				r.ModeSince = time.Now()
			}
			r.Mode = *set.Mode
		}
		if set.Weight != nil {
			r.Weight = set.Weight
		}
		if set.MaxConnections != nil {
			r.MaxConnections = set.MaxConnections
		}
		return nil
	})
	if err == nil {
		if set.Mode != nil && *set.Mode == balancer.Ready {
			s.letIn(pool, backend)
		}
		e := s.log.Info().Str("pool", pool).Str("backend", backend)
		if set.Mode != nil {
			e.Str("mode", set.Mode.String())
		}
		if set.Weight != nil {
			e.Int("weight", *set.Weight)
		}
		if set.MaxConnections != nil {
			e.Int("max_connections", *set.MaxConnections)
		}
		e.Msg("override")
		s.tellSettings(pool, was, set)
	}
	return err
}

// AddBackend adds a backend to a pool. It gets no sessions before its first good
// probe, if the pool has any. The error is ErrUnknown for the pool, ErrDuplicate, or
// ErrRefused for an address where no backend can be.
func (s *Server) AddBackend(ctx context.Context, pool string, b config.Backend) error {
	if b.Name == "" {
		b.Name = b.Address.String()
	}
	if err := s.reachable(b.Address); err != nil {
		return err
	}
	err := s.change(ctx, func(o *overrides) error {
		p := s.state.Load().pool(pool)
		if p == nil {
			return fmt.Errorf("pool %q: %w", pool, ErrUnknown)
		}
		for _, row := range p.balancer.Backends() {
			if row.Name == b.Name || row.Address == b.Address.String() {
				return fmt.Errorf("backend %s: %w in pool %s", row.Name, ErrDuplicate, pool)
			}
		}
		o.added = slices.DeleteFunc(o.added, func(a addition) bool { return a.pool == pool && a.backend.Name == b.Name })
		o.rows = slices.DeleteFunc(o.rows, func(r *Override) bool { return r.Pool == pool && r.Backend == b.Name })
		o.added = append(o.added, addition{pool, b})
		o.of(pool, b.Name).Added = true
		return nil
	})
	if err == nil {
		s.log.Info().Str("pool", pool).Str("backend", b.Name).Str("address", b.Address.String()).Msg("override: backend added")
		s.publish(Event{Kind: EventOverride, Pool: pool, Backend: b.Name, New: "added", Reason: b.Address.String()})
	}
	return err
}

// reachable refuses the addresses at which no backend of ours can be meant: a typing
// error, or an attempt to reach this machine's own metadata service through us.
func (s *Server) reachable(a config.Address) error {
	ip := a.IP()
	why := ""
	switch {
	case s.listensOn(a):
		why = "is one of our own listeners"
	case a.Network == config.TCP && a.Port == 0:
		why = "port 0 cannot be connected to"
	case !ip.IsValid():
	case ip.IsUnspecified():
		why = "is no host's address"
	case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		why = "is not the address of one host"
	case ip.IsLinkLocalUnicast():
		why = "is link-local"
	}
	if why != "" {
		return fmt.Errorf("address %s %s: %w", a, why, ErrRefused)
	}
	return nil
}

// listensOn reports whether a backend at a would be ourselves.
func (s *Server) listensOn(a config.Address) bool {
	for _, l := range s.state.Load().listeners {
		for _, b := range l.bound {
			at, ip := b.Addr(), a.IP()
			switch {
			case b.unix != "" || a.Network == config.Unix:
				if b.unix == a.Path && a.Path != "" {
					return true
				}
			case at.Port() == a.Port && (at.Addr() == ip || (at.Addr().IsUnspecified() || !at.Addr().IsValid()) && a.IsLocal()):
				return true
			}
		}
	}
	return false
}

// RemoveBackend removes a backend from a pool, whoever had added it. It gets no new
// sessions; those that it has may go on for drain_timeout, or with force are cut at
// once. The error is ErrUnknown, or ErrRefused for the last one of a pool.
func (s *Server) RemoveBackend(ctx context.Context, pool, backend string, force bool) error {
	var gone *balancer.Backend
	err := s.change(ctx, func(o *overrides) error {
		row, err := s.backend(pool, backend)
		if err != nil {
			return err
		}
		gone = row.Backend
		o.added = slices.DeleteFunc(o.added, func(a addition) bool { return a.pool == pool && a.backend.Name == backend })
		o.rows = slices.DeleteFunc(o.rows, func(r *Override) bool { return r.Pool == pool && r.Backend == backend })
		if inFile(s.file, pool, backend) {
			o.of(pool, backend).Removed = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	cut := 0
	if force {
		cut = s.kill(gone, splice.ReasonKilled)
	}
	s.log.Info().Str("pool", pool).Str("backend", backend).Int("cut", cut).Msg("override: backend removed")
	s.publish(Event{Kind: EventOverride, Pool: pool, Backend: backend, New: "removed"})
	return nil
}

func inFile(c *config.Config, pool, backend string) bool {
	p := c.Pool(pool)
	return p != nil && slices.ContainsFunc(p.Backends, func(b config.Backend) bool { return b.Name == backend })
}

// KillBackend cuts the sessions of a backend and answers how many they were.
func (s *Server) KillBackend(pool, backend string) (int, error) {
	row, err := s.backend(pool, backend)
	if err != nil {
		return 0, err
	}
	n := s.kill(row.Backend, splice.ReasonKilled)
	s.log.Info().Str("pool", pool).Str("backend", backend).Int("sessions", n).Msg("sessions killed")
	return n, nil
}

func (s *Server) kill(b *balancer.Backend, r splice.Reason) int {
	return s.engine.Kill(func(session splice.Session) bool {
		_, used := proxy.Of(session)
		return used == b
	}, r)
}

// backend finds a backend that runs.
func (s *Server) backend(pool, backend string) (*balancer.State, error) {
	p := s.state.Load().pool(pool)
	if p == nil {
		return nil, fmt.Errorf("pool %q: %w", pool, ErrUnknown)
	}
	for _, row := range p.balancer.Backends() {
		if row.Name == backend {
			return &row, nil
		}
	}
	return nil, fmt.Errorf("backend %q of pool %q: %w", backend, pool, ErrUnknown)
}

// Overrides lists what a person changed.
func (s *Server) Overrides() []Override {
	s.applying.Lock()
	defer s.applying.Unlock()
	all := make([]Override, len(s.overrides.rows))
	for i, r := range s.overrides.rows {
		all[i] = *r
	}
	return all
}

// ResetOverrides goes back to what the file says.
func (s *Server) ResetOverrides(ctx context.Context) error {
	var was []*Override
	err := s.change(ctx, func(o *overrides) error {
		was = o.rows
		*o = overrides{}
		return nil
	})
	if err == nil {
		s.log.Info().Msg("overrides reset")
		s.tellReset(was)
	}
	return err
}

// Ready reports whether clients can be served: by a listener, or as a whole for the
// empty name. If not, why tells a person. The error is ErrUnknown.
func (s *Server) Ready(listener string) (ready bool, why string, err error) {
	select {
	case <-s.started:
	default:
		return false, "starting", nil
	}
	if s.stopping.Load() {
		return false, "stopping", nil
	}
	st := s.state.Load()
	if listener != "" && st.listener(listener) == nil {
		return false, "", fmt.Errorf("listener %q: %w", listener, ErrUnknown)
	}
	for _, l := range st.listeners {
		if listener != "" && l.cfg.Name != listener {
			continue
		}
		if why := st.pool(l.cfg.Pool).unready(); why != "" {
			return false, fmt.Sprintf("listener %s: %s", l.cfg.Name, why), nil
		}
	}
	return true, "", nil
}
