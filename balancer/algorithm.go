package balancer

import (
	"fmt"
	"net/netip"
	"slices"
)

// registry holds every algorithm under the name that a configuration gives it. A new algorithm is its own
// file and a line here.
var registry = []struct {
	name string
	algorithm
}{
	{"least-connections", leastConnections{}},
	{"ip-hash", ipHash{}},
	{"round-robin", roundRobin{}},
	{"random-two", randomTwo{}},
	{"first", first{}},
}

// algorithm picks a row of one tier. It holds no state: what it precomputes lies in the tier, what it
// counts from pick to pick lies in the tier's rotation. propose and choose are called by any number of
// goroutines at once; they take no lock and allocate nothing.
type algorithm interface {
	// prepare computes what the picks will read besides the rows, once for each new table, before any
	// goroutine sees it. The tier is not empty.
	prepare(*tier)

	// propose names the row that the client would have if all were free, full and tried ones included. It
	// is nil when the algorithm has no opinion about this client.
	propose(*tier, request) *row

	// choose reserves a usable row's backend. It is nil only when the tier has no usable row.
	choose(*tier, request) *Backend
}

// request is what a pick may know of the session. It is passed by value because a pointer that goes
// through an interface would be allocated.
type request struct {
	client netip.Addr // the zero Addr for a client without an address
	tried  *Tried     // nil for none
}

// usable reports whether r is below its limit and untried in this session.
func (q request) usable(r *row) bool {
	return r.backend.active.Load() < r.limit && !q.tried.Has(r.backend)
}

// take reserves r's backend if r is usable.
func (q request) take(r *row) bool {
	return !q.tried.Has(r.backend) && r.backend.reserve(r.limit)
}

// Algorithms lists the names that Options.Algorithms may hold, the default first.
func Algorithms() []string {
	names := make([]string, len(registry))
	for i, r := range registry {
		names[i] = r.name
	}
	return names
}

// chainOf looks up names; none at all means the default.
func chainOf(names []string) ([]algorithm, error) {
	if len(names) == 0 {
		return []algorithm{registry[0].algorithm}, nil
	}
	chain := make([]algorithm, len(names))
	for i, name := range names {
		k := slices.Index(Algorithms(), name)
		if k < 0 {
			return nil, fmt.Errorf("balance with %q: unknown algorithm", name)
		}
		chain[i] = registry[k].algorithm
	}
	return chain, nil
}
