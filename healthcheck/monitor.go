package healthcheck

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Check is one backend to watch. ID, Prober and Addresses are required; a
// number that is zero or less takes its default.
type Check struct {
	// ID names the check within its Monitor. It is the check's identity: a check
	// put again under the same ID keeps its state, counts and schedule.
	ID string

	Prober Prober

	// Addresses is asked before every probe and must not block. Several
	// addresses (a host name) are up as soon as one is; none is down, ReasonDNS.
	Addresses func() []Address

	Interval     time.Duration // from the start of a probe to that of the next; default 2 s
	FastInterval time.Duration // instead, while unchecked or between states; default Interval
	DownInterval time.Duration // instead, while down; default Interval
	Timeout      time.Duration // of one probe; default 1 s

	// Initial is the state before the first verdict; up and down are then left as
	// always, by Fall and Rise verdicts. It says nothing to a check that exists.
	Initial State

	Rise int // verdicts up in a row that bring it up; default 2
	Fall int // verdicts down in a row that bring it down; default 3

	// OnResult is told every result, OnChange, after it, every change of state.
	// Either may be nil. The calls for one check never overlap, hold no lock,
	// and delay the check's next probe. After the check is removed or Run's
	// context ends, a call that is just being made is the last one.
	OnResult func(Result)
	OnChange func(Change)
}

// Change is a change of state.
type Change struct {
	Old, New State
	Since    time.Time // when Old began
	At       time.Time // when New began
	Result   Result    // the one that tipped the scales
}

// Status is what a Monitor knows about one check.
type Status struct {
	ID      string
	State   State
	Since   time.Time // when State began; for unchecked: when the check was put
	Last    Result    // the zero Result before the first one
	LastAt  time.Time // when Last arrived; zero before
	Verdict Verdict   // the last known verdict
	Streak  int       // how many times in a row it came, unknown ones not counted
}

// Options of a Monitor; the zero value works.
type Options struct {
	// Concurrency is how many checks are probed at once, 1 or more; default
	// 1024. Each takes a goroutine, and a descriptor per address of the backend,
	// for as long as its probe lasts. When more checks are due, those that are
	// due for longest go first and the rest are late.
	Concurrency int

	// Rand draws from [0, 1) to spread the probes; default rand.Float64. Calls
	// never overlap.
	Rand func() float64
}

// Monitor probes many checks, each in its own rhythm. A check that waits is an
// entry in a queue: goroutines exist only for probes under way, plus the one
// that is in Run.
//
//	         due, and a slot is free
//	waiting ------------------------> probing: Probe, record, callbacks
//	   ^                                 |
//	   +---------------------------------+
//	     due again after its interval, or at once if triggered meanwhile
//
// The first probe of a check is due at once. The second one comes at a random
// point of the first interval, and the later ones an interval apart give or
// take a tenth, so that checks which began together do not stay together.
//
// All methods may be called at any time, from callbacks too.
type Monitor struct {
	rand func() float64
	wake chan struct{} // holds a token when Run has to look at the queue again

	mu      sync.Mutex
	limit   int
	tasks   map[string]*task
	queue   queue // the tasks that are not probing
	probing int   // how many are
}

// task is one check with its state; guarded by Monitor.mu.
type task struct {
	check     Check // with its defaults filled in
	threshold Threshold
	since     time.Time // when the state began
	last      Result
	lastAt    time.Time

	due     time.Time // meaningless while probing
	place   int       // in the queue, from 1; 0 when not queued
	started time.Time // the last probe's start; zero before the first
	spread  bool      // the first pause has been drawn

	cancel context.CancelFunc // ends the probe under way; nil when there is none
	again  bool               // triggered while probing
	gone   bool               // removed
}

const (
	defaultConcurrency = 1024
	defaultInterval    = 2 * time.Second
	defaultTimeout     = time.Second
	defaultRise        = 2
	defaultFall        = 3

	// triggerGap is the least time between the starts of two probes of one
	// check, so that a caller that triggers on every failed connection cannot
	// turn the prober into a flood. A shorter interval is a shorter gap.
	triggerGap = 100 * time.Millisecond

	// idleWait is how long Run sleeps when nothing is queued; putting a check
	// wakes it.
	idleWait = time.Hour
)

// NewMonitor is a Monitor without checks. They are probed while Run runs.
func NewMonitor(o Options) *Monitor {
	if o.Concurrency < 1 {
		o.Concurrency = defaultConcurrency
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	return &Monitor{
		limit: o.Concurrency,
		rand:  o.Rand,
		wake:  make(chan struct{}, 1),
		tasks: make(map[string]*task),
	}
}

// Run probes until ctx ends, then cancels the probes under way and returns
// when they, and their callbacks, have returned. It may be called again
// afterwards, but not twice at a time.
func (m *Monitor) Run(ctx context.Context) {
	var probes sync.WaitGroup
	defer probes.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(m.launch(ctx, &probes))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-m.wake:
		}
	}
}

// launch starts the probes that are due, as far as there are slots, and
// returns how long to wait for the next one. Without a free slot that is
// long: the probe that ends wakes Run.
func (m *Monitor) launch(ctx context.Context, probes *sync.WaitGroup) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for m.probing < m.limit {
		t := m.queue.pop(now)
		if t == nil {
			break
		}
		m.probing++
		m.start(ctx, t, now, probes)
	}
	next, ok := m.queue.next()
	if !ok || m.probing >= m.limit {
		return idleWait
	}
	return next.Sub(now)
}

func (m *Monitor) start(ctx context.Context, t *task, now time.Time, probes *sync.WaitGroup) {
	ctx, t.cancel = context.WithTimeout(ctx, t.check.Timeout)
	t.started = now
	prober, addresses := t.check.Prober, t.check.Addresses
	probes.Go(func() {
		m.finish(ctx, t, ProbeAny(ctx, prober, addresses()))
	})
}

// finish takes the result of a probe, reports it, and lets t wait again. Only
// then can the next probe of t start, so that its callbacks do not overlap.
func (m *Monitor) finish(ctx context.Context, t *task, r Result) {
	m.record(ctx, t, r)
	m.requeue(t)
}

// record adds r to t's history and calls back. A result whose probe was
// cancelled, since t is removed or Run is ending, is dropped.
func (m *Monitor) record(ctx context.Context, t *task, r Result) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	m.mu.Lock()
	now := time.Now()
	t.last, t.lastAt = r, now
	change := Change{Old: t.threshold.State(), Since: t.since, At: now, Result: r}
	var changed bool
	if change.New, changed = t.threshold.Observe(r.Verdict); changed {
		t.since = now
	}
	onResult, onChange := t.check.OnResult, t.check.OnChange
	m.mu.Unlock()

	if onResult != nil {
		onResult(r)
	}
	if changed && onChange != nil {
		onChange(change)
	}
}

func (m *Monitor) requeue(t *task) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.cancel()
	t.cancel = nil
	m.probing--
	switch {
	case t.gone:
	case t.again:
		t.again = false
		m.queue.put(t, t.soonest())
	default:
		m.queue.put(t, t.started.Add(m.pause(t)))
	}
	m.poke()
}

// pause draws the time from the last start of t to the next one.
func (m *Monitor) pause(t *task) time.Duration {
	interval := float64(t.check.interval(&t.threshold))
	if !t.spread {
		t.spread = true
		return time.Duration(interval * m.rand())
	}
	return time.Duration(interval * (0.9 + 0.2*m.rand()))
}

// poke makes Run look at the queue.
func (m *Monitor) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// SetConcurrency changes Options.Concurrency; less than 1 is the default. Probes under
// way are not ended by it.
func (m *Monitor) SetConcurrency(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = positive(n, defaultConcurrency)
	m.poke()
}

// Put adds checks. Where one of the same ID exists, it takes over the new
// definition but keeps its state, counts and schedule; a probe under way is
// counted, and its result goes to the new callbacks.
func (m *Monitor) Put(checks ...Check) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(checks)
}

func (m *Monitor) put(checks []Check) {
	now := time.Now()
	for _, c := range checks {
		m.putOne(c.withDefaults(), now)
	}
	m.poke()
}

func (m *Monitor) putOne(c Check, now time.Time) {
	t, ok := m.tasks[c.ID]
	if !ok {
		t = &task{check: c, threshold: NewThreshold(c.Rise, c.Fall).From(c.Initial), since: now}
		m.tasks[c.ID] = t
		m.queue.put(t, now)
		return
	}
	t.check = c
	t.threshold.SetLimits(c.Rise, c.Fall)
	// A shorter interval counts from now on, a longer one from the next probe on.
	if soon := t.started.Add(c.interval(&t.threshold)); t.place > 0 && soon.Before(t.due) {
		m.queue.put(t, soon)
	}
}

// Remove removes checks; unknown IDs are ignored. A probe under way is
// cancelled and its result dropped.
func (m *Monitor) Remove(ids ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		m.remove(id)
	}
}

func (m *Monitor) remove(id string) {
	t, ok := m.tasks[id]
	if !ok {
		return
	}
	delete(m.tasks, id)
	t.gone = true
	m.queue.remove(t)
	if t.cancel != nil {
		t.cancel()
	}
}

// Replace has checks take the place of old: those of old that are not among checks
// are removed as by Remove, and checks are put as by Put.
func (m *Monitor) Replace(old []string, checks []Check) {
	stay := make(map[string]bool, len(checks))
	for _, c := range checks {
		stay[c.ID] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range old {
		if !stay[id] {
			m.remove(id)
		}
	}
	m.put(checks)
}

// Trigger asks for a probe at once, and says whether the check exists. While a
// probe is under way, another one follows it, because the first may have
// looked before what the caller has seen. Between two starts there is at least
// a tenth of a second, or the interval if that is shorter.
func (m *Monitor) Trigger(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tasks[id]
	if !ok {
		return false
	}
	if t.cancel != nil {
		t.again = true
		return true
	}
	if soon := t.soonest(); soon.Before(t.due) {
		m.queue.put(t, soon)
		m.poke()
	}
	return true
}

// soonest is the earliest time at which a trigger may start a probe.
func (t *task) soonest() time.Time {
	return t.started.Add(min(triggerGap, t.check.interval(&t.threshold)))
}

// Status is what is known about one check, and false if there is none.
func (m *Monitor) Status(id string) (Status, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tasks[id]
	if !ok {
		return Status{}, false
	}
	return t.status(), true
}

// Statuses is what is known about all checks, ordered by ID.
func (m *Monitor) Statuses() []Status {
	m.mu.Lock()
	all := make([]Status, 0, len(m.tasks))
	for _, t := range m.tasks {
		all = append(all, t.status())
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (t *task) status() Status {
	verdict, streak := t.threshold.Streak()
	return Status{
		ID: t.check.ID, State: t.threshold.State(), Since: t.since,
		Last: t.last, LastAt: t.lastAt, Verdict: verdict, Streak: streak,
	}
}

func (c Check) withDefaults() Check {
	c.Interval = positive(c.Interval, defaultInterval)
	c.FastInterval = positive(c.FastInterval, c.Interval)
	c.DownInterval = positive(c.DownInterval, c.Interval)
	c.Timeout = positive(c.Timeout, defaultTimeout)
	c.Rise = positive(c.Rise, defaultRise)
	c.Fall = positive(c.Fall, defaultFall)
	return c
}

// positive is v, or fallback when v is not above zero.
func positive[T int | time.Duration](v, fallback T) T {
	if v > 0 {
		return v
	}
	return fallback
}

// interval is the one that t's state asks for.
func (c *Check) interval(t *Threshold) time.Duration {
	switch {
	case !t.Settled():
		return c.FastInterval
	case t.State() == StateDown:
		return c.DownInterval
	}
	return c.Interval
}
