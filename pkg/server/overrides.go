package server

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
)

// Override is what differs, by a person's will, from what the file says of one
// backend.
type Override struct {
	Pool, Backend  string
	Mode           balancer.Mode // Ready is no override
	ModeSince      time.Time     // when it was set; zero if it never was
	Weight         *int          // nil: the file's
	MaxConnections *int          // likewise
	Added          bool          // the file does not have it
	Removed        bool          // the file has it

	// Filled in by Server.Overrides.
	Persisted bool // the state file has it as it is: it survives a restart
	Idle      bool // without effect: the file has no such backend, or pool
}

// nothing reports whether o makes no difference.
func (o *Override) nothing() bool {
	return o.Mode == balancer.Ready && o.Weight == nil && o.MaxConnections == nil && !o.Added && !o.Removed
}

// overrides are kept in the order in which they were made. The zero value has none.
type overrides struct {
	rows  []*Override
	index map[place]*Override // the rows
	added []addition          // what the rows with Added added
}

// place is where an override applies.
type place struct{ pool, backend string }

type addition struct {
	pool    string
	backend config.Backend
}

func (a addition) at() place { return place{a.pool, a.backend.Name} }

func (o *Override) at() place { return place{o.Pool, o.Backend} }

func (o *overrides) find(pool, backend string) *Override { return o.index[place{pool, backend}] }

// of finds or makes the row of a backend.
func (o *overrides) of(pool, backend string) *Override {
	if r := o.find(pool, backend); r != nil {
		return r
	}
	r := &Override{Pool: pool, Backend: backend}
	o.put(r)
	return r
}

// put adds a row for a backend that has none.
func (o *overrides) put(r *Override) {
	if o.index == nil {
		o.index = map[place]*Override{}
	}
	o.rows = append(o.rows, r)
	o.index[r.at()] = r
}

// drop forgets all about a backend.
func (o *overrides) drop(pool, backend string) {
	at := place{pool, backend}
	delete(o.index, at)
	o.rows = slices.DeleteFunc(o.rows, func(r *Override) bool { return r.at() == at })
	o.added = slices.DeleteFunc(o.added, func(a addition) bool { return a.at() == at })
}

// clone is deep enough to be changed and thrown away.
func (o *overrides) clone() *overrides {
	c := &overrides{added: slices.Clone(o.added)}
	for _, r := range o.rows {
		row := *r
		c.put(&row)
	}
	return c
}

// personal is what of an override is not laid over the configuration.
type personal struct {
	backend string
	mode    balancer.Mode
	added   bool
}

// personal lists it by pool.
func (o *overrides) personal() map[string][]personal {
	all := map[string][]personal{}
	for _, r := range o.rows {
		all[r.Pool] = append(all[r.Pool], personal{r.Backend, r.Mode, r.Added})
	}
	return all
}

// sameBackends reports whether o adds and removes the same ones as other.
func (o *overrides) sameBackends(other *overrides) bool {
	removed := func(o *overrides) (all []place) {
		for _, r := range o.rows {
			if r.Removed {
				all = append(all, r.at())
			}
		}
		return all
	}
	return reflect.DeepEqual(o.added, other.added) && slices.Equal(removed(o), removed(other))
}

// modesReset is what a reset changes beyond the configuration: modes are in no file.
func (o *overrides) modesReset(file *config.Config) (changes []config.Change) {
	for _, r := range o.rows {
		if r.Mode != balancer.Ready && inFile(file, r.Pool, r.Backend) {
			path := config.BackendPath(r.Pool, r.Backend, "mode")
			changes = append(changes, config.Change{Path: path, Old: strconv.Quote(r.Mode.String()), New: strconv.Quote(balancer.Ready.String())})
		}
	}
	return changes
}

// settings are o without the backends that were added or removed.
func (o *overrides) settings() *overrides {
	c := &overrides{}
	for _, r := range o.rows {
		if !r.Added && !r.Removed {
			c.put(r)
		}
	}
	return c
}

// over lays the overrides over the file's configuration, and answers the file itself
// where they change nothing. Overrides of what the file does not have any more are
// without effect. Additions must have yielded to the file.
func (o *overrides) over(file *config.Config) *config.Config {
	if len(o.rows) == 0 {
		return file
	}
	touched := map[string]bool{}
	for _, r := range o.rows {
		touched[r.Pool] = true
	}
	c := *file
	c.Pools = slices.Clone(file.Pools)
	for i := range c.Pools {
		if p := &c.Pools[i]; touched[p.Name] {
			p.Backends = o.backends(p)
		}
	}
	return &c
}

// backends are those of the file's pool p under the overrides.
func (o *overrides) backends(p *config.Pool) []config.Backend {
	all := make([]config.Backend, 0, len(p.Backends))
	for _, b := range p.Backends {
		if r := o.find(p.Name, b.Name); r == nil || !r.Removed {
			all = append(all, b)
		}
	}
	for _, a := range o.added {
		if a.pool == p.Name {
			all = append(all, a.backend)
		}
	}
	for i := range all {
		if r := o.find(p.Name, all[i].Name); r != nil {
			override(&all[i].Weight, r.Weight)
			override(&all[i].MaxConnections, r.MaxConnections)
		}
	}
	return all
}

// clash is the backend of the file's pool p that has the name or the address of b,
// nil if none does; p may be nil.
func clash(p *config.Pool, b *config.Backend) *config.Backend {
	if p == nil {
		return nil
	}
	for i := range p.Backends {
		if own := &p.Backends[i]; own.Name == b.Name || own.Address == b.Address {
			return own
		}
	}
	return nil
}

// restore takes back the removal of the file's backend own, with the settings of b.
// It is for an addition that runs into one.
func (o *overrides) restore(pool string, own, b *config.Backend) error {
	if own.Name != b.Name || own.Address != b.Address {
		return fmt.Errorf("backend %s: %w in the file; a person removed it from pool %s", own.Name, ErrDuplicate, pool)
	}
	o.drop(pool, own.Name)
	if b.Weight != own.Weight {
		o.of(pool, own.Name).Weight = &b.Weight
	}
	if b.MaxConnections != own.MaxConnections {
		o.of(pool, own.Name).MaxConnections = &b.MaxConnections
	}
	return nil
}

func override(value, by *int) {
	if by != nil {
		*value = *by
	}
}

// unless is v, or nil where that is the value of without an override.
func unless(v *int, without int) *int {
	if *v == without {
		return nil
	}
	return v
}

// base is a backend without its override: as the file has it, or as it was added. It is the
// zero value for one that neither knows.
func (o *overrides) base(file *config.Config, pool, backend string) config.Backend {
	if p := file.Pool(pool); p != nil {
		for i := range p.Backends {
			if p.Backends[i].Name == backend {
				return p.Backends[i]
			}
		}
	}
	for _, a := range o.added {
		if a.at() == (place{pool, backend}) {
			return a.backend
		}
	}
	return config.Backend{}
}

// yield answers what is left of o where the file has, by name or by address, what was added
// by hand: from then on that is the file's, which may also drop it. What else a person said
// of such a backend stays, but for what the file now says too. It answers o itself, and
// nothing, where the file has none of them.
func (o *overrides) yield(file *config.Config) (rest *overrides, taken []addition) {
	for _, a := range o.added {
		if clash(file.Pool(a.pool), &a.backend) != nil {
			taken = append(taken, a)
		}
	}
	if taken == nil {
		return o, nil
	}
	rest = o.clone()
	for _, a := range taken {
		rest.added = slices.DeleteFunc(rest.added, func(b addition) bool { return a.at() == b.at() })
		r, own := rest.find(a.pool, a.backend.Name), rest.base(file, a.pool, a.backend.Name)
		r.Added = false
		if r.Weight != nil {
			r.Weight = unless(r.Weight, own.Weight)
		}
		if r.MaxConnections != nil {
			r.MaxConnections = unless(r.MaxConnections, own.MaxConnections)
		}
		if r.nothing() {
			rest.drop(a.pool, a.backend.Name)
		}
	}
	return rest, taken
}

// idle reports whether r is without effect on this configuration of the file.
func (r *Override) idle(file *config.Config) bool {
	return file.Pool(r.Pool) == nil || !r.Added && !inFile(file, r.Pool, r.Backend)
}

// Overrides lists what a person changed, in the order in which it was.
func (s *Server) Overrides() []Override {
	s.applying.Lock()
	defer s.applying.Unlock()
	all := make([]Override, len(s.overrides.rows))
	for i, r := range s.overrides.rows {
		all[i] = *r
		all[i].Idle = r.idle(s.file)
		all[i].Persisted = s.saved != nil && reflect.DeepEqual(s.saved.find(r.Pool, r.Backend), r)
	}
	return all
}

// ResetOverrides goes back to what the file says.
func (s *Server) ResetOverrides(ctx context.Context) error {
	var was []*Override
	err := s.change(ctx, func(o *overrides) error {
		was = o.rows
		*o = overrides{}
		return nil
	})
	if err == nil {
		s.tellReset(was)
		s.log.Info().Msg("overrides reset")
	}
	return err
}
