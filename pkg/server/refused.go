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

// tally is what was told of one listener's refusals, without and with dry run.
type tally struct {
	counts [2][proxy.NumRefusals]uint64
	next   [2][proxy.NumRefusals]time.Time
}

// news is how many clients met a refusal since it was told last.
type news struct {
	refusal proxy.Refusal
	dryRun  bool
	count   uint64
}

// due answers what is to be told of a listener now: what is not told yet, unless the
// same was told a moment ago; or all there is.
func (t *tally) due(l *proxy.Listener, now time.Time, all bool) (due []news) {
	for _, r := range proxy.Refusals() {
		for i, count := range [...]uint64{l.Refused[r].Load(), l.DryRun[r].Load()} {
			n := count - t.counts[i][r]
			if n > 0 && (all || !now.Before(t.next[i][r])) {
				t.counts[i][r], t.next[i][r] = count, now.Add(refusedPause)
				due = append(due, news{r, i == 1, n})
			}
		}
	}
	return due
}

// runRefused tells people of refusals until ctx ends, and then of the rest.
func (s *Server) runRefused(ctx context.Context) {
	tick := time.NewTicker(refusedEvery)
	defer tick.Stop()
	all := map[*proxy.Listener]*tally{}
	for {
		select {
		case now := <-tick.C:
			s.tellRefused(all, now, false)
		case <-ctx.Done():
			s.tellRefused(all, time.Now(), true)
			return
		}
	}
}

// tellRefused tells of what is due, or of all there is.
func (s *Server) tellRefused(all map[*proxy.Listener]*tally, now time.Time, rest bool) {
	st := s.state.Load()
	maps.DeleteFunc(all, func(l *proxy.Listener, _ *tally) bool { return st.listener(l.Name) == nil })
	for _, l := range st.listeners {
		if all[l.front] == nil {
			all[l.front] = &tally{}
		}
		for _, n := range all[l.front].due(l.front, now, rest) {
			s.tell(l.front, n)
		}
	}
}

// tell writes a line and publishes an event.
func (s *Server) tell(l *proxy.Listener, n news) {
	client, rule := l.Example(n.refusal, n.dryRun), ""
	if a := l.Conf().Admission; n.refusal == proxy.AccessDenied && a != nil && a.Access != nil {
		rule = a.Access.Rule(client)
	}
	e := s.log.Warn().Str("listener", l.Name).Str("reason", n.refusal.String()).Uint64("count", n.count).
		Str("client", clientText(client)).Bool("dry_run", n.dryRun)
	if rule != "" {
		e.Str("rule", rule)
	}
	e.Msg("refused")

	what := fmt.Sprintf("%s: %d, one of them %s", n.refusal, n.count, clientText(client))
	if rule != "" {
		what += " (" + rule + ")"
	}
	if n.dryRun {
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
