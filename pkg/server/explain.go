package server

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
)

// Explanation says which backend a connection would get now, and why.
type Explanation struct {
	Listener, Pool string
	Client         netip.Addr // the zero value for a client of a unix socket
	Backend        string     // the pick; "" if there is none
	Algorithm      string     // of the pool's chain, the one that picked; "" without a pick
	Reason         string     // one sentence for a person
	RefusedBy      string     // what would keep the client from a backend, or from coming in; "" if nothing
	Candidates     []Candidate
}

// Candidate is one backend in an Explanation.
type Candidate struct {
	balancer.Candidate
	Check    healthcheck.Status // the zero value without probes
	Picked   bool
	Usable   bool      // it could have the client, if not now then when it is its tier's turn
	Excluded string    // why it is not the pick, where another one's being better is not all; else ""
	Since    time.Time // when that began, where it is known
}

// question is what is asked, with all that an answer may look at.
type question struct {
	s        *Server
	listener *listener
	pool     *pool
	client   netip.Addr
	pick     *balancer.Explanation
}

// refusals are what can keep a client out before a backend is picked, in the order in
// which it meets them. Each answers in words, "" if it has nothing against the client.
var refusals = []func(q *question) string{
	(*question).stopping,
	(*question).shut,
}

// exclusions are what can keep a backend from being picked, the weightiest first. Each
// answers in words, "" if it has nothing against the backend, and since when if that is
// known.
var exclusions = []func(q *question, c *Candidate) (why string, since time.Time){
	excludedByMode,
	excludedByWeight,
	excludedByHealth,
	excludedByProbe,
	excludedByLimit,
}

// Explain answers which backend a client of a listener would get now, without a trace: no
// connection is opened, no turn of the pool's is taken. listener may be empty where there
// is only one. The error is ErrUnknown, or ErrRefused for an empty name that is not clear.
func (s *Server) Explain(listener string, client netip.Addr) (*Explanation, error) {
	q, err := s.question(listener, client)
	if err != nil {
		return nil, err
	}
	e := &Explanation{
		Listener: q.listener.cfg.Name, Pool: q.pool.cfg.Name, Client: client,
		RefusedBy: q.refusedBy(), Candidates: q.candidates(),
	}
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
	q := &question{s: s, listener: l, pool: st.pool(l.cfg.Pool), client: client}
	pick := q.pool.balancer.Explain(client)
	q.pick = &pick
	return q, nil
}

func (st *state) listenerNames() []string {
	names := make([]string, len(st.listeners))
	for i, l := range st.listeners {
		names[i] = l.cfg.Name
	}
	return names
}

func (q *question) refusedBy() string {
	for _, refuses := range refusals {
		if why := refuses(q); why != "" {
			return why
		}
	}
	return ""
}

func (q *question) stopping() string {
	if q.s.stopping.Load() {
		return "the process is stopping"
	}
	return ""
}

func (q *question) shut() string {
	if q.listener.front.Shut.Load() {
		return "when_down: the listener does not listen while its pool has no usable backend"
	}
	return ""
}

// candidates says of each backend what is against it.
func (q *question) candidates() []Candidate {
	all := make([]Candidate, len(q.pick.Candidates))
	for i, b := range q.pick.Candidates {
		c := &all[i]
		c.Candidate = b
		c.Check, _ = q.s.monitor.Status(checkID(q.pool.cfg.Name, b.Backend))
		c.Picked = q.pick.Backend != nil && b.Backend == q.pick.Backend
		c.Excluded, c.Since = q.excluded(c)
		c.Usable = c.Excluded == ""
		if c.Usable && q.pick.Backend != nil && b.Tier > q.pick.Tier {
			c.Excluded = outranked(b.Tier, q.pick.Tier)
		}
	}
	return all
}

func (q *question) excluded(c *Candidate) (why string, since time.Time) {
	for _, excludes := range exclusions {
		if why, since = excludes(q, c); why != "" {
			return why, since
		}
	}
	return "", time.Time{}
}

func excludedByMode(q *question, c *Candidate) (string, time.Time) {
	if c.Mode == balancer.Ready {
		return "", time.Time{}
	}
	return "mode is " + c.Mode.String(), q.s.modeSince(q.pool.cfg.Name, c.Name)
}

func excludedByWeight(_ *question, c *Candidate) (string, time.Time) {
	if c.Weight > 0 {
		return "", time.Time{}
	}
	return "weight is 0", time.Time{}
}

func excludedByHealth(_ *question, c *Candidate) (string, time.Time) {
	if c.Health != balancer.Down {
		return "", time.Time{}
	}
	why := "health is down"
	if text := c.Check.Last.Text(); text != "" {
		why += ": " + text
	}
	return why, c.Check.Since
}

func excludedByProbe(_ *question, c *Candidate) (string, time.Time) {
	if c.Health != balancer.Unchecked || !c.NeedsProbe {
		return "", time.Time{}
	}
	return "unchecked: it needs a good probe first", c.Check.Since
}

func excludedByLimit(_ *question, c *Candidate) (string, time.Time) {
	if !c.Full {
		return "", time.Time{}
	}
	return fmt.Sprintf("full: %d of max_connections %d", c.Active, c.MaxConnections), time.Time{}
}

// outranked says why a usable backend of a tier has no turn while another tier serves.
func outranked(tier, serving balancer.Tier) string {
	if tier >= balancer.TierBackupUp && serving < balancer.TierBackupUp {
		return "backup: not needed while another backend is usable"
	}
	return "unchecked: not needed while a backend that is up is usable"
}

// modeSince is when a person set the mode that a backend has; the zero value if nobody
// did.
func (s *Server) modeSince(pool, backend string) time.Time {
	for _, o := range s.Overrides() {
		if o.Pool == pool && o.Backend == backend {
			return o.ModeSince
		}
	}
	return time.Time{}
}

// reason is the answer in a sentence.
func (q *question) reason(e *Explanation) string {
	if e.Backend == "" {
		return fmt.Sprintf("No backend of pool %s is usable: a connection would be %s.", e.Pool, q.fate())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s picks %s", e.Algorithm, e.Backend)
	for i := range e.Candidates {
		if c := &e.Candidates[i]; c.Picked {
			fmt.Fprintf(&b, " because %s", q.because(e.Algorithm, c))
		}
	}
	if len(q.pick.Passed) > 0 {
		fmt.Fprintf(&b, "; the proposal of %s is not usable", strings.Join(q.pick.Passed, " and of "))
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
	return "reset"
}

// because is what an algorithm went by.
func (q *question) because(algorithm string, c *Candidate) string {
	switch algorithm {
	case "least-connections":
		return fmt.Sprintf("it has the least load: %s; of equals the next one in turn", load(c))
	case "ip-hash":
		if !q.client.IsValid() {
			return "a client without an address has no home, so it is the next one in turn"
		}
		return "it is the home of this address, or stands in for one that is not usable"
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
