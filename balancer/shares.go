package balancer

import "slices"

// shares lays the rows of a tier side by side on a line, each as many units long as its weight, so that a
// number below total names a row in proportion to the weights:
//
//	weights 4 2 6  ->  units 2 1 3  ->  ends 2 3 6      unit  0 1 | 2 | 3 4 5
//	                                                    row   0 0 | 1 | 2 2 2
type shares struct {
	total uint64   // units in all; the weights are divided by what divides them all
	ends  []uint32 // where each row's units end; nil when every row has one unit
}

func newShares(t *tier) shares {
	unit := int32(0)
	for i := range t.size() {
		unit = gcd(t.row(i).weight, unit)
	}
	s := shares{ends: make([]uint32, t.size())}
	for i := range t.size() {
		s.total += uint64(t.row(i).weight / unit)
		s.ends[i] = uint32(s.total)
	}
	if s.total == uint64(t.size()) {
		s.ends = nil
	}
	return s
}

// at is the row to which unit belongs; unit is below total.
func (s *shares) at(unit uint64) int {
	if s.ends == nil {
		return int(unit)
	}
	i, found := slices.BinarySearch(s.ends, uint32(unit))
	if found { // a row's end is the first unit of the next one
		i++
	}
	return i
}

// span is the range of units of the row at i: from its first to below its end.
func (s *shares) span(i int) (from, end uint64) {
	switch {
	case s.ends == nil:
		return uint64(i), uint64(i) + 1
	case i == 0:
		return 0, uint64(s.ends[0])
	default:
		return uint64(s.ends[i-1]), uint64(s.ends[i])
	}
}

func gcd(a, b int32) int32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
