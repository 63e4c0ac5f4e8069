package balancer

// first fills the backends in the order in which they were given: each up to its limit before the next one
// gets a session. It keeps the rest of a pool idle, so that it can be switched off.
type first struct{}

func (first) prepare(*tier) {}

func (first) propose(t *tier, _ request) *row { return t.row(0) }

func (first) choose(t *tier, q request) *Backend {
	for i := range t.size() {
		if r := t.row(i); q.take(r) {
			return r.backend
		}
	}
	return nil
}
