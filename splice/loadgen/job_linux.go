package loadgen

import "sync/atomic"

// job is one thread's share of a Work.
type job struct {
	Work
	pace  pace
	free  []*conn // of an open loop: with nothing to do
	reads uint64  // received so far, for sampling

	// What was measured: touched by the thread alone until it ends.
	window     tally
	latency    Latency
	unfinished uint64
	stalled    int
	open       int
	errors     Errors

	live       liveCounts
	firstError atomic.Pointer[error]
}

// tally counts what happened in the window.
type tally struct{ operations, up, down uint64 }

// liveCounts are written by the thread and read by anybody.
type liveCounts struct {
	open, opened                        atomic.Int64
	operations, up, down, errors, taken atomic.Uint64
}

func (c *liveCounts) addTo(s *Snapshot) {
	s.Open += int(c.open.Load())
	s.Operations += c.operations.Load()
	s.BytesUp += c.up.Load()
	s.BytesDown += c.down.Load()
	s.Errors += c.errors.Load()
}

func (j *job) note(k ErrorKind, err error) {
	if j.errors.First == nil {
		j.firstError.Store(&err)
	}
	j.errors.note(k, err)
	j.live.errors.Add(1)
}

func (j *job) addTo(p *Report) {
	p.Operations += j.window.operations
	p.BytesUp += j.window.up
	p.BytesDown += j.window.down
	p.Latency.h.Merge(j.latency.h)
	p.Unfinished += j.unfinished
	p.Stalled += j.stalled
	p.Open += j.open
	p.Errors.merge(&j.errors)
}
