package balancer

import "math"

// roundRobin is smooth weighted round-robin: weights 5, 1, 1 give a a b a c a a. Each pick draws the next
// turn of the tier's schedule; a turn whose row is not usable is void and the next one is drawn, so that
// the turns of a full backend fall to all others alike.
type roundRobin struct{}

// voidTurns bounds the turns that one pick draws in vain. After them nearly all of the tier is not usable,
// and least-connections finds what is left.
const voidTurns = 64

func (roundRobin) prepare(t *tier) { t.schedule = newSchedule(t) }

func (roundRobin) propose(t *tier, _ request) *row { return t.nextTurn() }

func (roundRobin) choose(t *tier, q request) *Backend {
	for range min(voidTurns, t.schedule.total) {
		if r := t.nextTurn(); q.take(r) {
			return r.backend
		}
	}
	return leastConnections{}.choose(t, q)
}

func (t *tier) nextTurn() *row {
	return t.row(t.schedule.at(t.rotation.turn.Add(1) - 1))
}

// schedule is a cycle of turns, computed once so that a pick is one atomic add. A cycle gives each row
// exactly as many turns as it has units. Which turn is whose is told in one of three ways:
//
//   - all weights are equal: by the number of the turn;
//   - the cycle is small: by order, which holds nginx's smooth order;
//   - else: by a stride along the shares. Up to 2.5 million turns (10 000 rows of weights up to 256)
//     would be too many to lay down at each change of health; the stride needs nothing but the shares.
//
// The stride is coprime to the cycle, so each unit has its turn once a cycle, and about the golden section of
// it, so a row's turns lie about evenly: the points k/φ mod 1 fall into an interval at no more than three
// different distances (the three-gap theorem; Sós 1958), and for no number are those closer to each other.
type schedule struct {
	shares
	order  []uint32 // nil when turns are told by the stride
	stride uint64
}

// smoothWork bounds rows × turns, the steps that an order costs: below a millisecond for each new table.
const smoothWork = 1 << 18

func newSchedule(t *tier) schedule {
	s := schedule{shares: newShares(t), stride: 1}
	switch {
	case s.ends == nil:
	case uint64(t.size())*s.total <= smoothWork:
		s.order = smoothOrder(&s.shares)
	default:
		s.stride = goldenStride(s.total)
	}
	return s
}

// at is the row whose turn it is.
func (s *schedule) at(turn uint64) int {
	turn %= s.total
	if s.order != nil {
		return int(s.order[turn])
	}
	return s.shares.at(turn * s.stride % s.total)
}

// smoothOrder lays down one cycle: before each turn every row's credit grows by its units, and the one
// with the most credit has the turn and pays a whole cycle for it.
func smoothOrder(s *shares) []uint32 {
	order := make([]uint32, s.total)
	credit := make([]int64, len(s.ends))
	for turn := range order {
		best := 0
		for i := range credit {
			from, end := s.span(i)
			credit[i] += int64(end - from)
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= int64(s.total)
		order[turn] = uint32(best)
	}
	return order
}

// goldenStride is a number coprime to n, near n/φ and as hard to approximate as that: of the nearest ones
// it is the first whose quotient with n has no term above 3 in its continued fraction, or the least such
// greatest term. A large term would be a stride that lands beside where it was after a few turns, and a row
// that waits for as long. n is at least 2.
func goldenStride(n uint64) uint64 {
	golden := uint64(float64(n) / math.Phi)
	best, least := uint64(1), n
	for d := range min(golden, 100) {
		for _, s := range [2]uint64{golden + d, golden - d} {
			if term := greatestTerm(n, s); term < least {
				best, least = s, term
			}
		}
		if least <= 3 {
			break
		}
	}
	return best
}

// greatestTerm is the greatest term of the continued fraction of n/s: of the quotients in Euclid's
// algorithm. It is n if they have a common divisor.
func greatestTerm(n, s uint64) uint64 {
	greatest, a, b := uint64(0), n, s
	for b != 0 {
		greatest = max(greatest, a/b)
		a, b = b, a%b
	}
	if a != 1 {
		return n
	}
	return greatest
}
