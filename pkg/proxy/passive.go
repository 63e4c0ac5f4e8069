package proxy

import (
	"errors"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/standing"
	"github.com/limeload/limeload/splice"
)

// Passive health: what the sessions of a backend tell of it. A session that finds
// nothing wrong writes nothing; one that completes a streak, or is a trial, has a
// word for whoever keeps the breakers.

// Heard is a word of a backend's sessions.
type Heard struct {
	Backend *balancer.Backend
	Word    standing.Word
	Ticket  uint32 // of a trial
	Why     string // for people, where it tells of trouble
}

// OnHeard sets who hears; it is called on the engine's threads and must not block.
// It must be set before the pool has sessions.
func (p *Pool) OnHeard(f func(Heard)) { p.hear = f }

// SetLimits changes which streaks are worth a word; at first none is.
func (p *Pool) SetLimits(l standing.Limits) { p.limits.Store(&l) }

// errEarlyReset is a trial that connected in vain.
var errEarlyReset = errors.New("reset by the backend in its first second")

func (s *session) tell(w standing.Word, why string) {
	s.conf.Pool.hear(Heard{Backend: s.backend, Word: w, Ticket: s.trial, Why: why})
}

// endTrial ends the trial, if this is one, and tells how: that it failed, or nothing.
func (s *session) endTrial(failed bool, err error) {
	if s.trial == 0 {
		return
	}
	if failed {
		s.tell(standing.TrialFailed, "the trial failed: "+err.Error())
	} else {
		s.tell(standing.TrialOver, "")
	}
	s.backend.EndTrial(s.trial)
	s.trial = 0
}

// learn takes from how a session ended what that tells of the backend. A client that
// left tells nothing, nor does one that never got there.
func (s *session) learn(r *splice.Result) {
	if r.Reason == splice.ReasonConnectFailed { // of a client that had sent all it will: Dial did not hear of it
		s.blame(r.Err)
		s.endTrial(!splice.LocalError(r.Err), r.Err)
		return
	}
	t := s.target
	broke := r.Reason == splice.ReasonBackendReset && !r.ClientEnded
	early := broke && s.connect > 0 && s.age(r) < standing.Early
	switch {
	case early:
		if t.Streaks.Reset(s.conf.Pool.limits.Load()) {
			s.tell(standing.SessionsBreak, "sessions in a row were reset in their first second")
		}
	case s.connect > 0 && served(r):
		t.Streaks.Ended()
	}
	if s.trial != 0 {
		s.judge(r, early)
	}
}

// judge is the end of a trial's session.
func (s *session) judge(r *splice.Result, early bool) {
	switch {
	case early:
		s.endTrial(true, errEarlyReset)
		return
	case s.connect > 0 && served(r):
		s.tell(standing.TrialPassed, "")
	}
	s.endTrial(false, nil)
}

// age is how long a connected session has been so: it connected at once, or its
// trouble knows when.
func (s *session) age(r *splice.Result) time.Duration {
	if s.trouble != nil {
		return time.Since(s.trouble.over)
	}
	return r.Duration - s.connect.duration()
}

// served reports whether an end that is no early reset shows that the backend
// served: both sides ended in order, or it went on for as long as was asked. What it
// did to a client that was leaving shows nothing.
func served(r *splice.Result) bool {
	switch r.Reason {
	case splice.ReasonBackendReset:
		return !r.ClientEnded
	case splice.ReasonClientClosed, splice.ReasonBackendClosed, splice.ReasonIdleTimeout, splice.ReasonHalfCloseTimeout, splice.ReasonLifetime:
		return true
	}
	return false
}
