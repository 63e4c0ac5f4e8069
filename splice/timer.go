package splice

// timers is the deadline queue of one loop: a binary heap of (when, slot), with
// each slot's place in the heap kept in places, so that a slot has at most one
// entry. Activity does not touch it: a pair notes the time, and when its entry is
// due asks itself whether the deadline has moved (O(1) per activity, O(log n) per
// connection). Times are nanoseconds on the loop's clock, which the caller passes
// in. Not safe for concurrent use.
type timers struct {
	heap   shelf[deadline]
	places shelf[int32] // by slot: index in heap + 1, 0 = none
}

type deadline struct {
	when int64
	slot uint32
}

// set makes slot due at when, or earlier if it already is: a later deadline is
// found by the owner when the entry comes due.
func (t *timers) set(slot uint32, when int64) {
	for int(slot) >= t.places.len() {
		t.places.push(0)
	}
	i := t.place(slot)
	switch {
	case i < 0:
		i = t.heap.len()
		t.heap.push(deadline{})
	case when >= t.heap.at(i).when:
		return
	}
	t.rise(i, deadline{when, slot})
}

// clear forgets slot's deadline.
func (t *timers) clear(slot uint32) {
	if int(slot) >= t.places.len() || t.place(slot) < 0 {
		return
	}
	i := t.place(slot)
	*t.places.at(int(slot)) = 0
	moved := t.heap.pop()
	if i == t.heap.len() {
		return
	}
	t.rise(i, moved)
	t.sink(t.place(moved.slot), moved)
}

// next is the earliest deadline; ok is false if there is none.
func (t *timers) next() (when int64, ok bool) {
	if t.heap.len() == 0 {
		return 0, false
	}
	return t.heap.at(0).when, true
}

// due takes the earliest slot whose deadline is not after now.
func (t *timers) due(now int64) (slot uint32, ok bool) {
	if when, any := t.next(); !any || when > now {
		return 0, false
	}
	slot = t.heap.at(0).slot
	t.clear(slot)
	return slot, true
}

// place is where slot's deadline is in the heap, or -1.
func (t *timers) place(slot uint32) int { return int(*t.places.at(int(slot))) - 1 }

func (t *timers) put(i int, d deadline) {
	*t.heap.at(i) = d
	*t.places.at(int(d.slot)) = int32(i + 1)
}

// rise puts d at i, or as far above it as it is due before.
func (t *timers) rise(i int, d deadline) {
	for i > 0 {
		parent := (i - 1) / 2
		above := *t.heap.at(parent)
		if above.when <= d.when {
			break
		}
		t.put(i, above)
		i = parent
	}
	t.put(i, d)
}

// sink puts d at i, or as far below it as it is due after.
func (t *timers) sink(i int, d deadline) {
	for {
		child := 2*i + 1
		if child >= t.heap.len() {
			break
		}
		if child+1 < t.heap.len() && t.heap.at(child+1).when < t.heap.at(child).when {
			child++
		}
		below := *t.heap.at(child)
		if d.when <= below.when {
			break
		}
		t.put(i, below)
		i = child
	}
	t.put(i, d)
}
