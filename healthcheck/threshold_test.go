package healthcheck

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// verdicts reads "F O ?": a failure, a success, an unknown.
func verdicts(history string) []Verdict {
	var vs []Verdict
	for word := range strings.FieldsSeq(history) {
		vs = append(vs, map[string]Verdict{"F": Down, "O": Up, "?": Unknown}[word])
	}
	return vs
}

// states writes "-" for unchecked, "U" for up, "D" for down.
func states(t Threshold, vs []Verdict) string {
	var b strings.Builder
	for _, v := range vs {
		s, _ := t.Observe(v)
		b.WriteByte("-UD"[s])
	}
	return b.String()
}

func TestThreshold(t *testing.T) {
	tests := []struct {
		name       string
		rise, fall int
		history    string
		want       string
	}{
		{"the first success decides at once", 2, 3, "O", "U"},
		{"the first failure decides at once", 2, 3, "F", "D"},
		{"down at the 6th, up at the 8th, of a backend that was up", 2, 3, "O F F O F F F O O", "UUUUUUDDU"},
		{"a failure starts the rise anew", 2, 3, "F O F O O", "DDDDU"},
		{"unknown first leaves it unchecked", 2, 3, "? ? O", "--U"},
		{"unknown does not reset the failures", 2, 3, "O F ? F ? F", "UUUUUD"},
		{"unknown does not reset the successes", 2, 3, "F O ? O", "DDDU"},
		{"unknown does not count", 1, 2, "O F ? ? ?", "UUUUU"},
		{"rise 1 and fall 1 follow every verdict", 1, 1, "O F O F", "UDUD"},
		{"limits below 1 count as 1", 0, -3, "O F O", "UDU"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := states(NewThreshold(tt.rise, tt.fall), verdicts(tt.history)); got != tt.want {
				t.Errorf("rise %d, fall %d, %s: got %s; want %s", tt.rise, tt.fall, tt.history, got, tt.want)
			}
		})
	}
}

func TestThresholdKeepsStateAndStreakWhenLimitsChange(t *testing.T) {
	th := NewThreshold(2, 5)
	for _, v := range verdicts("O F F F") {
		th.Observe(v)
	}
	th.SetLimits(2, 3)
	if got := th.State(); got != StateUp {
		t.Errorf("state after the limits changed: got %v; want up", got)
	}
	if got, changed := th.Observe(Down); got != StateDown || !changed {
		t.Errorf("4th failure under fall 3: got %v, changed %v; want down, true", got, changed)
	}
}

func TestThresholdSettled(t *testing.T) {
	th := NewThreshold(2, 2)
	tests := []struct {
		verdict Verdict
		settled bool
	}{{Unknown, false}, {Up, true}, {Down, false}, {Unknown, false}, {Down, true}, {Up, false}, {Up, true}}
	for i, tt := range tests {
		th.Observe(tt.verdict)
		if got := th.Settled(); got != tt.settled {
			t.Errorf("after verdict %d (%v): got settled %v; want %v", i, tt.verdict, got, tt.settled)
		}
	}
}

// naiveState is the state after a history, worked out anew from all of it.
func naiveState(rise, fall int, history []Verdict) State {
	var known []Verdict
	state := StateUnchecked
	for _, v := range history {
		if v == Unknown {
			continue
		}
		known = append(known, v)
		switch {
		case len(known) == 1 && v == Up, endsWith(known, Up, rise):
			state = StateUp
		case len(known) == 1 && v == Down, endsWith(known, Down, fall):
			state = StateDown
		}
	}
	return state
}

// endsWith says whether the last n of vs exist and are all v.
func endsWith(vs []Verdict, v Verdict, n int) bool {
	if len(vs) < n {
		return false
	}
	for _, w := range vs[len(vs)-n:] {
		if w != v {
			return false
		}
	}
	return true
}

func TestThresholdAgreesWithNaiveModelOverRandomHistories(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		rise, fall := 1+rnd.IntN(6), 1+rnd.IntN(6)
		failures := rnd.Float64()
		th := NewThreshold(rise, fall)
		var history []Verdict
		before := StateUnchecked
		for range 300 {
			v := Up
			if rnd.Float64() < failures {
				v = Down
			}
			if rnd.IntN(8) == 0 {
				v = Unknown
			}
			history = append(history, v)
			got, changed := th.Observe(v)
			want := naiveState(rise, fall, history)
			if got != want || changed != (want != before) {
				t.Fatalf("seed %d, rise %d, fall %d, after %v: got %v, changed %v; want %v, %v",
					seed, rise, fall, history, got, changed, want, want != before)
			}
			before = want
		}
	}
}
