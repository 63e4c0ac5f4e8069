package healthcheck

// State is the health of a backend, as its checks have settled it.
type State uint8

const (
	StateUnchecked State = iota // no probe has known an answer yet
	StateUp
	StateDown
)

// String is "unchecked", "up" or "down".
func (s State) String() string {
	switch s {
	case StateUp:
		return "up"
	case StateDown:
		return "down"
	}
	return "unchecked"
}

// Threshold turns verdicts into a state. It is pure: no clock, no lock. Its
// zero value is unchecked with rise 1 and fall 1.
type Threshold struct {
	rise, fall int
	state      State
	last       Verdict // the last known verdict; Unknown before there is one
	streak     int     // how many times in a row, unknown ones not counted
}

// NewThreshold is an unchecked Threshold. rise is how many verdicts up in a
// row bring a down backend up, fall how many verdicts down in a row bring it
// down; below 1 they count as 1.
func NewThreshold(rise, fall int) Threshold {
	return Threshold{rise: rise, fall: fall}
}

// From is t in a state that no verdict has brought about.
func (t Threshold) From(s State) Threshold {
	t.state = s
	return t
}

// SetLimits changes rise and fall; the state and the streak stay, so that the
// new limits are applied to the next verdict.
func (t *Threshold) SetLimits(rise, fall int) {
	t.rise, t.fall = rise, fall
}

// Observe takes the next verdict and tells the state after it, and whether it
// changed. Unknown changes nothing; Degraded counts as Up.
func (t *Threshold) Observe(v Verdict) (s State, changed bool) {
	switch v {
	case Unknown:
		return t.state, false
	case Degraded:
		v = Up
	}
	if v != t.last {
		t.last, t.streak = v, 0
	}
	t.streak++
	before := t.state
	t.state = t.settle()
	return t.state, t.state != before
}

// settle is the state that follows from the current one and the streak.
func (t *Threshold) settle() State {
	switch {
	case t.last == Up && (t.state == StateUnchecked || t.streak >= t.rise):
		return StateUp
	case t.last == Down && (t.state == StateUnchecked || t.streak >= t.fall):
		return StateDown
	}
	return t.state
}

// State is the current state.
func (t *Threshold) State() State { return t.state }

// Streak is the last known verdict, Up or Down, and how many times in a row it came;
// unknown ones in between are not counted. It is Unknown, 0 at the start.
func (t *Threshold) Streak() (Verdict, int) { return t.last, t.streak }

// Settled is false before the first known verdict, and while verdicts
// contradict the state but are too few to change it.
func (t *Threshold) Settled() bool {
	return t.state == StateUp && t.last == Up || t.state == StateDown && t.last == Down
}
