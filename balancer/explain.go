package balancer

import (
	"net/netip"
	"slices"
)

// Tier is the precedence of a backend in a pick: a tier serves while those before it have
// no usable backend.
type Tier int8

const (
	TierNone            Tier = noTier // no sessions at all
	TierUp              Tier = primaryUp
	TierUnchecked       Tier = primaryUnchecked
	TierBackupUp        Tier = backupUp
	TierBackupUnchecked Tier = backupUnchecked
)

// String gives the word that the API uses: "" for TierNone, else up, unchecked, backup-up,
// backup-unchecked.
func (t Tier) String() string {
	if t == TierNone {
		return ""
	}
	return word("tier", int(t), "up", "unchecked", "backup-up", "backup-unchecked")
}

// Explanation is what Acquire would answer, and what it would look at.
type Explanation struct {
	Backend    *Backend // nil: none is usable
	Tier       Tier     // of Backend
	Algorithm  string   // of the chain, the one that picked Backend
	Passed     []string // those of the chain before it: what they proposed is not usable, or nothing
	Home       *Backend // of the client by ip-hash, if that is in the chain; nil without an address
	Candidates []Candidate
}

// Candidate is a backend of the pool in an Explanation.
type Candidate struct {
	State
	Tier Tier
	Full bool    // at its limit
	Load float64 // (Active+1)/weight, which least-connections and random-two compare; 0 at weight 0
}

// Explain answers what the next Acquire for a client will, as long as nothing changes in
// between, and leaves no trace: no count, turn or draw is used up. fails names backends
// on which the session would fail at once, and so give them back and acquire again; nil
// for none.
//
// It has nothing to say of its own about who is picked: the pick itself runs, on a copy of
// all that it changes. It takes as long as a copy of the pool does.
func (p *Pool) Explain(client netip.Addr, fails func(*Backend) bool) Explanation {
	p.mu.Lock()
	t := p.table.Load()
	states := p.states(nil)
	p.mu.Unlock()

	twin := t.twin()
	var e Explanation
	for i, s := range states {
		s.Active = twin.rows[i].backend.Active()
		e.Candidates = append(e.Candidates, newCandidate(s, tierAt(t.places[i]), &twin.rows[i]))
	}
	var tried Tried
	found, i := twin.tryPick(client, &tried)
	for found.backend != nil && fails != nil && fails(states[i].Backend) {
		found.backend.Release()
		tried.Add(found.backend)
		found, i = twin.tryPick(client, &tried)
	}
	if found.backend == nil {
		return e
	}
	e.Backend, e.Tier = states[i].Backend, Tier(found.tier)
	e.Algorithm = nameOf(t.chain[found.link])
	for _, a := range t.chain[:found.link] {
		e.Passed = append(e.Passed, nameOf(a))
	}
	if tier := &t.tiers[found.tier]; tier.ring != nil && client.IsValid() {
		e.Home = t.rows[tier.slotOf(tier.hashOf(client))].backend
	}
	return e
}

// tierAt is the tier of a place; one on trial stands in its tier.
func tierAt(place int8) Tier {
	if place >= onTrial {
		place -= onTrial
	}
	return Tier(place)
}

// tryPick picks, and finds the row that was picked.
func (t *table) tryPick(client netip.Addr, tried *Tried) (found picked, at int) {
	found = t.pick(request{client, tried})
	return found, slices.IndexFunc(t.rows, func(r row) bool { return r.backend == found.backend })
}

func newCandidate(s State, tier Tier, r *row) Candidate {
	c := Candidate{State: s, Tier: tier, Full: s.Active >= r.limit}
	if r.weight > 0 {
		c.Load = float64(s.Active+1) * fullShare / float64(r.weight)
	}
	return c
}

// twin copies what a pick changes, and shares the rest with t: the counts of the backends
// and the rotations of the tiers, as they are now.
func (t *table) twin() *table {
	layout := *t.layout
	layout.rows = slices.Clone(t.rows)
	backends := make([]Backend, len(t.rows))
	for i := range layout.rows {
		backends[i].active.Store(t.rows[i].backend.Active())
		backends[i].trial.Store(t.rows[i].backend.trial.Load())
		layout.rows[i].backend = &backends[i]
	}
	twin := &table{layout: &layout, places: t.places, tiers: t.tiers, usable: t.usable}
	for k := range twin.tiers {
		tier := &twin.tiers[k]
		tier.table, tier.rotation = twin, tier.rotation.twin()
	}
	return twin
}

func (r *rotation) twin() *rotation {
	twin := &rotation{}
	twin.turn.Store(r.turn.Load())
	twin.next.Store(r.next.Load())
	twin.draws.Store(r.draws.Load())
	return twin
}

// nameOf is the name of an algorithm in a configuration.
func nameOf(a algorithm) string {
	for _, r := range registry {
		if r.algorithm == a {
			return r.name
		}
	}
	return ""
}
