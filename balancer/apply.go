package balancer

import "errors"

// Diff is what Apply changed, each list in the order of the configuration that holds the backend.
type Diff struct {
	Added   []*Backend
	Removed []*Backend // never picked again; live sessions keep them
	Changed []*Backend // kept, with another weight, limit or role (a new Value alone does not count)
}

// Apply replaces the configuration in one step. A backend whose name and address are still there keeps its
// identity, count, health and mode, and takes weight, limit, role and Value from its new Spec; a new one is
// unchecked and ready. An error, as New's, leaves everything as it was.
func (p *Pool) Apply(o Options, specs []Spec) (Diff, error) {
	chain, err := chainOf(o.Algorithms)
	if err := errors.Join(err, checkSlots(o.HashSlots, specs), checkSpecs(specs)); err != nil {
		return Diff{}, err
	}
	p.mu.Lock()
	defer p.unlock()
	p.chain, p.keys, p.slots = chain, newHashKeys(o.HashKey), o.HashSlots
	d := p.enlist(specs)
	p.publishAll()
	return d, nil
}

// backend is the one that the spec brings, or a new one.
func (s *Spec) backend() *Backend {
	if s.Was != nil && s.Was.name == s.Name && s.Was.address == s.Address {
		return s.Was
	}
	return &Backend{name: s.Name, address: s.Address}
}

// enlist makes specs the members, keeping whom it knows.
func (p *Pool) enlist(specs []Spec) (d Diff) {
	type identity struct{ name, address string }
	known := make(map[identity]member, len(p.members))
	for _, m := range p.members {
		known[identity{m.spec.Name, m.spec.Address}] = m
	}
	old := p.members
	p.members = make([]member, len(specs))
	p.index = make(map[*Backend]int, len(specs))
	for i, s := range specs {
		m, kept := known[identity{s.Name, s.Address}]
		switch {
		case !kept:
			m.backend = s.backend()
			d.Added = append(d.Added, m.backend)
		case m.spec.differs(s):
			d.Changed = append(d.Changed, m.backend)
		}
		m.spec = s
		m.spec.Was = nil
		m.backend.value.Store(&s.Value)
		p.members[i] = m
		p.index[m.backend] = i
	}
	for _, m := range old {
		if _, kept := p.index[m.backend]; !kept {
			d.Removed = append(d.Removed, m.backend)
		}
	}
	return d
}
