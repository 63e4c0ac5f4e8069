package loadgen

import (
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
)

// stallTime is how long a connection that should move bytes may move none: on a busy
// machine a thread may well have to wait for its turn.
const stallTime = int64(time.Second)

// inWindow tells whether what happens in this turn is measured.
func (t *thread) inWindow() bool { return t.now >= t.begin && !t.ending }

func (t *thread) countUp(c *conn, n int) {
	c.job.live.up.Add(uint64(n))
	if t.inWindow() {
		c.job.window.up += uint64(n)
	}
}

func (t *thread) countDown(c *conn, n int) {
	c.job.live.down.Add(uint64(n))
	if t.inWindow() {
		c.job.window.down += uint64(n)
	}
}

// measure notes an operation that was due and has ended. An operation of a closed
// loop belongs to the window in which it ends; the throughput of an open loop as
// well, but its latency to the window in which it was due, because finish adds those
// that never ended.
func (t *thread) measure(j *job, due, now int64) {
	j.live.operations.Add(1)
	if t.ending {
		return
	}
	if now >= t.begin && now < t.end {
		j.window.operations++
	}
	open := j.pace.interval > 0
	if open && due >= t.begin && due < t.end || !open && now >= t.begin && now < t.end {
		j.latency.record(now - due)
	}
}

// finish ends the load: operations under way may end, streams are ended in order.
func (t *thread) finish() {
	t.ending = true
	t.giveUp = t.now + int64(t.r.options.Timeout)
	t.needWatch()
	for _, j := range t.jobs {
		j.open = int(j.live.open.Load())
		t.countUnbegun(j)
	}
	for i := range t.conns {
		c := &t.conns[i]
		t.countUnfinished(c)
		t.finishConn(c)
	}
}

// countUnbegun measures what an open loop had no connection for.
func (t *thread) countUnbegun(j *job) {
	for j.pace.next() < t.end {
		if due := j.pace.take(); due >= t.begin {
			j.unfinished++
			j.latency.record(t.end - due)
		}
	}
}

// countUnfinished measures an operation of an open loop that is under way, and notes
// a connection that stood still.
func (t *thread) countUnfinished(c *conn) {
	if c.state != working && c.state != dialing || t.begin == forever {
		return
	}
	if c.progress < t.begin && t.end-c.progress >= stallTime {
		c.job.stalled++
	}
	if t.measureWait(c, t.end) {
		c.job.unfinished++
	}
}

// measureWait measures an operation of an open loop that is under way by how long it
// has waited until now, if it belongs to the window, and tells whether it does.
func (t *thread) measureWait(c *conn, now int64) bool {
	under := c.state == working || c.state == dialing
	if !under || c.job.pace.interval == 0 || c.due < t.begin || c.due >= t.end {
		return false
	}
	c.job.latency.record(now - c.due)
	return true
}

func (t *thread) finishConn(c *conn) {
	switch {
	case c.state == gone:
	case c.state == working && c.job.Mode.bulk():
		c.state, c.progress = closing, t.now
		sys.ShutdownWrite(c.fd)
	case c.state == working:
		// complete ends it
	default:
		t.depart(c)
	}
}
