package loadgen

import (
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a run measured.
type Result struct {
	Begin   time.Time     // of the window
	Elapsed time.Duration // its length; less than asked for if the run was stopped early
	Threads int
	Reports []Report // one for each Work
}

// Report is what the connections of one Work did in the window.
type Report struct {
	Work       Work
	Operations uint64 // that ended in the window; none in bulk and idle
	BytesUp    uint64
	BytesDown  uint64
	// Latency is of the operations: none in bulk and idle. Of an open loop it has those
	// that timed out as well, with the time after which they were given up. Operations
	// that failed in another way are in Errors alone.
	Latency Latency

	// Unfinished is how many operations of an open loop were due in the window and not
	// done at its end. They are in Latency with the time they had waited by then.
	Unfinished uint64
	// Stalled is how many connections that had something to do moved no byte in the
	// window, nor in the second before its end.
	Stalled int
	// Open is how many connections were open when the window ended.
	Open int
	// Errors count from the start of the run to its end, not only in the window.
	Errors Errors
}

// Err is nil if nothing went wrong.
func (r *Result) Err() error {
	var errs []error
	for _, p := range r.Reports {
		if n := p.Errors.Total(); n > 0 {
			errs = append(errs, fmt.Errorf("%s: %d errors, the first: %w", p.Work.Mode, n, p.Errors.First))
		}
		if p.Stalled > 0 {
			errs = append(errs, fmt.Errorf("%s: %d connections stood still", p.Work.Mode, p.Stalled))
		}
	}
	return errors.Join(errs...)
}

// ErrorKind is what went wrong with a connection.
type ErrorKind uint8

const (
	Refused     ErrorKind = iota // nobody listens
	Unreachable                  // any other failure to connect
	Reset                        // RST or EPIPE on an open connection
	Closed                       // the end of the stream before it was due
	TimedOut                     // no connection, or an operation without progress, in time
	Corrupt                      // other bytes than expected, or too many
	Local                        // this machine's limits: descriptors, ports, memory
	ErrorKinds                   // how many kinds there are
)

var kindNames = [ErrorKinds]string{"refused", "unreachable", "reset", "closed", "timeout", "corrupt", "local"}

func (k ErrorKind) String() string { return kindNames[k] }

// Errors counts failures by kind. Every failure ends its connection, which is opened
// again after 100 ms.
type Errors struct {
	Count [ErrorKinds]uint64
	First error // nil if there was none
}

// Total is the number of failures of every kind.
func (e *Errors) Total() (n uint64) {
	for _, c := range e.Count {
		n += c
	}
	return n
}

func (e *Errors) note(k ErrorKind, err error) {
	if e.First == nil || k != TimedOut && e.timeouts() {
		e.First = err
	}
	e.Count[k]++
}

// timeouts reports whether there is nothing but timeouts: any other error says more
// than those, which on a slow machine come beside it.
func (e *Errors) timeouts() bool { return e.Total() == e.Count[TimedOut] }

func (e *Errors) merge(o *Errors) {
	if o.First != nil && (e.First == nil || e.timeouts() && !o.timeouts()) {
		e.First = o.First
	}
	for k, n := range o.Count {
		e.Count[k] += n
	}
}

// Latency is a distribution of durations, to three significant digits. The zero
// value is one of nothing.
type Latency struct{ h *hdrhistogram.Histogram }

// longest is what longer durations are counted as.
const longest = 10 * time.Minute

func newLatency() Latency { return Latency{hdrhistogram.New(1, int64(longest), 3)} }

func (l Latency) record(ns int64) { _ = l.h.RecordValue(min(max(ns, 1), int64(longest))) }

// Count is how many durations were recorded.
func (l Latency) Count() uint64 {
	if l.h == nil {
		return 0
	}
	return uint64(l.h.TotalCount())
}

// Percentile is the duration that p percent of all do not exceed; 100 is the longest.
// It is 0 if there is none.
func (l Latency) Percentile(p float64) time.Duration {
	if l.Count() == 0 {
		return 0
	}
	if p >= 100 {
		return time.Duration(l.h.Max())
	}
	return time.Duration(l.h.ValueAtQuantile(p))
}

// Mean is the average, 0 if there is none.
func (l Latency) Mean() time.Duration {
	if l.Count() == 0 {
		return 0
	}
	return time.Duration(l.h.Mean())
}
