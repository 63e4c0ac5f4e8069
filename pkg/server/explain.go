package server

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/splice"
)

// Explanation says which backend a connection would get now, and why.
type Explanation struct {
	Listener, Pool string
	Client         netip.Addr // the zero value for a client of a unix socket
	Backend        string     // the pick; "" if there is none
	Algorithm      string     // of the pool's chain, the one that picked; "" without a pick
	Reason         string     // one sentence for a person
	RefusedBy      string     // what would keep the client from a backend, or from coming in; "" if nothing
	Outcome        Outcome
	Candidates     []Candidate
}

// Outcome is what becomes of a client.
type Outcome string

const (
	OutcomeServed  Outcome = "served"  // it gets a backend
	OutcomeRefused Outcome = "refused" // reset, or refused by the kernel
	OutcomeHeld    Outcome = "held"    // accepted, but not read from until it fits a limit
	OutcomeQueued  Outcome = "queued"  // not accepted until a session ends
)

// Candidate is one backend in an Explanation.
type Candidate struct {
	balancer.Candidate
	Check     healthcheck.Status // the zero value without probes
	Ruling    Ruling
	ModeSince time.Time // when a person set its mode; zero if nobody did
	Picked    bool
	Usable    bool      // nothing is against it; it may still have to wait for its tier's turn
	Excluded  string    // what is against it, or why its tier has no turn; "" if another one is just better
	Since     time.Time // when that began, where it is known

	rateWait time.Duration // until it is below its rate; 0 if it is
}

// question is what is asked, with all that an answer may look at.
type question struct {
	s        *Server
	listener *listener
	pool     *pool
	client   netip.Addr
	pick     balancer.Explanation
}

// refusals are what can keep a client out before a backend is picked, in the order in
// which it meets them. Each answers in words, "" if it has nothing against the client, and
// what becomes of that one.
var refusals = []func(*question) (string, Outcome){
	refusedByStop,
	refusedByWhenDown,
	refusedByLimit,
	refusedByAdmission,
}

// exclusions are what can keep a backend from being picked, the weightiest first. Each
// answers in words, "" if it has nothing against the backend, and since when if that is
// known.
var exclusions = []func(*Candidate) (why string, since time.Time){
	excludedByMode,
	excludedByWeight,
	excludedByStanding,
	excludedByHealth,
	excludedUnchecked,
	excludedByDNS,
	excludedByLimit,
	excludedByRate,
}

// Explain answers which backend a client of a listener would get now, without a trace: no
// connection is opened, no turn of the pool's is taken. listener may be empty where there
// is only one. The error is ErrUnknown, or ErrRefused for an empty name that is not clear.
func (s *Server) Explain(listener string, client netip.Addr) (*Explanation, error) {
	q, err := s.question(listener, client)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Listener: q.listener.cfg.Name, Pool: q.pool.cfg.Name, Client: client, Candidates: q.candidates()}
	e.RefusedBy, e.Outcome = q.refusedBy()
	if b := q.pick.Backend; b != nil {
		e.Backend, e.Algorithm = b.Name(), q.pick.Algorithm
	}
	e.Reason = q.reason(e)
	return e, nil
}

func (s *Server) question(name string, client netip.Addr) (*question, error) {
	st := s.state.Load()
	l := st.listener(name)
	switch {
	case name == "" && len(st.listeners) == 1:
		l = st.listeners[0]
	case name == "":
		return nil, fmt.Errorf("listener: %w: name one of %s", ErrRefused, strings.Join(st.listenerNames(), ", "))
	case l == nil:
		return nil, fmt.Errorf("listener %q: %w", name, ErrUnknown)
	}
	p := st.pool(l.cfg.Pool)
	return &question{s: s, listener: l, pool: p, client: client, pick: p.balancer.Explain(client, p.passedOver)}, nil
}

func (st *state) listenerNames() []string {
	names := make([]string, len(st.listeners))
	for i, l := range st.listeners {
		names[i] = l.cfg.Name
	}
	return names
}

func (q *question) refusedBy() (string, Outcome) {
	for _, refused := range refusals {
		if why, outcome := refused(q); why != "" {
			return why, outcome
		}
	}
	switch {
	case q.pick.Backend != nil:
		return "", OutcomeServed
	case q.heldByRate():
		return "", OutcomeHeld
	}
	return "", OutcomeRefused
}

func refusedByStop(q *question) (string, Outcome) {
	if q.s.stopping.Load() {
		return "the process is stopping", OutcomeRefused
	}
	return "", ""
}

func refusedByWhenDown(q *question) (string, Outcome) {
	if q.listener.front.Shut.Load() {
		return "when_down: the listener does not listen while its pool has no usable backend", OutcomeRefused
	}
	return "", ""
}

// refusedByLimit is not quite a refusal: the client waits until a session ends, or it
// gives up.
func refusedByLimit(q *question) (string, Outcome) {
	for _, g := range []struct {
		whose string
		*splice.Gate
	}{{"listener " + q.listener.cfg.Name, &q.listener.front.Gate}, {"the process", &q.s.gate}} {
		if used, limit := g.Used(), g.Limit(); limit > 0 && used >= limit {
			return fmt.Sprintf("limit: %s has %d of %d sessions, so the client waits in the kernel's queue", g.whose, used, limit), OutcomeQueued
		}
	}
	return "", ""
}

// candidates says of each backend what is against it.
func (q *question) candidates() []Candidate {
	all := make([]Candidate, len(q.pick.Candidates))
	overrides := q.s.Overrides()
	for i, b := range q.pick.Candidates {
		c := &all[i]
		c.Candidate = b
		c.Check, _ = q.s.monitor.Status(checkID(b.Backend))
		c.Ruling = q.pool.keeper.ruling(b.Backend)
		c.ModeSince = modeSince(overrides, q.pool.cfg.Name, b.Name)
		c.Picked = q.pick.Backend != nil && b.Backend == q.pick.Backend
		c.rateWait = q.pool.rateWait(b.Backend)
		c.Excluded, c.Since = excluded(c)
		c.Usable = c.Excluded == ""
		if c.Usable && q.pick.Backend != nil && b.Tier > q.pick.Tier {
			c.Excluded = outranked(b.Tier, q.pick.Tier)
		}
	}
	return all
}

// modeSince is when a person set the mode that a backend has; zero if nobody did.
func modeSince(overrides []Override, pool, backend string) time.Time {
	for i := range overrides {
		if o := &overrides[i]; o.Pool == pool && o.Backend == backend {
			return o.ModeSince
		}
	}
	return time.Time{}
}

func excluded(c *Candidate) (why string, since time.Time) {
	for _, excluded := range exclusions {
		if why, since = excluded(c); why != "" {
			return why, since
		}
	}
	return "", time.Time{}
}

// Excluded says in words why the backend gets no new sessions; it is empty if it may.
func (b *BackendSnapshot) Excluded() string {
	if b.Removed { // of which no weight, no mode and no health is left to blame
		return "it was removed; its last sessions may end"
	}
	full := b.MaxConnections > 0 && b.Active >= int64(b.MaxConnections)
	why, _ := excluded(&Candidate{Candidate: balancer.Candidate{State: b.State, Full: full}, Check: b.Check, Ruling: b.Ruling})
	return why
}

func excludedByMode(c *Candidate) (string, time.Time) {
	if c.Mode == balancer.Ready {
		return "", time.Time{}
	}
	return "mode is " + c.Mode.String(), c.ModeSince
}

func excludedByWeight(c *Candidate) (string, time.Time) {
	if c.Weight > 0 {
		return "", time.Time{}
	}
	return "weight is 0", time.Time{}
}

func excludedByStanding(c *Candidate) (string, time.Time) {
	return c.Ruling.Objection(), time.Time{}
}

func excludedByHealth(c *Candidate) (string, time.Time) {
	if c.Health != balancer.Down {
		return "", time.Time{}
	}
	why := "health is down"
	if text := c.Check.Last.Text(); text != "" {
		why += ": " + text
	}
	return why, c.Check.Since
}

func excludedUnchecked(c *Candidate) (string, time.Time) {
	if c.Health != balancer.Unchecked || !c.NeedsProbe {
		return "", time.Time{}
	}
	return "unchecked: it needs a good probe first", c.Check.Since
}

func excludedByDNS(c *Candidate) (string, time.Time) {
	if !unresolved(c.Backend) {
		return "", time.Time{}
	}
	return "dns: the host name is not resolved", time.Time{}
}

// unresolved reports whether a session has no address of b to connect to.
func unresolved(b *balancer.Backend) bool {
	t := b.Value().(*proxy.Target)
	return t.Unix == "" && len(t.Addrs()) == 0
}

func excludedByLimit(c *Candidate) (string, time.Time) {
	if !c.Full {
		return "", time.Time{}
	}
	return fmt.Sprintf("full: %d active of at most %d", c.Active, c.MaxConnections), time.Time{}
}

// outranked says why a usable backend of a tier has no turn while another tier serves.
func outranked(tier, serving balancer.Tier) string {
	if tier >= balancer.TierBackupUp && serving < balancer.TierBackupUp {
		return "backup: not needed while another backend is usable"
	}
	return "unchecked: not needed while a backend that is up is usable"
}

// kept says how a client is kept out.
var kept = map[Outcome]string{OutcomeRefused: "kept out", OutcomeHeld: "held until it fits", OutcomeQueued: "kept out as yet"}

// reason is the answer in a sentence.
func (q *question) reason(e *Explanation) string {
	if e.Backend == "" {
		return fmt.Sprintf("No backend of pool %s is usable: a connection would be %s.", e.Pool, q.fate())
	}
	var b strings.Builder
	if e.RefusedBy != "" {
		fmt.Fprintf(&b, "The client is %s (%s); if it were not: ", kept[e.Outcome], e.RefusedBy)
	}
	fmt.Fprintf(&b, "%s picks %s", e.Algorithm, e.Backend)
	for i := range e.Candidates {
		if c := &e.Candidates[i]; c.Picked {
			fmt.Fprintf(&b, " because %s", q.because(e.Algorithm, c))
		}
	}
	if len(q.pick.Passed) > 0 {
		fmt.Fprintf(&b, "; %s proposes none that is usable", strings.Join(q.pick.Passed, ", then "))
	}
	switch q.pick.Tier {
	case balancer.TierUnchecked:
		b.WriteString("; no backend that is up is usable, so one that was not probed yet serves")
	case balancer.TierBackupUp, balancer.TierBackupUnchecked:
		b.WriteString("; only backups are usable")
	}
	b.WriteString(".")
	return b.String()
}

// fate is what becomes of a client without a backend.
func (q *question) fate() string {
	if q.pool.cfg.WhenDown == config.WhenDownUnlisten && q.pool.balancer.Usable() == 0 {
		return "refused by the kernel (when_down is unlisten)"
	}
	if q.heldByRate() {
		return "held until one is below its rate"
	}
	return "reset"
}

// because is what an algorithm went by.
func (q *question) because(algorithm string, c *Candidate) string {
	switch algorithm {
	case "least-connections":
		return fmt.Sprintf("it has the least load: %s; of equals it is the next in turn", load(c))
	case "ip-hash":
		switch {
		case !q.client.IsValid():
			return "a client without an address has no home, and it is the next in turn"
		case c.Backend == q.pick.Home:
			return "it is the home of this address"
		}
		return fmt.Sprintf("%s, the home of this address, is not usable", q.pick.Home.Name())
	case "round-robin":
		return "it is its turn"
	case "random-two":
		return fmt.Sprintf("it is the less loaded of the two that the next draw gives: %s", load(c))
	case "first":
		return "it is the first one that is not full"
	}
	return "it suits best"
}

func load(c *Candidate) string {
	return fmt.Sprintf("(%d active + 1) / weight %d = %.3g", c.Active, c.Weight, c.Load)
}
