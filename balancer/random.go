package balancer

// randomTwo draws two different rows by weight and takes the less loaded one (Mitzenmacher, "The power of
// two choices in randomized load balancing", 2001). It needs no look at the whole pool, and several
// balancers that cannot see each other's sessions do not rush to the same idle backend.
type randomTwo struct{}

// voidDraws bounds the pairs that one pick draws in vain. After them nearly all of the tier is not usable,
// and least-connections finds what is left.
const voidDraws = 16

func (randomTwo) prepare(t *tier) { t.shares = newShares(t) }

func (randomTwo) propose(t *tier, _ request) *row {
	a, b := t.drawTwo()
	return lessLoaded(a, b)
}

func (randomTwo) choose(t *tier, q request) *Backend {
	for range voidDraws {
		a, b := t.drawTwo()
		r := lessLoaded(a, b)
		switch {
		case !q.usable(a):
			r = b
		case !q.usable(b):
			r = a
		}
		if q.take(r) {
			return r.backend
		}
	}
	return leastConnections{}.choose(t, q)
}

// draw is uniform in 0..n-1.
func (t *tier) draw(n uint64) uint64 {
	if t.random != nil {
		return t.random(n)
	}
	return t.rotation.draw(n)
}

// drawTwo draws one row out of all and one out of the others. Both are the same only in a tier of one row.
func (t *tier) drawTwo() (a, b *row) {
	i := t.shares.at(t.draw(t.shares.total))
	a = t.row(i)
	if t.size() == 1 {
		return a, a
	}
	from, end := t.shares.span(i)
	unit := t.draw(t.shares.total - (end - from))
	if unit >= from { // step over the first row's units
		unit += end - from
	}
	return a, t.row(t.shares.at(unit))
}

// lessLoaded is the row with the lesser (active+1)/weight, a when they are equal.
func lessLoaded(a, b *row) *row {
	if (b.backend.active.Load()+1)*int64(a.weight) < (a.backend.active.Load()+1)*int64(b.weight) {
		return b
	}
	return a
}
