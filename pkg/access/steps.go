package access

import "slices"

// steps are the addresses at which the answer changes, on the way from the lowest
// address to the highest. It begins with the default, and is denied and allowed in
// turn: so the number of steps until an address, that at the address included, tells.
//
//	deny 10.0.0.0/8, allow 10.1.2.0/24, else allowed:
//
//	        10.0.0.0      10.1.2.0      10.1.3.0      11.0.0.0
//	  allow    |    deny     |   allow     |    deny     |    allow
//
// A prefix takes two steps at most, and none where its neighbours or an outer one say
// the same.
//
// They are found as a word in a dictionary is: by opening it about there. A node cuts
// the way from its first step to its last into slots of equal width, about one for
// eight steps. Where steps are so dense that a slot has too many, it has a node of its
// own. The widths are powers of two, and a node has two slots at least that part what
// it has: so there are no more levels than bits, and with real lists one or two.
//
// In a slot, steps differ in few bits: 32 of them, the head, nearly always tell them
// apart. Only where they do not, an address whose head is that of a step is compared
// with all of it. So a look-up touches one slot, and a line or two of heads beside each
// other. A trie touches a line for each of its levels, and another for what it found.
type steps struct {
	heads []uint32
	whole []address // nil if the heads tell all
	nodes []node    // the first is that of all steps; none without steps
	slots []uint32  // what a slot begins with: a step's number, or deeper and a node's
}

// node finds a slot for an address. Its steps differ in hi, or else, if low is set,
// they are alike in hi and differ in lo.
type node struct {
	hi    uint64 // of all steps, if low
	base  uint64 // what the first step differs in
	slots uint32 // the first one's number
	last  uint32 // number of the last one, from slots on; the next number is where it ends
	shift uint8  // a slot is 2^shift wide
	cut   uint8  // bits that a head lacks
	low   bool
	exact bool // what heads lack is zero
}

const (
	// deeper marks the number of a node.
	deeper = 1 << 31
	// perSlot and mostInSlot are numbers of steps. The heads of mostInSlot are a kilobyte,
	// of which the lines are fetched side by side: that is faster than another node.
	perSlot    = 8
	mostInSlot = 256
)

// until is the number of steps until a, one at a included.
func (s *steps) until(a address) int {
	if len(s.nodes) == 0 {
		return 0
	}
	for n := &s.nodes[0]; ; {
		far, before := n.offset(a)
		if before {
			return int(s.begin(s.slots[n.slots]))
		}
		if far>>n.shift > uint64(n.last) {
			return int(s.slots[n.slots+n.last+1])
		}
		slot := n.slots + uint32(far>>n.shift)
		begin := s.slots[slot]
		if begin&deeper == 0 {
			return s.within(n, int(begin), int(s.begin(s.slots[slot+1])), n.head(far), a)
		}
		n = &s.nodes[begin&^deeper]
	}
}

// within is until for an address in the slot with the steps from..to-1.
func (s *steps) within(n *node, from, to int, head uint32, a address) int {
	i := from + until(s.heads[from:to], head)
	for !n.exact && i > from && s.heads[i-1] == head && s.whole[i-1].compare(a) > 0 {
		i--
	}
	return i
}

// until is the number of sorted ones that are not above x. Nothing branches on what is
// found, which the processor would guess wrong half of the time, and what is read of
// one line of its cache does not depend on another: so it waits for all of them at once.
func until(sorted []uint32, x uint32) (n int) {
	const line = 16
	for i := line - 1; i < len(sorted); i += line {
		n += line * number(sorted[i] <= x)
	}
	for _, y := range sorted[n:min(n+line, len(sorted))] {
		n += number(y <= x)
	}
	return n
}

func number(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// begin is the first step of what a slot has.
func (s *steps) begin(slot uint32) uint32 {
	for slot&deeper != 0 {
		slot = s.slots[s.nodes[slot&^deeper].slots]
	}
	return slot
}

// flatten makes steps of what rules say, in their order.
func flatten(all rules, deny bool) steps {
	w := walk{last: deny, inside: []outer{{deny: deny}}}
	for i := range all {
		r := &all[i]
		w.leave(r.first)
		w.step(r.first, r.deny)
		w.inside = append(w.inside, outer{r.first.plus(int(r.bits)), r.deny})
	}
	w.leave(address{^uint64(0), ^uint64(0)})
	return w.index()
}

// walk goes from the lowest address to the highest and notes steps.
type walk struct {
	at     []address
	last   bool    // denied behind the last step
	inside []outer // the prefixes that it is in, the innermost last
}

// outer is a prefix that has begun.
type outer struct {
	end  address // the first behind it; zero if there is none
	deny bool
}

// leave goes on to a, over the ends of what ends until there.
func (w *walk) leave(a address) {
	for {
		top := len(w.inside) - 1
		end := w.inside[top].end
		if end == (address{}) || end.compare(a) > 0 {
			return
		}
		w.inside = w.inside[:top]
		w.step(end, w.inside[top-1].deny)
	}
}

// step notes what the answer is from a on.
func (w *walk) step(a address, deny bool) {
	if n := len(w.at); n > 0 && w.at[n-1] == a {
		w.at, w.last = w.at[:n-1], !w.last // it was something else for no address
	}
	if deny != w.last {
		w.at, w.last = append(w.at, a), deny
	}
}

// index makes it possible to find the steps.
func (w *walk) index() steps {
	var s steps
	if len(w.at) == 0 {
		return s
	}
	s.heads, s.whole = make([]uint32, len(w.at)), w.at
	s.node(0, len(w.at))
	s.nodes, s.slots = slices.Clone(s.nodes), slices.Clone(s.slots)
	if s.whole = nil; slices.ContainsFunc(s.nodes, func(n node) bool { return !n.exact }) {
		s.whole = slices.Clone(w.at)
	}
	return s
}

// node makes one for the steps from..to-1, with those that are deeper, and answers its
// number.
func (s *steps) node(from, to int) uint32 {
	first, last := s.whole[from], s.whole[to-1]
	n := node{hi: first.hi, base: first.hi, slots: uint32(len(s.slots))}
	width := last.hi - first.hi
	if width == 0 {
		n.low, n.base, width = true, first.lo, last.lo-first.lo
	}
	for width>>n.shift >= uint64(max((to-from)/perSlot, 2)) {
		n.shift++
	}
	n.last = uint32(width >> n.shift)
	n.cut = max(n.shift, 32) - 32

	number := uint32(len(s.nodes))
	s.nodes = append(s.nodes, n)
	s.slots = append(s.slots, make([]uint32, n.last+2)...)
	var cut uint64 // of any
	for slot := range n.last + 1 {
		begin := from
		for from < to && n.slot(s.whole[from]) == slot {
			from++
		}
		if from-begin > mostInSlot {
			s.slots[n.slots+slot] = deeper | s.node(begin, from)
			continue
		}
		s.slots[n.slots+slot] = uint32(begin)
		for i, a := range s.whole[begin:from] {
			far, _ := n.offset(a)
			s.heads[begin+i] = n.head(far)
			cut |= n.beyond(far, a)
		}
	}
	s.slots[n.slots+n.last+1] = uint32(to)
	s.nodes[number].exact = cut == 0
	return number
}

// offset is how far an address is from the first step, and whether it is before that.
func (n *node) offset(a address) (far uint64, before bool) {
	switch {
	case !n.low:
		return a.hi - n.base, a.hi < n.base
	case a.hi == n.hi:
		return a.lo - n.base, a.lo < n.base
	}
	return ^uint64(0), a.hi < n.hi
}

// slot is that of a step, from 0 on.
func (n *node) slot(a address) uint32 {
	far, _ := n.offset(a)
	return uint32(far >> n.shift)
}

// head is that of an address at an offset.
func (n *node) head(far uint64) uint32 { return uint32(far & (1<<n.shift - 1) >> n.cut) }

// beyond is what the head of a step at an offset lacks.
func (n *node) beyond(far uint64, a address) uint64 {
	lacks := far & (1<<n.cut - 1)
	if !n.low {
		lacks |= a.lo
	}
	return lacks
}
