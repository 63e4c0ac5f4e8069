package balancer

import "slices"

// Standing is what a pool's owner works out about a backend while it runs, over what is configured. The zero
// value is a backend of which nothing is known yet.
type Standing struct {
	Health Health

	// Barred gets no new sessions, whatever its health.
	Barred bool

	// Trial gets one session at a time: see ClaimTrial.
	Trial bool

	// Share is the part of its weight that it gets for now, in percent; 0 is all of it. What comes out is at
	// least a hundredth of a unit and at most MaxWeight. ip-hash looks at the configured weights alone, so that
	// no client changes its home.
	Share int

	// Limit is the most that may be active at once for now; 0 is none. It lowers MaxConnections and never
	// raises it.
	Limit int
}

// SetStandings notes standings, together: no pick sees some of them without the others. It reports whether
// there was news; there is none in backends that were removed.
func (p *Pool) SetStandings(all map[*Backend]Standing) bool {
	p.mu.Lock()
	defer p.unlock()
	t := p.table.Load()
	places, l := slices.Clone(t.places), t.layout
	news := false
	for b, s := range all {
		i, ok := p.index[b]
		if !ok {
			continue
		}
		m := &p.members[i]
		old := m.standing
		if s.Trial && !old.Trial {
			b.beginTrials()
		}
		news = replace(&m.standing, s) || news
		places[i] = m.place()
		if old.Share != s.Share || old.Limit != s.Limit {
			if l == t.layout {
				l = l.clone()
			}
			l.rows[i].weight, l.rows[i].limit = m.weight(), m.limit()
		}
	}
	if news {
		p.publish(l, places)
	}
	return news
}

// clone is l with rows of its own, for other weights and limits. Groups and homes are those of the configured
// weights, and stay.
func (l *layout) clone() *layout {
	next := *l
	next.rows = slices.Clone(l.rows)
	return &next
}

// fullShare is all of a backend's weight, in percent.
const fullShare = 100

// EffectiveWeight is the weight with which the backend is picked, in hundredths.
func (s *State) EffectiveWeight() int { return int(effective(s.Spec.Weight, s.Share)) }

func (m *member) weight() int32 { return effective(m.spec.Weight, m.standing.Share) }

// effective is a share of weight, in hundredths.
func effective(weight, share int) int32 {
	if share <= 0 {
		share = fullShare
	}
	share = min(share, fullShare*MaxWeight)
	return int32(min(weight*share, fullShare*MaxWeight))
}

func (m *member) limit() int64 {
	limit := int64(unlimited)
	for _, n := range [...]int{m.spec.MaxConnections, m.standing.Limit} {
		if n > 0 {
			limit = min(limit, int64(n))
		}
	}
	return limit
}
