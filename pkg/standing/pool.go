package standing

import (
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
)

// Options are the settings of a pool.
type Options struct {
	Breaker   BreakerOptions
	SlowStart time.Duration    // 0 = none
	Manual    bool             // failback waits for a person
	Role      healthcheck.Role // that backends must have; RoleUnknown = any
	Fence     Fence
}

// Member is a configured backend, with what a person says of it.
type Member struct {
	Backend *balancer.Backend
	Spec    balancer.Spec
	Mode    balancer.Mode
	Health  balancer.Health // to begin with
	Fixed   bool            // Health is all there is: nobody probes
}

// Pool is all that is known of a pool's backends. The zero value has none. Its methods are for one goroutine
// at a time; what they change shows in the next Settle.
type Pool struct {
	o     Options
	rows  []*row
	index map[*balancer.Backend]*row
	fence fence
	split Split
	dirty []*row    // changed since the last Settle
	all   bool      // all of them may have
	next  time.Time // when time changes something; zero = never
}

// row is one backend.
type row struct {
	Member
	health balancer.Health
	reason string // why it is down
	facts  healthcheck.Facts
	silent bool             // it has not answered since it told facts
	wish   healthcheck.Wish // the agent's, until it wishes otherwise
	role   healthcheck.Role // the last one that was told

	breaker Breaker
	tripped string // why it is not closed
	trial   trial

	fresh bool // of the start, and not yet in service
	pass  bool // a person lets it in, once
	held  bool // see failback.go
	ramp  ramp

	// As of the last Settle.
	fit    bool // for failback
	able   bool // for slow start: gets all sessions that it can, unless people say otherwise
	could  bool // for the breaker: nothing else keeps it from new sessions
	gone   bool // down, or not what the pool wants
	ruling Ruling
}

// trial is a half-open breaker's session that connected.
type trial struct {
	ticket uint32
	due    time.Time // when it has lived long enough
}

// Ruling is what the rules come to for one backend.
type Ruling struct {
	balancer.Standing

	// Cause says why the backend gets no new sessions, Excluded the same in words; both are zero if it may.
	Cause    Cause
	Excluded string

	Facts     healthcheck.Facts // as it told them last
	Wish      healthcheck.Wish
	Breaker   State
	Until     time.Time // of an open breaker: when its trials begin
	Ejections uint64
	Held      bool // waits for a person

	settled bool // it is one: Settle has made it
}

// WrongRole is whether a backend is out because it is a primary where a replica is wanted, or the reverse.
func (r *Ruling) WrongRole() bool { return r.Cause == ByRole }

// Configure makes members the backends of the pool. What is known of one that stays is kept.
func (p *Pool) Configure(o Options, members []Member, now time.Time) {
	start := p.index == nil
	if !o.Breaker.Enabled {
		for _, r := range p.rows {
			r.breaker.Reset(now)
		}
	}
	if o.Fence != p.o.Fence {
		p.fence.highest = Claim{}
	}
	p.o, p.fence.mode, p.all = o, o.Fence, true
	old := p.index
	p.rows, p.index = nil, make(map[*balancer.Backend]*row, len(members))
	for _, m := range members {
		r := old[m.Backend]
		if r == nil {
			r = &row{health: m.Health, fresh: start, pass: !start}
		}
		if r.Mode != balancer.Ready && m.Mode == balancer.Ready {
			r.pass = true
		}
		if m.Fixed {
			r.health, r.reason = m.Health, ""
		} else if m.Mode == balancer.Maintenance || r.Mode == balancer.Maintenance {
			r.blank(m)
		}
		r.Member = m
		p.rows, p.index[m.Backend] = append(p.rows, r), r
	}
}

// blank forgets what probes said: in maintenance nobody looks, and afterwards they begin anew.
func (r *row) blank(m Member) {
	r.health, r.reason = m.Health, ""
	if m.Mode == balancer.Maintenance {
		r.health = balancer.Unchecked
	}
	r.facts, r.silent = healthcheck.Facts{}, false
}

// touch has the next Settle look at r.
func (p *Pool) touch(r *row) { p.dirty = append(p.dirty, r) }

// SetHealth notes what probes have come to, and why if that is down.
func (p *Pool) SetHealth(b *balancer.Backend, h balancer.Health, reason string) {
	if r := p.index[b]; r != nil {
		r.health, r.reason = h, reason
		p.touch(r)
	}
}

// Probed notes the result of one probe. It reports whether a Settle is called for.
func (p *Pool) Probed(b *balancer.Backend, res healthcheck.Result, now time.Time) bool {
	r := p.index[b]
	if r == nil || res.Verdict == healthcheck.Unknown {
		return false
	}
	before := r.evidence()
	p.probed(r, res, now)
	if r.evidence() == before {
		return false
	}
	p.touch(r)
	return true
}

// evidence is what rules read of what probes tell.
type evidence struct {
	role           healthcheck.Role
	timeline       uint32
	share          int
	wish           healthcheck.Wish
	maxConnections int
	silent         bool
	breaker        State
}

func (r *row) evidence() evidence {
	f := &r.facts
	return evidence{f.Role, f.Timeline, f.Share, r.wish, f.MaxConnections, r.silent, r.breaker.State()}
}

func (p *Pool) probed(r *row, res healthcheck.Result, now time.Time) {
	switch told := res.Facts != (healthcheck.Facts{}); {
	case res.Verdict != healthcheck.Down:
		r.facts, r.silent = res.Facts, false
		if r.breaker.Probe(&p.o.Breaker, now.Add(-res.Took), now) {
			r.tripped = "a probe came out well"
		}
	default:
		r.fresh = false
		// One that misses a probe may be what it said; one that is down does not count any more.
		if told || r.health == balancer.Down {
			r.facts = res.Facts
		}
		r.silent = !told
	}
	if res.Facts.Wish != healthcheck.WishNone {
		r.wish = res.Facts.Wish
	}
}

// Release is a person's word that b shall serve: the breaker closes, failback need not wait, a timeline that
// was seen elsewhere and an agent's wish are forgotten. It does not make b healthy.
func (p *Pool) Release(b *balancer.Backend, now time.Time) {
	r := p.index[b]
	if r == nil {
		return
	}
	r.pass, r.held, r.wish = true, false, healthcheck.WishNone
	if r.breaker.Reset(now) {
		r.tripped = "a person's word"
	}
	p.fence.highest = Claim{}
	p.touch(r)
}

// Word is what a backend's sessions tell.
type Word uint8

const (
	ConnectsFail   Word = iota // several connects in a row failed or were slow
	SessionsBreak              // several sessions in a row were reset early
	TrialConnected             // the session of a trial connected
	TrialPassed                // it ended well
	TrialFailed                // it could not connect, or was reset early
	TrialOver                  // it ended and told nothing
)

// Hear notes what sessions tell; why is for people, ticket is the trial's.
func (p *Pool) Hear(b *balancer.Backend, w Word, ticket uint32, why string, now time.Time) {
	r := p.index[b]
	if r == nil || !p.o.Breaker.Enabled {
		return
	}
	p.touch(r)
	half := r.breaker.State() == HalfOpen
	switch {
	case w == ConnectsFail || w == SessionsBreak:
		if p.canSpare(r) && r.breaker.Trip(&p.o.Breaker, now) {
			r.tripped = why
		}
	case w == TrialConnected && half:
		r.trial = trial{ticket, now.Add(Early)}
	case w == TrialPassed && half && r.trial.ticket == ticket: // not one of an earlier time, whose session lived on
		r.passTrial(now)
	case w == TrialFailed && half:
		r.breaker.Fail(&p.o.Breaker, now)
		r.tripped, r.trial = why, trial{}
	case r.trial.ticket == ticket:
		r.trial = trial{}
	}
}

func (r *row) passTrial(now time.Time) {
	if r.breaker.Pass(now) {
		r.tripped = "a session went well"
	}
	r.trial = trial{}
}

// canSpare reports whether the pool can do without r: it is one of those that could serve, and they are enough.
func (p *Pool) canSpare(r *row) bool {
	ejected, could := 0, 0
	for _, other := range p.rows {
		if other.breaker.State() != Closed {
			ejected++
		}
		if other.could {
			could++
		}
	}
	return r.could && p.o.Breaker.spare(ejected, could)
}
