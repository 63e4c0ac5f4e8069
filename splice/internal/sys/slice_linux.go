package sys

import _ "unsafe" // for go:linkname

// TimeSlice keeps a goroutine that is always busy on its thread. The zero value is ready.
//
// The runtime takes a goroutine that has run for 10 ms off its thread, offers it to all of its
// processors and wakes another thread that may take it. A busy loop then moves from thread
// to thread a hundred times a second, and each has to find its place among the others on a
// core, which shows in the throughput and in the tail of the latencies: see
// docs/benchmarks.md. A goroutine that yields before, to those alone that wait for the same
// processor of the runtime, begins a new slice of time and goes on where it was. One that
// sleeps now and then should not: the runtime would look more often whether it does.
type TimeSlice struct {
	began int64
}

// sliceTime is how old a slice gets, in nanoseconds: well below those 10 ms.
const sliceTime = 4_000_000

// Begin begins a slice where the goroutine has slept, which ended the one before.
func (s *TimeSlice) Begin(now int64) { s.began = now }

// Renew begins a new slice if this one is old enough, and reports whether it was. now is in
// nanoseconds on any clock.
func (s *TimeSlice) Renew(now int64) bool {
	if now-s.began < sliceTime {
		return false
	}
	s.began = now
	goyield()
	return true
}

// goyield is what runtime.Gosched would be if it asked no other processor of the runtime.
// The runtime has it for those who link to it by name, and keeps it as it is
// (go.dev/issue/67401); if it went, the program would not link.
//
//go:linkname goyield runtime.goyield
func goyield()
