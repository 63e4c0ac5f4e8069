package splice

// timers is the deadline queue of one loop: a binary heap of (when, slot), with
// each slot's place in the heap kept in places, so that a slot has at most one
// entry. Activity does not touch it: a pair notes the time, and when its entry is
// due asks itself whether the deadline has moved (O(1) per activity, O(log n) per
// connection). Times are nanoseconds on the loop's clock, which the caller passes
// in. Not safe for concurrent use.
type timers struct {
	heap   []deadline
	places []int32 // by slot: index in heap + 1, 0 = none
}

type deadline struct {
	when int64
	slot uint32
}

// set makes slot due at when, or earlier if it already is: a later deadline is
// found by the owner when the entry comes due.
func (t *timers) set(slot uint32, when int64) {
	for int(slot) >= len(t.places) {
		t.places = append(t.places, 0)
	}
	i := int(t.places[slot]) - 1
	switch {
	case i < 0:
		t.heap = append(t.heap, deadline{when, slot})
		i = len(t.heap) - 1
		t.places[slot] = int32(i + 1)
	case when < t.heap[i].when:
		t.heap[i].when = when
	default:
		return
	}
	t.rise(i)
}

// clear forgets slot's deadline.
func (t *timers) clear(slot uint32) {
	if int(slot) >= len(t.places) || t.places[slot] == 0 {
		return
	}
	i := int(t.places[slot]) - 1
	t.places[slot] = 0
	last := len(t.heap) - 1
	moved := t.heap[last]
	t.heap = t.heap[:last]
	if i == last {
		return
	}
	t.put(i, moved)
	t.rise(i)
	t.sink(int(t.places[moved.slot]) - 1)
}

// next is the earliest deadline; ok is false if there is none.
func (t *timers) next() (when int64, ok bool) {
	if len(t.heap) == 0 {
		return 0, false
	}
	return t.heap[0].when, true
}

// due takes the earliest slot whose deadline is not after now.
func (t *timers) due(now int64) (slot uint32, ok bool) {
	if len(t.heap) == 0 || t.heap[0].when > now {
		return 0, false
	}
	slot = t.heap[0].slot
	t.clear(slot)
	return slot, true
}

func (t *timers) put(i int, d deadline) {
	t.heap[i] = d
	t.places[d.slot] = int32(i + 1)
}

func (t *timers) rise(i int) {
	d := t.heap[i]
	for i > 0 {
		parent := (i - 1) / 2
		if t.heap[parent].when <= d.when {
			break
		}
		t.put(i, t.heap[parent])
		i = parent
	}
	t.put(i, d)
}

func (t *timers) sink(i int) {
	d := t.heap[i]
	for {
		child := 2*i + 1
		if child >= len(t.heap) {
			break
		}
		if child+1 < len(t.heap) && t.heap[child+1].when < t.heap[child].when {
			child++
		}
		if d.when <= t.heap[child].when {
			break
		}
		t.put(i, t.heap[child])
		i = child
	}
	t.put(i, d)
}
