package standing

import (
	"fmt"
	"slices"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
)

// Cause is why a backend gets no new sessions. Where there are several, the first one in this order is told.
type Cause uint8

const (
	NoCause    Cause = iota // it may have some
	ByMode                  // a person's drain or maintenance
	ByWeight                // a weight of 0
	ByAgent                 // the wish of an agent on the server
	ByBreaker               // its breaker is open
	ByRole                  // it is a primary where a replica is wanted, or the reverse
	ByHealth                // it is down, or must be probed first
	ByFence                 // another claims to be the primary with better reason, or as good
	ByFailback              // it waits for a person

	NumCauses = iota // how many there are
)

// Kind is what a Change is about.
type Kind uint8

const (
	BreakerChanged  Kind = iota // states of the breaker
	RoleChanged                 // "primary", "replica", or "" for one that was never told
	SplitChanged                // who claims to be the primary: see Split.String; Backend is nil
	ExcludedChanged             // by agent, role, fence or failback: the words of it, "" for in again
)

// Change is news for people.
type Change struct {
	Kind             Kind
	Backend          *balancer.Backend
	Old, New, Reason string
}

// Outcome is what a Settle came to.
type Outcome struct {
	Standings map[*balancer.Backend]balancer.Standing // those that changed
	Changes   []Change
	Opened    []*balancer.Backend // breakers: a probe at once would tell more
	Turned    []*balancer.Backend // breakers that changed: streaks begin anew
	Lost      []*balancer.Backend // went down, or are not what the pool wants any more
	Next      time.Time           // when to settle again if nothing happens; zero = never
}

// Settle applies the rules to all that is known at now.
func (p *Pool) Settle(now time.Time) Outcome {
	out := Outcome{Standings: map[*balancer.Backend]balancer.Standing{}}
	rows := p.due(now)
	for _, r := range rows {
		r.elapse(now)
	}
	backupsServe := p.o.Manual && p.backupsServe()
	fenced := p.settleFence(&out)
	for _, r := range rows {
		p.settleRow(r, fenced[r], backupsServe, now, &out)
	}
	out.Next = p.next
	return out
}

// due are the rows that a Settle at now must look at: those that changed, or all where time or the rules of the
// whole pool may have changed any. So the health of one among thousands is settled without a look at the rest.
func (p *Pool) due(now time.Time) []*row {
	late := !p.next.IsZero() && !now.Before(p.next)
	rows := p.dirty
	if p.all || late || p.fence.mode != NoFence || p.o.Manual {
		rows, p.next = p.rows, time.Time{}
	}
	p.dirty, p.all = nil, false
	return rows
}

// Split is who claims to be the primary, if several do, as of the last Settle.
func (p *Pool) Split() Split { return p.split }

// Ruling is what the last Settle came to for b, or the zero value.
func (p *Pool) Ruling(b *balancer.Backend) Ruling {
	r := p.index[b]
	if r == nil {
		return Ruling{}
	}
	ruling := r.ruling
	ruling.Facts = r.facts // some of them change with every probe
	return ruling
}

// elapse does what time does.
func (r *row) elapse(now time.Time) {
	if r.breaker.Expire(now) {
		r.tripped, r.trial = "its time is over", trial{}
	}
	if due := r.trial.due; !due.IsZero() && !now.Before(due) {
		r.passTrial(now)
	}
}

// highestAnswer is the highest timeline of the primaries that answered their last probe;
// -1 if none did.
func (p *Pool) highestAnswer() int64 {
	highest := int64(-1)
	for _, r := range p.rows {
		if r.facts.Role == healthcheck.RolePrimary && !r.silent {
			highest = max(highest, int64(r.facts.Timeline))
		}
	}
	return highest
}

// claims reports whether r counts as one that claims to be the primary, where answers is
// the highest timeline of those that answer. One that missed its last probe may still be
// what it said: where nobody answers, or it is not behind who does. A server without
// timelines that misses a probe makes room at once, for the one that took over.
func (r *row) claims(answers int64) bool {
	if r.facts.Role != healthcheck.RolePrimary || r.silent && r.health == balancer.Down {
		return false
	}
	t := int64(r.facts.Timeline)
	return !r.silent || answers < 0 || t > 0 && t >= answers
}

// settleFence answers what the fence objects to, by backend.
func (p *Pool) settleFence(out *Outcome) map[*row]string {
	if p.fence.mode == NoFence {
		p.noteSplit(Split{}, out)
		return nil
	}
	var claims []Claim
	var claimants []*row
	answers := p.highestAnswer()
	for _, r := range p.rows {
		if r.claims(answers) {
			claims, claimants = append(claims, Claim{r.Spec.Name, r.facts.Timeline}), append(claimants, r)
		}
	}
	split, objections := p.fence.judge(claims)
	p.noteSplit(split, out)
	fenced := make(map[*row]string, len(p.rows))
	for i, r := range claimants {
		fenced[r] = objections[i]
	}
	for _, r := range p.rows {
		if r.facts.Role == healthcheck.RolePrimary && len(claims) > 0 && !slices.Contains(claimants, r) {
			fenced[r] = "does not answer, while " + claims[0].Name + " claims to be the primary"
		}
	}
	return fenced
}

func (p *Pool) noteSplit(split Split, out *Outcome) {
	if !split.equal(&p.split) {
		reason := ""
		if split.Refusing {
			reason = "new sessions are refused"
		}
		out.Changes = append(out.Changes, Change{Kind: SplitChanged, Old: p.split.String(), New: split.String(), Reason: reason})
		p.split = split
	}
}

// settleRow makes the ruling of one backend.
func (p *Pool) settleRow(r *row, fenced string, backupsServe bool, now time.Time, out *Outcome) {
	cause, words := p.objection(r, fenced)
	p.failback(r, cause == NoCause && r.breaker.State() != Open, backupsServe)
	if cause == NoCause && r.held {
		cause, words = ByFailback, "recovered, and waits for a person (failback = \"manual\")"
	}
	r.could = cause == NoCause && r.Mode == balancer.Ready && r.Spec.Weight > 0
	p.slowStart(r, cause == NoCause && r.breaker.State() == Closed && r.Mode != balancer.Maintenance, now)

	barred := cause != NoCause && cause != ByHealth || r.breaker.State() == Open
	if r.breaker.State() == Open && cause != ByAgent {
		cause, words = ByBreaker, "breaker open: "+r.tripped
	}
	if by, text := r.person(); by != NoCause {
		cause, words = by, text
	}
	r.publish(p.rule(r, cause, words, barred, now), fenced, p.o.Role, out)
	p.next = earliest(p.next, r.next(now))
}

// person is what people say.
func (r *row) person() (Cause, string) {
	switch {
	case r.Mode != balancer.Ready:
		return ByMode, "mode " + r.Mode.String()
	case r.Spec.Weight == 0:
		return ByWeight, "weight 0"
	}
	return NoCause, ""
}

// objection is what machines say, but for the breaker and failback.
func (p *Pool) objection(r *row, fenced string) (Cause, string) {
	switch {
	case r.wish == healthcheck.WishDrain || r.wish == healthcheck.WishMaintenance:
		return ByAgent, "its agent asks for " + r.wish.String()
	case wrongRole(r.facts.Role, p.o.Role):
		return ByRole, fmt.Sprintf("is a %s (want %s)", r.facts.Role, p.o.Role)
	case r.health == balancer.Down && r.reason != "":
		return ByHealth, "down: " + r.reason
	case r.health == balancer.Down:
		return ByHealth, "down"
	case fenced != "":
		return ByFence, fenced
	case r.health == balancer.Unchecked && r.Spec.NeedsProbe:
		return ByHealth, "not probed yet"
	}
	return NoCause, ""
}

func wrongRole(role, want healthcheck.Role) bool {
	return role != want && role != healthcheck.RoleUnknown && want != healthcheck.RoleUnknown
}

// slowStart begins a ramp when r comes back into service.
func (p *Pool) slowStart(r *row, able bool, now time.Time) {
	switch {
	case !able:
		r.ramp = ramp{}
	case !r.able && !r.fresh:
		r.ramp = ramp{now, p.o.SlowStart}
	default:
		r.ramp.over = min(r.ramp.over, p.o.SlowStart)
	}
	if r.able = able; able {
		r.fresh = false
	}
}

func (p *Pool) rule(r *row, cause Cause, words string, barred bool, now time.Time) Ruling {
	ruling := Ruling{
		Cause: cause, Excluded: words, Facts: r.facts, Wish: r.wish, Breaker: r.breaker.State(),
		Until: r.breaker.Until(), Ejections: r.breaker.Ejections, Held: r.held, settled: true,
	}
	ruling.Standing = balancer.Standing{
		Health: r.health, Barred: barred, Trial: r.breaker.State() == HalfOpen && !barred,
		Share: r.share(now), Limit: r.limit(now),
	}
	return ruling
}

// share is the part of its weight that r gets at now.
func (r *row) share(now time.Time) int {
	share := r.ramp.percent(now)
	if r.facts.Share > 0 {
		share = shareOf(r.facts.Share, share)
	}
	if share == 100 {
		return 0
	}
	return share
}

// limit is the most sessions that r may have at now.
func (r *row) limit(now time.Time) int {
	limit := r.facts.MaxConnections
	if most := r.Spec.MaxConnections; most > 0 && (limit == 0 || most < limit) {
		limit = most
	}
	if limit == 0 {
		return 0
	}
	return shareOf(limit, r.ramp.percent(now))
}

// publish takes the ruling over, and notes what is news in it.
func (r *row) publish(next Ruling, fenced string, want healthcheck.Role, out *Outcome) {
	old := r.ruling
	r.ruling = next
	if !old.settled || old.Standing != next.Standing {
		out.Standings[r.Backend] = next.Standing
	}
	tell := func(k Kind, old, new, why string) {
		out.Changes = append(out.Changes, Change{k, r.Backend, old, new, why})
	}
	if old.Breaker != next.Breaker {
		tell(BreakerChanged, old.Breaker.String(), next.Breaker.String(), r.tripped)
		out.Turned = append(out.Turned, r.Backend)
		if next.Breaker == Open {
			out.Opened = append(out.Opened, r.Backend)
		}
	}
	if role := next.Facts.Role; role != healthcheck.RoleUnknown && role != r.role {
		tell(RoleChanged, r.role.String(), role.String(), "")
		r.role = role
	}
	if was, is := old.special(), next.special(); was != is {
		tell(ExcludedChanged, was, is, "")
	}
	gone := r.health == balancer.Down || fenced != "" || wrongRole(r.facts.Role, want)
	if gone && !r.gone && old.settled {
		out.Lost = append(out.Lost, r.Backend)
	}
	r.gone = gone
}

// Objection is Excluded where that is the word of these rules, and not of people or probes.
func (r *Ruling) Objection() string {
	if r.Cause == ByBreaker {
		return r.Excluded
	}
	return r.special()
}

// special is Excluded where nobody else tells of it.
func (r *Ruling) special() string {
	switch r.Cause {
	case ByAgent, ByRole, ByFence, ByFailback:
		return r.Excluded
	}
	return ""
}

// next is when time changes something about r; zero if it does not.
func (r *row) next(now time.Time) time.Time {
	return earliest(earliest(r.breaker.Until(), r.trial.due), r.ramp.next(now))
}

// earliest is the earlier of two times of which a zero one is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
