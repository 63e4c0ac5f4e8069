package loadgen

import (
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

const (
	// watchInterval is how often a thread looks for what is overdue.
	watchInterval = int64(100 * time.Millisecond)
	// retryAfter is how long a connection that failed stays closed.
	retryAfter = int64(100 * time.Millisecond)
	// dialsAtOnce bounds the connects under way on one thread while connections are
	// opened that then stay, so that no backlog overflows.
	dialsAtOnce = 64
)

// thread is one loop of a run: its connections, and what it measures.
type thread struct {
	r     *Run
	index int
	poller
	now     int64 // as of the last wait
	begin   int64 // of the window, as far as known
	end     int64
	ending  bool
	giveUp  int64 // when ending has lasted too long
	watchAt int64 // when to look for what is overdue; forever if nothing can be

	jobs    []*job // one for each Work, some without connections
	conns   []conn // by slot
	alive   int    // connections that are not gone, once ending
	pending []*conn
	dialing int
	dials   int     // so far: turns through targets and sources
	queue   []*conn // used up their turn
	spare   []*conn // the other buffer of queue
	buf     []byte
	first   []byte // scratch for the first message, which holds the role
	table   []byte
}

// newThread takes every Threads-th connection, from index.
func newThread(r *Run, index int) (*thread, error) {
	p, err := openPoller()
	if err != nil {
		return nil, err
	}
	t := &thread{r: r, index: index, poller: p, begin: forever, end: forever, watchAt: forever,
		dials: index, buf: make([]byte, chunkSize), first: make([]byte, chunkSize), table: pattern()}
	n := 0
	for _, w := range r.options.Works {
		j := &job{Work: w, latency: newLatency()}
		t.jobs = append(t.jobs, j)
		mine := 0
		for range w.Connections {
			if n%r.options.Threads == index {
				t.conns = append(t.conns, conn{fd: -1, job: j, slot: uint32(len(t.conns)), phase: phaseFor(n, r.options.Plain)})
				mine++
			}
			n++
		}
		if w.Rate > 0 && mine > 0 {
			j.pace.start = forever // until the window is known
			j.pace.interval = 1e9 / w.Rate * float64(w.Connections) / float64(mine)
			j.free = make([]*conn, 0, mine)
		}
	}
	t.alive = len(t.conns)
	t.queue, t.spare = make([]*conn, 0, t.alive), make([]*conn, 0, t.alive)
	return t, nil
}

// run is the thread, which it stays on as a rule. Each turn waits, handles what is ready, goes on with what used
// up its turn, and begins what is due.
func (t *thread) run() {
	defer t.r.running.Done()
	t.now = t.r.clock()
	for i := range t.conns {
		t.pending = append(t.pending, &t.conns[i])
	}
	for !t.ending || t.alive > 0 {
		t.dialPending()
		events := t.wait(t.patience())
		t.now = t.r.clock()
		t.advance()
		if t.slice.Renew(t.now) {
			sys.SetTimerSlack(1) // an open loop is punctual to the microsecond, not to the default 50
		}
		for _, ev := range events {
			t.handle(ev)
		}
		t.goOn()
		t.issue()
		if t.now >= t.watchAt {
			t.watch()
		}
	}
}

// patience is how long the thread may wait.
func (t *thread) patience() int64 {
	if len(t.queue) > 0 {
		return 0
	}
	until := t.watchAt
	if !t.ending {
		until = min(until, t.end)
		for _, j := range t.jobs {
			if len(j.free) > 0 {
				until = min(until, j.pace.next())
			}
		}
	}
	if until == forever {
		return forever
	}
	return max(until-t.r.clock(), 0)
}

// advance takes over what the conductor has set, and begins to end when it is time.
func (t *thread) advance() {
	if t.begin == forever {
		if t.begin = t.r.begin.Load(); t.begin != forever {
			t.openLoops()
		}
	}
	if t.ending {
		return
	}
	t.end = t.r.end.Load()
	if t.r.halted.Load() {
		t.end = min(t.end, t.now)
	}
	if t.now >= t.end {
		t.finish()
	}
}

// openLoops sets the schedules going, each thread's a little later than the last's.
func (t *thread) openLoops() {
	for _, j := range t.jobs {
		late := j.pace.interval * float64(t.index) / float64(t.r.options.Threads)
		j.pace.start = t.begin - int64(t.r.options.Warmup) + int64(late)
	}
}

func (t *thread) handle(ev sys.Event) {
	slot, gen := uint32(ev.Fd), uint32(ev.Pad)
	if gen == 0 {
		sys.ClearSignal(t.wakefd)
		return
	}
	if c := &t.conns[slot]; c.gen == gen && c.fd >= 0 {
		t.stir(c, ev.Events)
	}
}

// goOn continues what used up its turn.
func (t *thread) goOn() {
	queue := t.queue
	t.queue = t.spare[:0]
	for _, c := range queue {
		c.queued = false
		if c.fd >= 0 {
			t.stir(c, unix.EPOLLIN|unix.EPOLLOUT)
		}
	}
	t.spare = queue
}

func (t *thread) again(c *conn) {
	if !c.queued {
		c.queued = true
		t.queue = append(t.queue, c)
	}
}

// issue begins the operations of open loops that are due and have a connection.
func (t *thread) issue() {
	if t.ending {
		return
	}
	for _, j := range t.jobs {
		for len(j.free) > 0 && j.pace.next() <= t.now {
			last := len(j.free) - 1
			c := j.free[last]
			j.free = j.free[:last]
			t.takeDue(c)
		}
	}
}

// dialPending opens connections that are to stay, a few at a time.
func (t *thread) dialPending() {
	for len(t.pending) > 0 && t.dialing < dialsAtOnce && !t.ending {
		last := len(t.pending) - 1
		c := t.pending[last]
		t.pending = t.pending[:last]
		c.counted = true
		t.dialing++
		if c.due = unscheduled; c.job.Mode == Connect {
			c.due = t.now
		}
		t.dial(c)
	}
}

// needWatch makes the watch come round: something may become overdue.
func (t *thread) needWatch() {
	if t.watchAt == forever {
		t.watchAt = t.now + watchInterval
	}
}

// watch fails what is overdue and opens again what failed a while ago. It goes on as
// long as there is anything of that kind, so idle connections cost nothing.
func (t *thread) watch() {
	t.watchAt = forever
	for i := range t.conns {
		t.watchConn(&t.conns[i])
	}
}

func (t *thread) watchConn(c *conn) {
	switch {
	case c.state == gone || c.state == still || c.state == unused:
		return
	case c.state == failed && t.now >= c.retryAt:
		t.revive(c)
		return
	case c.state == failed:
	case t.ending && t.now >= t.giveUp, t.now-c.progress >= int64(t.r.options.Timeout):
		t.fail(c, TimedOut, "wait for", unix.ETIMEDOUT)
		return
	}
	t.needWatch()
}

// close frees what the thread holds, after run.
func (t *thread) close() { t.poller.close() }
