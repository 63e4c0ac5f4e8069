package balancer

// leastConnections picks the row with the least (active+1)/weight. Of several that are equal it takes the
// first one after the row that it took last, so that an idle pool is filled evenly and not from its front.
//
// It is exact: the count that won the scan is the count that is raised. If another session changed it
// meanwhile the scan is done again, so a pick can only be held up by others that get on.
type leastConnections struct{}

func (leastConnections) prepare(*tier) {}

func (leastConnections) propose(t *tier, _ request) *row {
	i, _ := t.least(func(*row, int64) bool { return true })
	return t.row(i)
}

func (leastConnections) choose(t *tier, q request) *Backend {
	for {
		i, active := t.least(func(r *row, active int64) bool {
			return active < r.limit && !q.tried.Has(r.backend)
		})
		if i < 0 {
			return nil
		}
		if b := t.row(i).backend; b.active.CompareAndSwap(active, active+1) {
			return b
		}
	}
}

// least finds the least loaded row that suits, and the count that it had. It is -1 when none does.
func (t *tier) least(suits func(r *row, active int64) bool) (at int, active int64) {
	start := int(t.rotation.next.Load()) % t.size()
	best := standing{at: -1, load: 1} // a load of 1 at weight 0: worse than any row
	if !best.scan(t, start, t.size(), suits) {
		best.scan(t, 0, start, suits)
	}
	if best.at >= 0 {
		t.rotation.next.Store(int64(best.at) + 1)
	}
	return best.at, best.load - 1
}

// standing is the best row of a scan so far. Its load is active+1, to be divided by weight.
type standing struct {
	at     int
	load   int64
	weight int64
}

// scan betters s with the rows from..to. It is true when no row at all could be better: an idle one with
// the tier's greatest weight.
func (s *standing) scan(t *tier, from, to int, suits func(*row, int64) bool) bool {
	rows, members := t.rows, t.members // loaded once: this loop is what a pick costs
	for i := from; i < to; i++ {
		r := &rows[members[i]]
		load := r.backend.active.Load() + 1
		weight := int64(r.weight)
		if load*s.weight >= s.load*weight || !suits(r, load-1) { // load/weight >= s.load/s.weight
			continue
		}
		*s = standing{i, load, weight}
		if load == 1 && r.weight == t.heaviest {
			return true
		}
	}
	return false
}
