package balancer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// claimed is the table of seats with equal weights and these preferences.
func claimed(size int, orders ...preference) []uint32 {
	seats := make([]seat, len(orders))
	for i := range seats {
		seats[i].weight = 1
	}
	return claimSlots(size, seats, orders)
}

// The example of the paper: tables 1 and 2 of section 3.4.
func TestMaglevWorkedExample(t *testing.T) {
	b0, b1, b2 := preference{3, 4}, preference{0, 2}, preference{3, 1}

	if got, want := claimed(7, b0, b1, b2), []uint32{1, 0, 1, 0, 2, 2, 0}; !slices.Equal(got, want) {
		t.Errorf("three backends: got %v; want %v", got, want)
	}
	// Without B1 the second seat is B2's.
	if got, want := claimed(7, b0, b2), []uint32{0, 0, 0, 0, 1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("without B1: got %v; want %v", got, want)
	}
}

func ringOf(size int, seats []seat) *ring {
	return newRing(newGroup(newHashKeys("test"), size, seats))
}

func slotCounts(r *ring) map[string]int {
	counts := make(map[string]int)
	for _, s := range r.slots {
		counts[r.seats[s].name]++
	}
	return counts
}

func TestMaglevSlotCountsDifferByAtMostOneAtEqualWeights(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 10, 100, 650, 651, 1000} {
		counts := slotCounts(ringOf(0, seatsNamed(n)))
		least, most := len(counts)*1<<20, 0
		for _, c := range counts {
			least, most = min(least, c), max(most, c)
		}
		if len(counts) != n || most-least > 1 {
			t.Errorf("%d backends: got %d with %d..%d slots; want all, within one", n, len(counts), least, most)
		}
	}
}

func TestMaglevSlotsFollowWeights(t *testing.T) {
	seats := []seat{{"a", 1}, {"b", 2}, {"c", 3}, {"d", 100}, {"e", 256}, {"f", 2}}
	counts := slotCounts(ringOf(0, slices.Clone(seats)))
	for _, s := range seats {
		want := slotsUsual * s.weight / 364
		if got := counts[s.name]; got < want-6 || got > want+6 {
			t.Errorf("%s of weight %d: got %d slots; want about %d", s.name, s.weight, got, want)
		}
	}
}

func TestMaglevGivesTheLightestASlotBesideManyHeavy(t *testing.T) {
	seats := seatsNamed(650)
	for i := range seats[1:] {
		seats[i+1].weight = MaxWeight
	}
	if got := slotCounts(ringOf(0, seats))["backend-0"]; got < 1 {
		t.Errorf("weight 1 beside 649 of %d: got %d slots; want at least 1", MaxWeight, got)
	}
}

func TestMaglevSizeFollowsTheNumberOfBackends(t *testing.T) {
	for n, want := range map[int]int{1: 65537, 650: 65537, 651: 655373} {
		if got := len(ringOf(0, seatsNamed(n)).slots); got != want {
			t.Errorf("%d backends: got %d slots; want %d", n, got, want)
		}
	}
	if got := len(ringOf(127, seatsNamed(5)).slots); got != 127 {
		t.Errorf("configured 127: got %d", got)
	}
}

func TestMaglevTableDoesNotDependOnOrder(t *testing.T) {
	seats := seatsNamed(50)
	for i := range seats {
		seats[i].weight = 1 + i%3
	}
	want := ringOf(0, slices.Clone(seats))
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(seats), func(i, k int) { seats[i], seats[k] = seats[k], seats[i] })
	got := ringOf(0, seats)
	if !slices.Equal(got.slots, want.slots) || !slices.Equal(got.seats, want.seats) {
		t.Error("shuffled backends have another table")
	}
}

func TestMaglevTableDependsOnTheKey(t *testing.T) {
	a := newRing(newGroup(newHashKeys("a"), 127, seatsNamed(5)))
	b := newRing(newGroup(newHashKeys("b"), 127, seatsNamed(5)))
	if slices.Equal(a.slots, b.slots) {
		t.Error("two keys, one table")
	}
}

// The share of slots that change hands, those of the removed backends included.
func TestMaglevDisruption(t *testing.T) {
	all := ringOf(65537, seatsNamed(1000))
	for _, c := range []struct {
		removed     int
		least, most float64 // percent
	}{
		{1, 0.3, 1.0},
		{10, 2.8, 4.0},
	} {
		for first := 0; first < 990; first += 331 {
			seats := slices.Delete(seatsNamed(1000), first, first+c.removed)
			rest := ringOf(65537, seats)
			changed := 0
			for i := range all.slots {
				if all.seats[all.slots[i]] != rest.seats[rest.slots[i]] {
					changed++
				}
			}
			if got := 100 * float64(changed) / 65537; got < c.least || got > c.most {
				t.Errorf("without %d from %d on: got %.2f %% of slots changed; want %.1f..%.1f %%",
					c.removed, first, got, c.least, c.most)
			}
		}
	}
}

// FuzzMaglev takes each byte as a weight: every slot has an owner, everybody has a slot, and the counts
// follow the weights within what rounding explains.
func FuzzMaglev(f *testing.F) {
	f.Add([]byte{1, 1, 1}, uint8(0))
	f.Add([]byte{255, 1, 1, 7, 7, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, weights []byte, pick uint8) {
		sizes := []int{509, 1021, 4093}
		size := sizes[int(pick)%len(sizes)]
		if len(weights) == 0 || len(weights) > 200 {
			t.Skip()
		}
		seats, total := make([]seat, len(weights)), 0
		for i, w := range weights {
			seats[i] = seat{fmt.Sprint(i), int(w) + 1}
			total += int(w) + 1
		}
		counts := slotCounts(ringOf(size, slices.Clone(seats)))
		slack := 2 + len(seats)*256/total // the first round gives everybody one, whatever the weight
		for _, s := range seats {
			share, got := float64(size)*float64(s.weight)/float64(total), counts[s.name]
			heavySlack := slack + int(share*float64(len(seats))/float64(size)) + 1
			if got < 1 || float64(got) < share-float64(heavySlack) || float64(got) > share+float64(heavySlack) {
				t.Errorf("%s of weight %d/%d: got %d of %d slots; want about %.1f", s.name, s.weight, total, got, size, share)
			}
		}
	})
}
