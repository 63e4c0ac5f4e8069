package sys

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// A slice is renewed when it is old enough, and then who waits for the same processor of
// the runtime had a turn.
func TestTimeSlice(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var ran atomic.Bool
	s := TimeSlice{began: 1}
	if s.Renew(sliceTime) || s.Renew(1) {
		t.Error("a slice was renewed before its time")
	}
	go ran.Store(true)
	if !s.Renew(1+sliceTime) || !ran.Load() {
		t.Error("got no turn for the other goroutine at the slice's end")
	}
	if s.Renew(2 * sliceTime) {
		t.Error("a slice was renewed twice")
	}
}
