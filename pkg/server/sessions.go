package server

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/splice"
)

// Session is a live session.
type Session = proxy.Record

// SessionQuery says which live sessions are wanted. The zero value is all of them,
// oldest first.
type SessionQuery struct {
	Listener, Pool, Backend string       // names; "" = any
	Client                  netip.Prefix // the zero value = any
	ClientPort              uint16       // 0 = any
	Unix                    bool         // only clients of unix sockets
	Text                    string       // part of what is shown of a session: id, names, addresses
	Sort                    SessionOrder // "" = oldest first
	Descending              bool         // of Sort
	Offset, Limit           int          // a page of them; no limit of 0 or less
}

// SessionOrder is what sessions are sorted by; equal ones stand by ID.
type SessionOrder string

const (
	ByID        SessionOrder = "id"
	ByClient    SessionOrder = "client"
	ByBackend   SessionOrder = "backend"
	ByAge       SessionOrder = "age"
	ByIdle      SessionOrder = "idle"
	ByBytesUp   SessionOrder = "bytes_up"
	ByBytesDown SessionOrder = "bytes_down"
	ByBytes     SessionOrder = "bytes"
)

var orders = map[SessionOrder]func(a, b *Session) int{
	ByID:     byID,
	ByClient: func(a, b *Session) int { return a.Client.Compare(b.Client) },
	ByBackend: func(a, b *Session) int {
		return cmp.Or(strings.Compare(a.Pool, b.Pool), strings.Compare(a.Backend, b.Backend))
	},
	ByAge:       func(a, b *Session) int { return cmp.Compare(a.Age, b.Age) },
	ByIdle:      func(a, b *Session) int { return cmp.Compare(a.Idle, b.Idle) },
	ByBytesUp:   func(a, b *Session) int { return cmp.Compare(a.Up, b.Up) },
	ByBytesDown: func(a, b *Session) int { return cmp.Compare(a.Down, b.Down) },
	ByBytes:     func(a, b *Session) int { return cmp.Compare(a.Up+a.Down, b.Up+b.Down) },
}

func byID(a, b *Session) int {
	return cmp.Or(cmp.Compare(a.ID.Listener, b.ID.Listener), cmp.Compare(a.ID.Serial, b.ID.Serial))
}

// compare is the order of the query.
func (q *SessionQuery) compare(a, b *Session) int {
	by, descending := orders[q.Sort], q.Descending
	if by == nil {
		by, descending = orders[ByAge], true
	}
	c := by(a, b)
	if descending {
		c = -c
	}
	return cmp.Or(c, byID(a, b))
}

// matches reports whether s is wanted.
func (q *SessionQuery) matches(s *Session) bool {
	switch {
	case q.Listener != "" && s.Listener != q.Listener,
		q.Pool != "" && s.Pool != q.Pool,
		q.Backend != "" && s.Backend != q.Backend,
		q.Unix && s.Client.IsValid(),
		q.ClientPort != 0 && s.Client.Port() != q.ClientPort,
		q.Client.IsValid() && !q.Client.Contains(s.Client.Addr().Unmap().WithZone("")):
		return false
	}
	return q.Text == "" || s.Says(q.Text)
}

// Sessions lists the live sessions that are wanted: the page of the query, and how many
// there are in all. It looks at every session, and keeps no more of them at a time than
// about twice what lies before the end of the page.
func (s *Server) Sessions(q SessionQuery) (page []Session, total int) {
	end := 0 // of the page; 0 = none
	if q.Limit > 0 {
		end = max(0, q.Offset) + q.Limit
	}
	var kept []Session
	first := func() {
		slices.SortFunc(kept, func(a, b Session) int { return q.compare(&a, &b) })
		if end > 0 && len(kept) > end {
			kept = kept[:end]
		}
	}
	for _, l := range s.fronts() {
		l.Settle()
		l.Records(func(r *Session) {
			if !q.matches(r) {
				return
			}
			total++
			if kept = append(kept, *r); end > 0 && len(kept) >= 2*end+64 {
				first()
			}
		})
	}
	first()
	return kept[min(max(0, q.Offset), len(kept)):], total
}

// KillSession cuts one session. The error is ErrUnknown when it has ended already.
func (s *Server) KillSession(id string) error {
	want, err := proxy.ParseID(id)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if s.engineRuns() {
		is := func(session splice.Session) bool { return proxy.IDOf(session) == want }
		if s.has(want) && s.engine.KillOne(is, splice.ReasonKilled) {
			s.log.Info().Str("session", id).Msg("session killed")
			return nil
		}
	}
	return fmt.Errorf("session %s: %w", id, ErrUnknown)
}

// has reports whether a session lives. Its listener's roster tells, without any of the
// loops: only for one that lives do these look where it is.
func (s *Server) has(id proxy.ID) bool {
	for _, l := range s.fronts() {
		if l.Number == id.Listener {
			return l.Has(id)
		}
	}
	return false
}

// engineRuns reports whether there is an engine to ask.
func (s *Server) engineRuns() bool {
	select {
	case <-s.started:
		return true
	default:
		return false
	}
}

// fronts are the listeners that may have live sessions: those that run, and those that
// were removed while sessions of theirs go on.
func (s *Server) fronts() (all []*proxy.Listener) {
	s.leaving.mu.Lock()
	defer s.leaving.mu.Unlock()
	for _, l := range s.allListeners(s.state.Load()) {
		all = append(all, l.front)
	}
	return all
}
