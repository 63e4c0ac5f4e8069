package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/splice"
)

// What a person changes while the server runs are overrides: they lie over the
// file's configuration, survive its reloads, and go through the same apply as those,
// until ResetOverrides or the end of the process; with a state file, beyond that.

// Errors of the changes below, for errors.Is.
var (
	ErrUnknown   = errors.New("unknown")        // no pool or backend of that name
	ErrDuplicate = errors.New("exists already") // a backend of that name or address
	ErrRefused   = errors.New("refused")        // a value that makes no sense here
)

// change makes one change of the overrides, all of it or nothing. edit may be called
// several times, each time with overrides that are as they were.
func (s *Server) change(ctx context.Context, edit func(o *overrides) error) error {
	if err := s.awaitStart(ctx); err != nil {
		return err
	}
	return s.step(ctx, func(k *known) error {
		if s.stopping.Load() {
			return ErrClosed
		}
		o := s.overrides.clone()
		if err := edit(o); err != nil {
			return err
		}
		cfg := o.over(s.file)
		if !o.sameBackends(s.overrides) { // else only values changed, and edit has seen to those
			if err := cfg.Validate(); err != nil {
				return refused(err)
			}
		}
		return s.adopt(s.state.Load(), plan{file: s.file, overrides: o, effective: cfg, known: k})
	})
}

// refused is ErrRefused for what a change makes of a configuration that was valid. The
// person who makes it knows of no places in that, only of the keys of what they change.
func refused(err error) error {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.Path[strings.LastIndexByte(p.Path, ']')+1:]
		texts[i] = strings.TrimPrefix(texts[i], ".") + ": " + p.Text
	}
	return fmt.Errorf("%w: %s", ErrRefused, strings.Join(texts, "; "))
}

// Settings are the settings of a backend that a person can change; nil leaves one
// as it is.
type Settings struct {
	Mode           *balancer.Mode
	Weight         *int // 0..256
	MaxConnections *int // 0..10000000; 0 = no limit
}

// SetBackend changes settings of a backend, together or not at all. One that becomes what
// it is without an override has none any more: what the file says of it later applies. The
// error is ErrUnknown or ErrRefused.
func (s *Server) SetBackend(ctx context.Context, pool, backend string, set Settings) error {
	var was *balancer.State
	err := s.change(ctx, func(o *overrides) (err error) {
		if was, err = s.backend(pool, backend); err != nil {
			return err
		}
		if set.Weight != nil && (*set.Weight < 0 || *set.Weight > config.MaxWeight) {
			return fmt.Errorf("%w: weight %d is out of range 0..%d", ErrRefused, *set.Weight, config.MaxWeight)
		}
		if set.MaxConnections != nil && (*set.MaxConnections < 0 || *set.MaxConnections > config.MaxConnections) {
			return fmt.Errorf("%w: max_connections %d is out of range 0..%d", ErrRefused, *set.MaxConnections, config.MaxConnections)
		}
		r := o.of(pool, backend)
		if set.Mode != nil {
			if *set.Mode != was.Mode {
				r.ModeSince = time.Now()
			}
			r.Mode = *set.Mode
		}
		base := o.base(s.file, pool, backend)
		if set.Weight != nil {
			r.Weight = unless(set.Weight, base.Weight)
		}
		if set.MaxConnections != nil {
			r.MaxConnections = unless(set.MaxConnections, base.MaxConnections)
		}
		if r.nothing() {
			o.drop(pool, backend)
		}
		return nil
	})
	if err == nil {
		if set.Mode != nil && *set.Mode == balancer.Ready {
			s.letIn(pool, backend)
		}
		s.tellSettings(pool, was, set)
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
	if err := s.suitable(ctx, b.Address); err != nil {
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
		if own := clash(s.file.Pool(pool), &b); own != nil {
			return o.restore(pool, own, &b)
		}
		o.drop(pool, b.Name)
		o.of(pool, b.Name).Added = true
		o.added = append(o.added, addition{pool, b})
		return nil
	})
	if err == nil {
		s.publish(Event{Kind: EventOverride, Pool: pool, Backend: b.Name, New: "added", Reason: b.Address.String()})
		s.log.Info().Str("pool", pool).Str("backend", b.Name).Str("address", b.Address.String()).Msg("override: backend added")
	}
	return err
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
		if len(s.state.Load().pool(pool).balancer.Backends()) == 1 {
			return fmt.Errorf("%w: %s is the last backend of pool %s; drain it, or add another one before", ErrRefused, backend, pool)
		}
		gone = row.Backend
		o.drop(pool, backend)
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
	s.publish(Event{Kind: EventOverride, Pool: pool, Backend: backend, New: "removed"})
	s.log.Info().Str("pool", pool).Str("backend", backend).Int("cut", cut).Msg("override: backend removed")
	return nil
}

func inFile(c *config.Config, pool, backend string) bool {
	p := c.Pool(pool)
	return p != nil && slices.ContainsFunc(p.Backends, func(b config.Backend) bool { return b.Name == backend })
}

// KillBackend cuts the sessions of a backend and answers how many they were: of all that
// have the name, the one that runs and those that are leaving. The error is ErrUnknown
// where there is none.
func (s *Server) KillBackend(pool, backend string) (int, error) {
	named := s.named(pool, backend)
	if len(named) == 0 {
		_, err := s.backend(pool, backend)
		return 0, err
	}
	n := s.engine.Kill(func(session splice.Session) bool {
		_, used := proxy.Of(session)
		return used != nil && slices.Contains(named, used)
	}, splice.ReasonKilled)
	s.log.Info().Str("pool", pool).Str("backend", backend).Int("sessions", n).Msg("sessions killed")
	return n, nil
}

// named are the backends of a name that may have sessions: it has moved to another address,
// say, and those at the one before have not ended.
func (s *Server) named(poolName, backend string) (all []*balancer.Backend) {
	s.leaving.mu.Lock()
	defer s.leaving.mu.Unlock()
	for _, p := range []*pool{s.state.Load().pool(poolName), s.leaving.pool(poolName)} {
		if p == nil {
			continue
		}
		for _, row := range p.balancer.Backends() {
			if row.Name == backend {
				all = append(all, row.Backend)
			}
		}
	}
	for _, b := range s.leaving.of(poolName) {
		if b.backend.Name() == backend {
			all = append(all, b.backend)
		}
	}
	return all
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
