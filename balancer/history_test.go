package balancer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// The model is the balancer said once more, slowly and plainly: no tables, no precomputed orders, one
// goroutine. Histories of random operations run on both and must agree.

type modelBackend struct {
	Spec
	Standing
	mode   Mode
	active int
}

// share is its weight as it is now, in hundredths.
func (b *modelBackend) share() int {
	if b.Share == 0 {
		return 100 * b.Weight
	}
	return b.Share * b.Weight
}

type modelPool struct {
	chain    []string
	hashKey  string
	size     int // hash slots
	backends []*modelBackend
	turns    [tierCount]uint64 // round-robin
	next     [tierCount]int    // least-connections
}

// tier lists who stands in a tier, in order.
func (m *modelPool) tier(k int) (in []*modelBackend) {
	for _, b := range m.backends {
		may := b.mode == Ready && b.Weight > 0 && !b.Barred && (b.Health == Up || b.Health == Unchecked && !b.NeedsProbe)
		at := 0
		if b.Backup {
			at += 2
		}
		if b.Health == Unchecked {
			at++
		}
		if may && at == k {
			in = append(in, b)
		}
	}
	return in
}

func (b *modelBackend) full() bool {
	return b.MaxConnections > 0 && b.active >= b.MaxConnections || b.Limit > 0 && b.active >= b.Limit
}

type modelPick struct {
	m      *modelPool
	k      int // tier
	in     []*modelBackend
	client netip.Addr
	tried  map[string]bool
}

func (p *modelPick) usable(b *modelBackend) bool { return !b.full() && !p.tried[b.Name] }

// whichever is the model's answer for random-two: any that is usable.
var whichever = &modelBackend{Spec: Spec{Name: "any usable"}}

// acquire answers the backend that the pool must pick, whichever if chance decides among usable, and an error.
func (m *modelPool) acquire(client netip.Addr, tried map[string]bool) (pick *modelPick, want *modelBackend, err error) {
	err = ErrNoBackend
	for k := range tierCount {
		p := &modelPick{m, k, m.tier(k), client, tried}
		for i, name := range m.chain {
			if len(p.in) == 0 {
				break
			}
			last := i == len(m.chain)-1
			if b := p.by(name, last); b != nil && (b == whichever || p.usable(b)) {
				return p, b, nil
			}
		}
		for _, b := range p.in {
			if tried[b.Name] && !b.full() {
				err = ErrTried
			}
		}
	}
	return nil, nil, err
}

// by is the choice of one algorithm among the usable, or its proposal among all.
func (p *modelPick) by(name string, choose bool) *modelBackend {
	suits := p.usable
	if !choose {
		suits = func(*modelBackend) bool { return true }
	}
	left := slices.DeleteFunc(slices.Clone(p.in), func(b *modelBackend) bool { return !suits(b) })
	switch {
	case name == "first":
		if len(left) > 0 {
			return left[0]
		}
		return nil
	case name == "random-two":
		if len(left) > 0 {
			return whichever
		}
		return nil
	case name == "least-connections":
		return p.least(suits)
	case name == "ip-hash" && p.client.IsValid():
		return p.hash(choose, left)
	case name == "ip-hash" && !choose:
		return nil
	default: // round-robin
		return p.turn(choose)
	}
}

func (p *modelPick) least(suits func(*modelBackend) bool) (best *modelBackend) {
	n := len(p.in)
	for i := range n {
		b := p.in[(p.m.next[p.k]+i)%n]
		if suits(b) && (best == nil || float64(b.active+1)/float64(b.share()) < float64(best.active+1)/float64(best.share())) {
			best = b
		}
	}
	if best != nil {
		p.m.next[p.k] = slices.Index(p.in, best) + 1
	}
	return best
}

// turn plays nginx's smooth order from its start.
func (p *modelPick) turn(choose bool) *modelBackend {
	unit, total := 0, 0
	for _, b := range p.in {
		a, c := b.share(), unit
		for c != 0 {
			a, c = c, a%c
		}
		unit = a
		total += b.share()
	}
	for range min(voidTurns, total/unit) {
		turn := int(p.m.turns[p.k] % uint64(total/unit))
		p.m.turns[p.k]++
		credit := make([]int, len(p.in))
		best := 0
		for range turn + 1 {
			for i, b := range p.in {
				credit[i] += b.share()
			}
			best = slices.Index(credit, slices.Max(credit))
			credit[best] -= total
		}
		if !choose || p.usable(p.in[best]) {
			return p.in[best]
		}
	}
	return p.least(p.usable)
}

func (p *modelPick) hash(choose bool, left []*modelBackend) *modelBackend {
	keys := newHashKeys(p.m.hashKey)
	slots, configured := p.m.maglev(keys, p.in[0].Backup)
	address := p.client.Unmap().WithZone("").As16()
	at := func(message []byte) *modelBackend {
		b := configured[slots[keys.client.sum(message)%uint64(len(slots))]]
		if slices.Contains(p.in, b) {
			return b
		}
		return nil
	}
	if b := at(address[:]); b != nil && (!choose || p.usable(b)) || !choose {
		return b
	}
	for i := range uint64(32) {
		if b := at(binary.LittleEndian.AppendUint64(address[:], i+1)); b != nil && p.usable(b) {
			return b
		}
	}
	var best *modelBackend
	var highest float64
	for _, b := range left {
		id := keys.name.sum([]byte(b.Name))
		h := keys.client.sum(binary.LittleEndian.AppendUint64(address[:], id))
		s := float64(b.Weight) / -math.Log((float64(h>>11)+0.5)/(1<<53))
		if best == nil || s > highest {
			best, highest = b, s
		}
	}
	return best
}

// maglev is section 3.4 of the paper with turns by weight, for one group.
func (m *modelPool) maglev(keys hashKeys, backup bool) (slots []int, seats []*modelBackend) {
	heaviest := 0
	for _, b := range m.backends {
		if b.Backup == backup && b.Weight > 0 {
			seats = append(seats, b)
			heaviest = max(heaviest, b.Weight)
		}
	}
	slices.SortFunc(seats, func(a, b *modelBackend) int {
		if a.Weight != b.Weight {
			return b.Weight - a.Weight
		}
		return strings.Compare(a.Name, b.Name)
	})
	slots = slices.Repeat([]int{-1}, m.size)
	next, claims := make([]uint64, len(seats)), make([]int, len(seats))
	n := uint64(m.size)
	for round := 1; slices.Contains(slots, -1); round++ {
		for i, b := range seats {
			if round*b.Weight < claims[i]*heaviest || !slices.Contains(slots, -1) {
				continue
			}
			claims[i]++
			h := keys.name.sum([]byte(b.Name))
			for {
				c := (h%n + next[i]*(h/n%(n-1)+1)) % n
				next[i]++
				if slots[c] < 0 {
					slots[c] = i
					break
				}
			}
		}
	}
	return slots, seats
}

// history runs operations on both, as chance says: a number below n each time it is asked, and false when
// it is exhausted.
type history struct {
	t      *testing.T
	chance func(n int) (int, bool)
	pool   *Pool
	model  *modelPool
	held   []*Backend
	owner  map[*Backend]*modelBackend // also of removed ones
	steps  int
}

var modelChains = []string{
	"least-connections", "ip-hash", "round-robin", "random-two", "first",
	"ip-hash,least-connections", "least-connections,ip-hash", "round-robin,least-connections", "first,round-robin", "ip-hash,first,round-robin",
}

func (h *history) below(n int) int {
	v, _ := h.chance(n)
	return v
}

func (h *history) run() {
	h.owner = make(map[*Backend]*modelBackend)
	h.model = &modelPool{}
	h.apply()
	for {
		op, more := h.chance(20)
		if !more {
			break
		}
		h.steps++
		h.step(op)
		if h.t.Failed() {
			return
		}
	}
	for len(h.held) > 0 {
		h.release()
	}
	for b := range h.owner {
		if n := b.Active(); n != 0 {
			h.t.Errorf("at the end %s has %d active; want 0", b.Name(), n)
		}
	}
}

func (h *history) step(op int) {
	switch {
	case op < 9:
		h.acquire()
	case op < 14:
		h.release()
	case op < 16:
		h.edit(func(b *Backend, m *modelBackend) {
			m.Health = Health(h.below(3))
			h.pool.SetHealth(b, m.Health)
		})
	case op < 17:
		h.edit(func(b *Backend, m *modelBackend) {
			m.mode = Mode(max(0, h.below(6)-3))
			h.pool.SetMode(b, m.mode)
		})
	case op < 18 && h.below(2) == 0:
		h.standings()
	case op < 18:
		h.edit(func(b *Backend, m *modelBackend) {
			m.Weight = h.below(5)
			h.pool.SetWeight(b, m.Weight)
		})
	case h.below(4) == 0:
		h.apply()
	}
	h.compare()
}

// standings changes several at once.
func (h *history) standings() {
	all := map[*Backend]Standing{}
	for range 1 + h.below(3) {
		h.edit(func(b *Backend, m *modelBackend) {
			m.Standing = Standing{Health: Health(h.below(3)), Barred: h.below(3) == 0, Share: h.below(3) * 50, Limit: h.below(3)}
			all[b] = m.Standing
		})
	}
	h.pool.SetStandings(all)
}

func (h *history) edit(f func(*Backend, *modelBackend)) {
	if rows := h.pool.Backends(); len(rows) > 0 {
		b := rows[h.below(len(rows))].Backend
		f(b, h.owner[b])
	}
}

func (h *history) apply() {
	o := Options{
		Algorithms: strings.Split(modelChains[h.below(len(modelChains))], ","),
		HashKey:    []string{"", "k"}[h.below(2)],
		HashSlots:  31,
	}
	var specs []Spec
	for i := range 6 {
		if h.below(4) == 0 {
			continue
		}
		specs = append(specs, Spec{
			Name: fmt.Sprintf("b%d", i), Address: fmt.Sprint(h.below(5) / 4), Weight: h.below(5),
			MaxConnections: h.below(4), Backup: h.below(4) == 0, NeedsProbe: h.below(4) == 0,
		})
	}
	if h.below(2) == 0 {
		slices.Reverse(specs)
	}
	if h.pool == nil {
		p, err := New(o, specs)
		if err != nil {
			h.t.Fatal(err)
		}
		h.pool = p
	} else if _, err := h.pool.Apply(o, specs); err != nil {
		h.t.Fatal(err)
	}
	old := h.model.backends
	h.model.chain, h.model.hashKey, h.model.size = o.Algorithms, o.HashKey, o.HashSlots
	h.model.backends = nil
	for _, s := range specs {
		m := &modelBackend{}
		for _, b := range old {
			if b.Name == s.Name && b.Address == s.Address {
				m = b
			}
		}
		m.Spec = s
		h.model.backends = append(h.model.backends, m)
	}
	for i, s := range h.pool.Backends() {
		m := h.model.backends[i]
		if was, ok := h.owner[s.Backend]; ok != (was == m) || ok != slices.Contains(old, m) {
			h.t.Errorf("step %d: %s lost or kept its identity", h.steps, s.Name)
		}
		h.owner[s.Backend] = m
	}
}

func (h *history) acquire() {
	client := noClient
	if c := h.below(20); c > 0 {
		client = benchClient(c)
	}
	var tried Tried
	failed := make(map[string]bool)
	for range h.below(3) {
		h.edit(func(b *Backend, m *modelBackend) {
			tried.Add(b)
			failed[m.Name] = true
		})
	}
	pick, want, wantErr := h.model.acquire(client, failed)
	got, err := h.pool.Acquire(client, &tried)
	switch {
	case !errors.Is(err, wantErr):
		h.t.Errorf("step %d: %v of %s: got %v, %v; want %v", h.steps, h.model.chain, client, got, err, wantErr)
	case err != nil:
	case want == whichever && (!slices.Contains(pick.in, h.owner[got]) || !pick.usable(h.owner[got])):
		h.t.Errorf("step %d: %v: got %s, which is not usable or in another tier", h.steps, h.model.chain, got.Name())
	case want != whichever && h.owner[got] != want:
		h.t.Errorf("step %d: %v of %s: got %s; want %s", h.steps, h.model.chain, client, got.Name(), want.Name)
	}
	if want == whichever { // it may have fallen back on least-connections
		h.model.next[pick.k] = int(h.pool.rotations[pick.k].next.Load())
	}
	if err == nil {
		h.owner[got].active++
		h.held = append(h.held, got)
	}
}

func (h *history) release() {
	if len(h.held) == 0 {
		return
	}
	i := h.below(len(h.held))
	h.held[i].Release()
	h.owner[h.held[i]].active--
	h.held = slices.Delete(h.held, i, i+1)
}

func (h *history) compare() {
	usable := 0
	for k := range tierCount {
		usable += len(h.model.tier(k))
	}
	if got := h.pool.Usable(); got != usable {
		h.t.Errorf("step %d: got %d usable; want %d", h.steps, got, usable)
	}
	for i, s := range h.pool.Backends() {
		m := h.model.backends[i]
		if s.Spec != m.Spec || s.Standing != m.Standing || s.Mode != m.mode || s.Active != int64(m.active) {
			h.t.Errorf("step %d: got %+v; want %+v", h.steps, s, m)
		}
	}
}

func TestHistoriesAgreeWithTheModel(t *testing.T) {
	for range 60 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runSeeded(t, seed, 400) })
		if t.Failed() {
			return // the seed is the name of the failed subtest
		}
	}
}

func runSeeded(t *testing.T, seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 0))
	h := &history{t: t}
	h.chance = func(n int) (int, bool) { return r.IntN(n), h.steps < steps }
	h.run()
}

func FuzzHistory(f *testing.F) {
	f.Add([]byte("the quick brown fox jumps over the lazy dog"))
	f.Add([]byte{8, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19})
	f.Fuzz(func(t *testing.T, bytes []byte) {
		if len(bytes) > 2000 {
			t.Skip()
		}
		h := &history{t: t}
		h.chance = func(n int) (int, bool) {
			if len(bytes) == 0 {
				return 0, false
			}
			v := int(bytes[0]) % n
			bytes = bytes[1:]
			return v, true
		}
		h.run()
	})
}

// TestConcurrentHistory has sessions come and go while health, modes and configuration change. Whoever
// holds a backend counts it in an independent count, which must never pass the limit.
func TestConcurrentHistory(t *testing.T) {
	const limit, sessions = 3, 3000
	specs := make([]Spec, 8)
	for i := range specs {
		specs[i] = Spec{
			Name: fmt.Sprintf("b%d", i), Weight: 1 + i%3, MaxConnections: limit, Backup: i == 7, Value: new(atomic.Int64),
		}
	}
	for _, chain := range modelChains {
		t.Run(chain, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			o := Options{Algorithms: strings.Split(chain, ",")}
			p, err := New(o, specs)
			if err != nil {
				t.Fatal(err)
			}
			own := make(map[*Backend]*atomic.Int64)
			for _, s := range p.Backends() {
				own[s.Backend] = new(atomic.Int64)
			}
			var work, changes sync.WaitGroup
			done := make(chan struct{})
			changes.Go(func() { churn(t, p, o, specs, rand.New(rand.NewPCG(seed, 0)), done) })
			for g := range uint64(8) {
				work.Go(func() { runSessions(t, p, own, limit, sessions, rand.New(rand.NewPCG(seed, g+1))) })
			}
			work.Wait()
			close(done)
			changes.Wait()
			for _, s := range p.Backends() {
				if s.Active != 0 {
					t.Errorf("%s: got %d active at the end; want 0", s.Name, s.Active)
				}
			}
		})
	}
}

// runSessions holds up to four sessions at once.
func runSessions(t *testing.T, p *Pool, own map[*Backend]*atomic.Int64, limit, n int, r *rand.Rand) {
	var held []*Backend
	release := func(i int) {
		own[held[i]].Add(-1)
		held[i].Release()
		held = slices.Delete(held, i, i+1)
	}
	for range n {
		b, err := p.Acquire(benchClient(r.IntN(100)), nil)
		if err == nil {
			if now := own[b].Add(1); now > int64(limit) {
				t.Errorf("%s: got %d sessions at once; want at most %d", b.Name(), now, limit)
			}
			held = append(held, b)
		}
		for len(held) > 4 || err != nil && len(held) > 0 && r.IntN(2) == 0 {
			release(r.IntN(len(held)))
		}
	}
	for len(held) > 0 {
		release(0)
	}
}

// churn changes everything but the set of backends and their limits, until done.
func churn(t *testing.T, p *Pool, o Options, specs []Spec, r *rand.Rand, done chan struct{}) {
	rows := p.Backends()
	for {
		select {
		case <-done:
			return
		default:
		}
		b := rows[r.IntN(len(rows))].Backend
		switch r.IntN(4) {
		case 0, 1:
			p.SetHealth(b, Health(r.IntN(3)))
		case 2:
			p.SetMode(b, Mode(r.IntN(3)))
		default:
			if _, err := p.Apply(o, specs); err != nil {
				t.Error(err)
			}
		}
	}
}
