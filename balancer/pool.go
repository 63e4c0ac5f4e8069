package balancer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

var (
	// ErrNoBackend is Acquire's error when no backend is usable at all.
	ErrNoBackend = errors.New("no usable backend")

	// ErrTried is Acquire's error when backends are usable, but the session has failed on each of them.
	ErrTried = errors.New("every usable backend was tried")
)

// State is a row of Pool.Backends: what is configured, what is known and what is counted.
type State struct {
	Spec
	Standing
	Backend *Backend
	Mode    Mode
	Active  int64
	Usable  bool // by standing, mode and weight; it may still be full
}

// Pool picks backends for sessions. All methods may be called by any number of goroutines at once.
//
//	New ─> Pool ──Acquire──> Backend ──Release──> (gone)
//	        │ SetHealth, SetStandings, SetMode, SetWeight, Apply: build a table, swap it in
//	        v
//	      table: what the next Acquire reads
type Pool struct {
	table     atomic.Pointer[table]
	rotations [tierCount]rotation
	random    func(n uint64) uint64 // nil: the rotations draw; set by tests only

	mu      sync.Mutex // guards what follows: everything from which a table is built
	chain   []algorithm
	keys    hashKeys
	slots   int
	members []member // in the order of the configuration
	index   map[*Backend]int

	onUsable func(bool)
	told     bool // what onUsable heard last
	telling  bool // a goroutine is in onUsable and will look again
}

// New makes a pool. All backends are unchecked and ready. The error joins everything that is wrong with
// the arguments.
func New(o Options, specs []Spec) (*Pool, error) {
	p := &Pool{}
	for i := range p.rotations {
		p.rotations[i].draws.Store(rand.Uint64())
	}
	if _, err := p.Apply(o, specs); err != nil {
		return nil, err
	}
	return p, nil
}

// Acquire picks a backend for a client and counts it active until its Release. client is the zero Addr if
// it has none. tried holds the backends on which this session has failed, which are not picked; nil means
// none. The error is ErrNoBackend or ErrTried. Acquire takes no lock and allocates nothing.
func (p *Pool) Acquire(client netip.Addr, tried *Tried) (*Backend, error) {
	return p.table.Load().acquire(request{client, tried})
}

// Usable counts the backends that standing, mode and weight let have new sessions. A full one counts, because
// that changes with every session, and so does one on trial.
func (p *Pool) Usable() int { return p.table.Load().usable }

// OnUsable has f called whenever Usable goes from zero to above (true) or back (false), starting from what
// it is now. Calls never overlap and the last one always tells the state that lasts; a change that was
// undone before f could hear of it is left out. f runs on the goroutine of a change, under no lock, and may
// use the pool. A pool has one such function: the last one set, nil for none.
func (p *Pool) OnUsable(f func(usable bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onUsable, p.told = f, p.Usable() > 0
}

// Backends lists the pool in the order of its configuration. Counts are read one after another while
// sessions come and go.
func (p *Pool) Backends() []State {
	return p.AppendBackends(nil)
}

// AppendBackends appends what Backends answers to states, for who asks again and again.
func (p *Pool) AppendBackends(states []State) []State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.states(states)
}

// states appends to states. It needs mu.
func (p *Pool) states(states []State) []State {
	states = slices.Grow(states, len(p.members))
	for i := range p.members {
		m := &p.members[i]
		states = append(states, State{
			Spec: m.spec, Standing: m.standing, Backend: m.backend, Mode: m.mode,
			Active: m.backend.Active(), Usable: m.place() != noTier,
		})
	}
	return states
}

// Has reports whether b is in the pool, and was not removed.
func (p *Pool) Has(b *Backend) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.index[b]
	return ok
}

// SetHealth notes what probes say of b. It reports whether that is news; it is not for a backend that was
// removed.
func (p *Pool) SetHealth(b *Backend, h Health) bool {
	return p.change(b, p.publishOne, func(m *member) bool { return replace(&m.standing.Health, h) })
}

// SetMode notes what a person says of b. It reports whether that is news; it is not for a backend that was
// removed.
func (p *Pool) SetMode(b *Backend, mode Mode) bool {
	return p.change(b, p.publishOne, func(m *member) bool { return replace(&m.mode, mode) })
}

// SetWeight gives b another weight, 0..MaxWeight, as if it were configured so: until the next Apply, and
// for ip-hash it moves as many clients as the weight asks for. It reports whether that is news; it is not
// for a backend that was removed. The error is a weight out of range.
func (p *Pool) SetWeight(b *Backend, weight int) (bool, error) {
	if err := checkWeight(weight); err != nil {
		return false, fmt.Errorf("backend %q: %w", b.name, err)
	}
	all := func(int) { p.publishAll() }
	return p.change(b, all, func(m *member) bool { return replace(&m.spec.Weight, weight) }), nil
}

// change edits b's member and, if edit says that something changed, publishes: for the member at i.
func (p *Pool) change(b *Backend, publish func(i int), edit func(*member) bool) bool {
	p.mu.Lock()
	defer p.unlock()
	i, ok := p.index[b]
	if !ok || !edit(&p.members[i]) {
		return false
	}
	publish(i)
	return true
}

func replace[T comparable](old *T, v T) bool {
	changed := *old != v
	*old = v
	return changed
}

// unlock releases mu and tells onUsable what it does not know yet. One goroutine at a time tells; another
// that changes something meanwhile leaves it to that one, which looks again. So calls keep the order of the
// changes, and f may change the pool itself.
func (p *Pool) unlock() {
	for usable := p.Usable() > 0; p.onUsable != nil && !p.telling && p.told != usable; usable = p.Usable() > 0 {
		f := p.onUsable
		p.told, p.telling = usable, true
		p.mu.Unlock()
		f(usable)
		p.mu.Lock()
		p.telling = false
	}
	p.mu.Unlock()
}
