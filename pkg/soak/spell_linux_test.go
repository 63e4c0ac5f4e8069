package soak

import (
	"slices"
	"sync"
	"time"
)

// spell is a stretch of time.
type spell struct{ from, to time.Time }

// spells are in order; the last one may not have ended, and has a zero to.
type spells struct {
	mu  sync.Mutex
	all []spell
}

// turn begins a spell, or ends the one that has begun.
func (s *spells) turn(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.all) - 1
	switch begun := last >= 0 && s.all[last].to.IsZero(); {
	case on && !begun:
		s.all = append(s.all, spell{from: time.Now()})
	case !on && begun:
		s.all[last].to = time.Now()
	}
}

// during reports whether one of them overlaps with another spell.
func (s *spells) during(other spell) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.all, func(one spell) bool {
		return !one.from.After(other.to) && (one.to.IsZero() || !one.to.Before(other.from))
	})
}
