package server

import (
	"fmt"
	"net/netip"
	"reflect"
	"runtime/debug"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/splice"
)

// admission is what a listener asks of its clients, nil if nothing.
func (s *Server) admission(cfg *config.Config, l *listener) *proxy.Admission {
	c := &l.cfg.Limits
	a := &proxy.Admission{
		All: proxy.Quota{
			Quota:            limit.Quota{Connections: c.Connections, Rate: limit.PerSecond(c.Rate, c.Burst)},
			DelayConnections: delays(c.Action, c.ConnectionsAction), DelayRate: delays(c.Action, c.RateAction),
			DryRun: c.DryRun,
		},
		Each: proxy.Quota{
			Quota:            limit.Quota{Connections: c.Source.Connections, Rate: limit.PerSecond(c.Source.Rate, c.Source.Burst)},
			DelayConnections: delays(c.Source.Action, c.Source.ConnectionsAction), DelayRate: delays(c.Source.Action, c.Source.RateAction),
			DryRun: c.Source.DryRun,
		},
		Prefix: [2]int{c.Source.PrefixV4, c.Source.PrefixV6},
		Hold:   proxy.Hold{Longest: c.MaxDelay, Most: c.MaxDelayed},
	}
	asks := c.Connections > 0 || c.Rate > 0
	if l.access != nil {
		a.Access, a.AccessDryRun = l.access.List, l.access.config.DryRun
		s.watchFiles()
		asks = true
	}
	if cfg.Limits.Memory > 0 {
		a.Memory = &s.ceiling
		asks = true
	}
	if c.Source.Connections > 0 || c.Source.Rate > 0 {
		a.Table = s.sourceTable(cfg)
		asks = true
	}
	if !asks {
		return nil
	}
	s.tellRefusals()
	return a
}

// delays tells what an action is, or the one for all limits of the table.
func delays(all, one string) bool {
	if one == "" {
		one = all
	}
	return one == config.ActionDelay
}

// sourceTable makes the table of sources when it is first needed, and keeps it. It
// needs applying.
func (s *Server) sourceTable(cfg *config.Config) *limit.Sources {
	if s.sources.Load() == nil {
		s.sources.Store(limit.NewSources(cfg.Limits.SourceEntries))
	}
	return s.sources.Load()
}

// backendLimit is what a pool's backends may get.
func backendLimit(c *config.PoolLimits) proxy.BackendLimit {
	return proxy.BackendLimit{
		Rate:  limit.PerSecond(c.Rate, c.Burst),
		Delay: delays(c.Action, ""), DryRun: c.DryRun,
		Hold: proxy.Hold{Longest: c.MaxDelay, Most: c.MaxDelayed},
	}
}

// limit is that of the whole process: what there are descriptors for, or less
// if that is configured.
func (b *budget) limit(configured int) int {
	switch {
	case configured == 0:
		return b.sessions
	case b.sessions == 0:
		return configured
	}
	return min(b.sessions, configured)
}

// limitProcess sets what bounds the process as a whole.
func (s *Server) limitProcess(cfg *config.Config) {
	s.gate.SetLimit(s.budget.limit(cfg.Limits.MaxConnections))
	memory := int64(cfg.Limits.Memory)
	if memory == s.ceiling.Limit() {
		return
	}
	s.ceiling.SetLimit(memory)
	if memory == 0 {
		debug.SetMemoryLimit(s.memoryLimit)
		return
	}
	if s.memory == nil {
		s.memory = s.openMemory()
	}
	s.watchMemory()
	// Below where clients are refused, and where they are not any more: what is only
	// garbage must do neither.
	debug.SetMemoryLimit(min(memory/16*13, s.memoryLimit))
}

// recount has live sessions count for limits that were set or changed after they were
// let in, those of a listener that comes back too: a limit holds from then on, and not
// only for sessions to come.
func (s *Server) recount(old, next *state) {
	changed := map[*proxy.Listener]bool{}
	for _, l := range next.listeners {
		was := old.listener(l.cfg.Name)
		if was == nil && l.front.Gate.Used() > 0 || was != nil && !reflect.DeepEqual(was.cfg.Limits, l.cfg.Limits) {
			changed[l.front] = true
		}
	}
	if len(changed) == 0 {
		return
	}
	s.engine.Kill(func(session splice.Session) bool {
		if l, _ := proxy.Of(session); changed[l] {
			proxy.Recount(session)
		}
		return false
	}, splice.ReasonKilled)
}

// Refusal says which rule or limit of a listener would refuse a client now, or hold
// it: its name and the rule in words; both are empty if none would. The zero Addr is a
// client of a unix socket. Nothing is counted. The error is ErrUnknown.
func (s *Server) Refusal(listener string, client netip.Addr) (name, rule string, err error) {
	l := s.state.Load().listener(listener)
	if l == nil {
		return "", "", fmt.Errorf("listener %q: %w", listener, ErrUnknown)
	}
	name, rule = l.front.Refusal(client.Unmap())
	return name, rule, nil
}
