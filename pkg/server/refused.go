package server

import (
	"context"
	"slices"
	"time"

	"github.com/limeload/limeload/pkg/proxy"
)

const (
	// refusedEvery is how often refusals are looked at, and refusedPause how long a
	// listener is silent about one kind after it was told: a flood of clients makes a
	// line each few seconds, and an event a minute, since a flood of events would push
	// out those of a night's other troubles.
	refusedEvery      = time.Second
	refusedPause      = 5 * time.Second
	refusedEventPause = time.Minute
)

// tally is what was told of one listener's refusals, without and with dry run, in lines
// and in events.
type tally struct {
	lines, events [2][proxy.NumRefusals]account
}

// account is up to which count something was told, and when it may be told again.
type account struct {
	count uint64
	next  time.Time
}

// due answers how many there are to tell of now, 0 if it is too early, and takes them for
// told.
func (a *account) due(count uint64, now time.Time, pause time.Duration, all bool) uint64 {
	n := count - a.count
	if n == 0 || !all && now.Before(a.next) {
		return 0
	}
	a.count, a.next = count, now.Add(pause)
	return n
}

// news is how many clients met a refusal since it was told last: in a line, and in an
// event, of which there may be none yet.
type news struct {
	refusal      proxy.Refusal
	dryRun       bool
	count, event uint64
}

// due answers what is to be told of a listener now: what is not told yet, unless the
// same was told a moment ago; or all there is. An event comes only with a line.
func (t *tally) due(l *proxy.Listener, now time.Time, all bool) (due []news) {
	for _, r := range proxy.Refusals() {
		for i, count := range [...]uint64{l.Refused[r].Load(), l.DryRun[r].Load()} {
			if n := t.lines[i][r].due(count, now, refusedPause, all); n > 0 {
				due = append(due, news{r, i == 1, n, t.events[i][r].due(count, now, refusedEventPause, all)})
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

// tellRefused tells of what is due, or of all there is: of a listener that is gone as well,
// of which nobody else will. One that is leaving is not gone: clients that it holds may yet
// be refused, and it may come back with the counts that it has.
func (s *Server) tellRefused(all map[*proxy.Listener]*tally, now time.Time, rest bool) {
	fronts := s.fronts()
	gone := func(l *proxy.Listener) bool { return !slices.Contains(fronts, l) }
	for l, t := range all {
		if gone(l) {
			s.tellDue(l, t, now, true)
			delete(all, l)
		}
	}
	s.lately.forget(gone)
	for _, l := range fronts {
		if all[l] == nil {
			all[l] = &tally{}
		}
		s.tellDue(l, all[l], now, rest)
	}
}

func (s *Server) tellDue(l *proxy.Listener, t *tally, now time.Time, all bool) {
	for _, n := range t.due(l, now, all) {
		s.tell(l, n)
	}
}

// tell keeps what is told for who looks, publishes an event if one is due, and writes a line.
func (s *Server) tell(l *proxy.Listener, n news) {
	m := Refused{Refusal: n.refusal, DryRun: n.dryRun, At: time.Now()}
	m.Client, m.Rule = l.Example(n.refusal, n.dryRun)
	s.lately.note(l, m)
	if n.event > 0 {
		m.Count = n.event
		s.publish(Event{Kind: EventRefused, Listener: l.Name, New: n.refusal.String(), Reason: m.words(), Refused: &m})
	}

	e := s.log.Warn().Str("listener", l.Name).Str("reason", n.refusal.String()).Uint64("count", n.count).
		Str("client", m.ClientText()).Bool("dry_run", n.dryRun)
	if m.Rule != "" {
		e.Str("rule", m.Rule)
	}
	e.Msg("refused")
}
