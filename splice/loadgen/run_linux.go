package loadgen

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Run is a load under way. Its threads open the connections; when each has tried,
// the window is set, and everything else follows from the clock:
//
//	 opening        warming up     measuring        ending
//	|--------------|--------------|----------------|--------|
//	              begin - Warmup  begin (Begun)    end (Ended)
type Run struct {
	options Options
	base    time.Time // zero of every thread's clock
	threads []*thread
	running sync.WaitGroup
	trying  sync.WaitGroup // connections that have not tried to open yet

	begin, end atomic.Int64 // of the window; forever until they are known
	halted     atomic.Bool  // asked to stop early

	begun, ended, done chan struct{}
	result             *Result
	err                error
}

// Start begins to make load, and stops early when ctx ends. The error tells what is
// wrong with the options, or wraps the errno for what the system does not give.
func Start(ctx context.Context, o Options) (*Run, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o = o.completed()
	r := &Run{options: o, base: time.Now(),
		begun: make(chan struct{}), ended: make(chan struct{}), done: make(chan struct{})}
	r.begin.Store(forever)
	r.end.Store(forever)
	for i := range o.Threads {
		t, err := newThread(r, i)
		if err != nil {
			for _, t := range r.threads {
				t.close()
			}
			return nil, err
		}
		r.threads = append(r.threads, t)
	}
	takeProcessors(len(r.threads))
	for _, t := range r.threads {
		r.trying.Add(len(t.conns))
		r.running.Add(1)
		go t.run()
	}
	go r.conduct(ctx)
	return r, nil
}

// Begun is closed when the window begins, Ended when it ends. If it never comes, both
// are closed when the run is over.
func (r *Run) Begun() <-chan struct{} { return r.begun }
func (r *Run) Ended() <-chan struct{} { return r.ended }

// Wait answers what the run measured, when it is over. If the window never began the
// result holds errors alone, and Wait's error tells why: ctx's, or, if not one
// connection could be opened, the first one's.
func (r *Run) Wait() (*Result, error) {
	<-r.done
	return r.result, r.err
}

// Snapshot is the state at this moment.
func (r *Run) Snapshot() Snapshot {
	now, begin := r.clock(), r.begin.Load()
	s := Snapshot{}
	switch {
	case begin == forever:
	case now < begin:
		s.Phase = Warming
	case now < r.end.Load():
		s.Phase = Measuring
	default:
		s.Phase = Ending
	}
	for _, t := range r.threads {
		for _, j := range t.jobs {
			j.live.addTo(&s)
		}
	}
	s.Behind = r.behind(min(now, r.end.Load()))
	return s
}

// behind is how many operations were due by now and have not begun.
func (r *Run) behind(now int64) (n uint64) {
	start := r.begin.Load() - int64(r.options.Warmup)
	if now <= start {
		return 0
	}
	for _, t := range r.threads {
		for _, j := range t.jobs {
			if j.pace.interval == 0 {
				continue
			}
			due, taken := uint64(float64(now-start)/j.pace.interval), j.live.taken.Load()
			n += due - min(due, taken)
		}
	}
	return n
}

func (r *Run) clock() int64 { return int64(time.Since(r.base)) }

// conduct takes the run through its phases.
func (r *Run) conduct(ctx context.Context) {
	defer close(r.done)
	stop := context.AfterFunc(ctx, r.halt)
	defer stop()

	r.trying.Wait()
	if err := r.opened(); err != nil {
		r.err = err
		r.halt()
	} else if ctx.Err() != nil {
		r.err = ctx.Err()
	} else {
		r.measure(ctx)
	}
	r.running.Wait()
	r.finish()
}

// opened tells why not one connection could be opened.
func (r *Run) opened() error {
	var failed Errors
	for _, t := range r.threads {
		for _, j := range t.jobs {
			if j.live.opened.Load() > 0 {
				return nil
			}
			if e := j.firstError.Load(); e != nil && failed.First == nil {
				failed.First = *e
			}
		}
	}
	return failed.First
}

// measure sets the window and waits until it is over.
func (r *Run) measure(ctx context.Context) {
	begin := r.clock() + int64(r.options.Warmup)
	r.end.Store(begin + int64(r.options.Duration))
	r.begin.Store(begin)
	r.wakeAll()
	defer close(r.ended)
	defer r.wakeAll()
	if !r.sleepUntil(ctx, begin) {
		r.err = ctx.Err()
		close(r.begun)
		return
	}
	close(r.begun)
	if !r.sleepUntil(ctx, begin+int64(r.options.Duration)) {
		r.end.Store(r.clock())
	}
}

func (r *Run) sleepUntil(ctx context.Context, t int64) bool {
	timer := time.NewTimer(time.Duration(t - r.clock()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// halt makes every thread end its connections now.
func (r *Run) halt() {
	r.halted.Store(true)
	r.wakeAll()
}

func (r *Run) wakeAll() {
	for _, t := range r.threads {
		t.wake()
	}
}

// finish frees the threads and adds up what they measured.
func (r *Run) finish() {
	returnProcessors(len(r.threads))
	for _, ch := range []chan struct{}{r.begun, r.ended} {
		select {
		case <-ch:
		default:
			close(ch)
		}
	}
	r.result = r.sum()
	for _, t := range r.threads {
		t.close()
	}
}

func (r *Run) sum() *Result {
	begin, end := r.begin.Load(), r.end.Load()
	res := &Result{Threads: len(r.threads)}
	if r.err == nil {
		res.Begin, res.Elapsed = r.base.Add(time.Duration(begin)), time.Duration(end-begin)
	}
	for i, w := range r.options.Works {
		p := Report{Work: w, Latency: newLatency()}
		for _, t := range r.threads {
			t.jobs[i].addTo(&p)
		}
		res.Reports = append(res.Reports, p)
	}
	return res
}
