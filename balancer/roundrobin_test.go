package balancer

import (
	"fmt"
	"strings"
	"testing"
)

// tierOf is a tier of backends with these weights.
func tierOf(weights ...int) *tier {
	t := &tier{table: &table{layout: &layout{}}}
	for i, w := range weights {
		t.rows = append(t.rows, row{weight: int32(w), limit: unlimited})
		t.members = append(t.members, int32(i))
	}
	return t
}

func TestRoundRobinSmoothOrder(t *testing.T) {
	for _, c := range []struct {
		weights []int
		want    string
	}{
		{[]int{5, 1, 1}, "aabacaa"},
		{[]int{1, 1, 1}, "abc"},
		{[]int{7, 7, 7, 7}, "abcd"},
		{[]int{2, 1}, "aba"},
		{[]int{3, 1}, "aaba"},
		{[]int{256, 128}, "aba"},
		{[]int{4, 2, 6}, "cabcac"},
		{[]int{9}, "a"},
	} {
		t.Run(fmt.Sprint(c.weights), func(t *testing.T) {
			s := newSchedule(tierOf(c.weights...))
			var got, again strings.Builder
			for turn := range s.total {
				got.WriteByte('a' + byte(s.at(turn)))
				again.WriteByte('a' + byte(s.at(s.total+turn)))
			}
			if got.String() != c.want || again.String() != c.want {
				t.Errorf("got %s, then %s; want %s each time", got.String(), again.String(), c.want)
			}
		})
	}
}

// TestRoundRobinStride holds the cycles that are too long to lay down to what smoothness means: each row
// has exactly its units a cycle, and waits for no turn much longer than its weight says.
func TestRoundRobinStride(t *testing.T) {
	ramp := make([]int, 1000)
	for i := range ramp {
		ramp[i] = 1 + i%MaxWeight
	}
	lopsided := make([]int, 2000)
	for i := range lopsided {
		lopsided[i] = 1
	}
	lopsided[1234] = MaxWeight
	for name, weights := range map[string][]int{"ramp": ramp, "lopsided": lopsided} {
		t.Run(name, func(t *testing.T) {
			s := newSchedule(tierOf(weights...))
			if s.order != nil {
				t.Fatal("the order was laid down")
			}
			turns, last := make([]int, len(weights)), make([]int, len(weights))
			for turn := range int(s.total) {
				i := s.at(uint64(turn))
				if gap, fair := turn-last[i], int(s.total)/weights[i]; turns[i] > 0 && gap > 3*fair {
					t.Fatalf("row %d of weight %d: waits %d turns; want about %d", i, weights[i], gap, fair)
				}
				turns[i]++
				last[i] = turn
			}
			for i, w := range weights {
				if turns[i] != w {
					t.Errorf("row %d: got %d turns a cycle; want %d", i, turns[i], w)
				}
			}
		})
	}
}

func TestRoundRobinGivesTheTurnsOfAFullBackendToAllOthersAlike(t *testing.T) {
	p := mustNew(t, "round-robin", "a", "b max=1", "c", "d")
	acquire(t, p) // a
	acquire(t, p) // b, which is full from now on
	acquire(t, p) // c
	acquire(t, p) // d
	if got, want := picks(t, p, 9), "acdacdacd"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

func TestRoundRobinGoesOnWhereItWasWhenHealthChanges(t *testing.T) {
	p := mustNew(t, "round-robin", "a", "b", "c", "d")
	got := picks(t, p, 2)
	p.SetHealth(named(t, p, "d"), Down)
	p.SetHealth(named(t, p, "d"), Unchecked)
	if got += picks(t, p, 2); got != "abcd" {
		t.Errorf("got %s; want abcd", got)
	}
}

func FuzzSmoothOrder(f *testing.F) {
	f.Add([]byte{4, 0, 0})
	f.Add([]byte{255, 0, 127, 3})
	f.Fuzz(func(t *testing.T, bytes []byte) {
		if len(bytes) == 0 || len(bytes) > 64 {
			t.Skip()
		}
		weights := make([]int, len(bytes))
		for i, b := range bytes {
			weights[i] = int(b) + 1
		}
		s := newSchedule(tierOf(weights...))
		turns := make([]int, len(weights))
		for turn := range s.total {
			turns[s.at(turn)]++
		}
		for i, w := range weights {
			if turns[i]*weights[0] != w*turns[0] {
				t.Errorf("weights %v: got %v turns a cycle", weights, turns)
			}
		}
	})
}
