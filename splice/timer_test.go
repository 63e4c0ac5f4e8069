package splice

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A long random history of set, clear and due against a map that is searched.
func TestTimersAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var timers timers
	model := map[uint32]int64{}
	earliest := func() (slot uint32, when int64, ok bool) {
		for s, w := range model {
			if !ok || w < when {
				slot, when, ok = s, w, true
			}
		}
		return
	}
	now := int64(0)
	for step := range 200_000 {
		slot := rnd.Uint32N(64)
		switch rnd.IntN(4) {
		case 0, 1:
			when := now + rnd.Int64N(1000)
			timers.set(slot, when)
			if old, ok := model[slot]; !ok || when < old {
				model[slot] = when
			}
		case 2:
			timers.clear(slot)
			delete(model, slot)
		case 3:
			now += rnd.Int64N(40)
			for {
				got, ok := timers.due(now)
				_, when, any := earliest()
				if ok != (any && when <= now) {
					t.Fatalf("step %d: due(%d) = %v; the model's earliest is %d", step, now, ok, when)
				}
				if !ok {
					break
				}
				if model[got] != when {
					t.Fatalf("step %d: due gave slot %d of %d; want one of %d", step, got, model[got], when)
				}
				delete(model, got)
			}
		}
		if w, ok := timers.next(); ok != (len(model) > 0) {
			t.Fatalf("step %d: next = %d, %v with %d in the model", step, w, ok, len(model))
		} else if _, when, _ := earliest(); ok && w != when {
			t.Fatalf("step %d: next = %d; want %d", step, w, when)
		}
	}
}
