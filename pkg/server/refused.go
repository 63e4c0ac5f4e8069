package server

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/limeload/limeload/pkg/proxy"
)

const (
	// refusedEvery is how often refusals are looked at, and refusedPause how long a
	// listener is silent about one kind after it was told: a flood of clients makes a
	// line each few seconds.
	refusedEvery = time.Second
	refusedPause = 5 * time.Second
)

// tally is what was told of one listener's refusals.
type tally struct {
	counts [2][proxy.NumRefusals]uint64 // without and with dry run
	next   [2][proxy.NumRefusals]time.Time
}

// runRefused tells people of refusals until ctx ends, and then of the rest.
func (s *Server) runRefused(ctx context.Context) {
	tick := time.NewTicker(refusedEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.tellRefused(now, false)
		case <-ctx.Done():
			s.tellRefused(time.Now(), true)
			return
		}
	}
}

// tellRefused tells of what is due, or of all there is. Only one goroutine calls it.
func (s *Server) tellRefused(now time.Time, all bool) {
	st := s.state.Load()
	maps.DeleteFunc(s.refusals, func(l *proxy.Listener, _ *tally) bool { return st.listener(l.Name) == nil })
	for _, l := range st.listeners {
		t := s.refusals[l.front]
		if t == nil {
			t = &tally{}
			s.refusals[l.front] = t
		}
		for _, r := range proxy.Refusals() {
			for dry, count := range [...]uint64{l.front.Refused[r].Load(), l.front.DryRun[r].Load()} {
				if n := count - t.counts[dry][r]; n > 0 && (all || !now.Before(t.next[dry][r])) {
					t.counts[dry][r], t.next[dry][r] = count, now.Add(refusedPause)
					s.tell(l.front, r, dry == 1, n)
				}
			}
		}
	}
}

// tell tells of n refusals of one kind.
func (s *Server) tell(l *proxy.Listener, r proxy.Refusal, dryRun bool, n uint64) {
	client, rule := l.Example(r, dryRun), ""
	if a := l.Conf().Admission; r == proxy.AccessDenied && a != nil && a.Access != nil {
		rule = a.Access.Rule(client)
	}
	e := s.log.Warn().Str("listener", l.Name).Str("reason", r.String()).Uint64("count", n).
		Str("client", clientText(client)).Bool("dry_run", dryRun)
	if rule != "" {
		e.Str("rule", rule)
	}
	e.Msg("refused")

	what := fmt.Sprintf("%s: %d, the last few from %s", r, n, clientText(client))
	if rule != "" {
		what += " (" + rule + ")"
	}
	if dryRun {
		what += ", dry run"
	}
	s.publish(Event{Kind: EventRefused, Listener: l.Name, Reason: what})
}

// clientText is a client as the session's line has it.
func clientText(a netip.Addr) string {
	if !a.IsValid() {
		return "unix"
	}
	return a.String()
}
