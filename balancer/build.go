package balancer

import "slices"

// member is a backend with all that is known about it.
type member struct {
	backend *Backend
	spec    Spec
	mode    Mode

	standing Standing
}

// place is the tier in which m stands, onTrial more if it is there on trial, or noTier if it gets no sessions.
func (m *member) place() int8 {
	health := m.standing.Health
	switch {
	case m.mode != Ready, m.spec.Weight == 0, m.standing.Barred:
		return noTier
	case health == Down, health == Unchecked && m.spec.NeedsProbe:
		return noTier
	}
	tier := int8(primaryUp)
	if m.spec.Backup {
		tier = backupUp
	}
	if health == Unchecked {
		tier++
	}
	if m.standing.Trial {
		tier += onTrial
	}
	return tier
}

// group is where m is counted for ip-hash.
func (m *member) group() int {
	if m.spec.Backup {
		return backups
	}
	return primaries
}

func (m *member) row() row {
	return row{backend: m.backend, weight: m.weight(), limit: m.limit()}
}

// publishAll publishes a table for a new configuration. p.mu is held.
func (p *Pool) publishAll() {
	l := &layout{chain: p.chain, rows: make([]row, len(p.members))}
	places := make([]int8, len(p.members))
	for i := range p.members {
		l.rows[i] = p.members[i].row()
		places[i] = p.members[i].place()
	}
	p.seat(l)
	p.publish(l, places)
}

// publishOne publishes a table in which the member at i has a place as its health and mode are now. p.mu is
// held.
func (p *Pool) publishOne(i int) {
	t := p.table.Load()
	places := slices.Clone(t.places)
	places[i] = p.members[i].place()
	p.publish(t.layout, places)
}

func (p *Pool) publish(l *layout, places []int8) {
	t := &table{layout: l, places: places}
	for k := range t.tiers {
		t.tiers[k] = tier{table: t, number: k, rotation: &p.rotations[k], random: p.random}
	}
	t.line()
	t.prepare()
	p.table.Store(t)
}

// line puts the rows into their tiers.
func (t *table) line() {
	var sizes [tierCount]int
	for _, k := range t.places {
		if k != noTier {
			t.usable++
		}
		if isTier(k) {
			sizes[k]++
		}
	}
	members := make([]int32, 0, t.usable)
	for k, n := range sizes {
		t.tiers[k].members = members[:0:n]
		members = members[n:n:cap(members)]
	}
	for i, k := range t.places {
		switch {
		case isTier(k):
			tier := &t.tiers[k]
			tier.members = append(tier.members, int32(i))
			tier.heaviest = max(tier.heaviest, t.rows[i].weight)
		case k >= onTrial:
			tier := &t.tiers[k-onTrial]
			tier.trials = append(tier.trials, int32(i))
		}
	}
}

// prepare has each algorithm of the chain compute what its picks will read.
func (t *table) prepare() {
	for i := range t.tiers {
		tier := &t.tiers[i]
		if len(tier.trials) > 0 && tier.sticky() {
			tier.ring = tier.groups[tierGroups[i]].table()
		}
		if tier.size() == 0 {
			continue
		}
		for _, a := range t.chain {
			a.prepare(tier)
		}
	}
}

// seat divides the members with a weight into the groups of ip-hash. A group that came out as it was is
// kept, and its Maglev table with it.
func (p *Pool) seat(l *layout) {
	for k := range l.groups {
		g := newGroup(p.keys, p.slots, p.seats(k))
		if old := p.table.Load(); old != nil && old.groups[k].equal(g) {
			g = old.groups[k]
		}
		l.groups[k] = g
		l.homes[k] = make([]int32, len(g.seats))
	}
	for i := range p.members {
		if m := &p.members[i]; m.spec.Weight > 0 {
			k := m.group()
			seat := l.groups[k].numbers[m.spec.Name]
			l.rows[i].seat = seat
			l.homes[k][seat] = int32(i)
		}
	}
}

// seats lists what group has to know of its members.
func (p *Pool) seats(group int) (seats []seat) {
	for i := range p.members {
		if m := &p.members[i]; m.group() == group && m.spec.Weight > 0 {
			seats = append(seats, seat{m.spec.Name, m.spec.Weight})
		}
	}
	return seats
}
