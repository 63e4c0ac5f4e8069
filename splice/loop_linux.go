package splice

import (
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

const (
	// bufferSize is the size of a loop's one buffer, and so of the largest write in
	// copy mode.
	bufferSize = 64 << 10
	// turnBudget bounds the bytes of one flow in one turn of the loop, so that an
	// elephant does not starve the mice.
	turnBudget = 256 << 10
	// roundBudget bounds what all flows in splice mode move in one round of a loop; the
	// others wait for the next one. So few at a time take all that a pipe holds, which
	// costs less than many small bites, and mice wait no longer than for this.
	roundBudget = 2 << 20
	// acceptBatch bounds the clients that one turn takes off one socket.
	acceptBatch = 64
	// eventBatch is the most events that one wait takes.
	eventBatch = 256

	// busyWait is how long, in milliseconds, a loop that just had work waits for
	// more without giving its processor away. It is longer than a tick of the system's
	// clock: a shorter wait has to program the timer of the processor each time, which on
	// a virtual machine costs as much as a small send. Who wants to stop the world need
	// not wait for it: the runtime's signal to preempt interrupts epoll_wait (signal(7)).
	busyWait = 10
	// acceptRetry is how long accepting pauses for want of a resource.
	acceptRetry = 100 * time.Millisecond

	listenEvents = unix.EPOLLIN | unix.EPOLLET
	pairEvents   = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET
	endEvents    = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
)

// loop is one thread of the reactor: an epoll instance, the pairs that were
// accepted through it, and all that they share. Only the fields of the last group
// are touched by other threads.
//
// An epoll event carries two words. For a pair they are slot<<1|side and the
// pair's generation; for a listening socket its number and 0; for the wake-up
// eventfd 0 and 0.
type loop struct {
	r      *reactor
	ep     int32
	base   time.Time // zero of the loop's clock
	now    int64     // nanoseconds on it, as of the last wait
	heard  hearing
	busy   bool // the last wait had events
	left   int  // of this round's budget
	late   bool // the queue has flows of an earlier round, whose turn comes first
	stop   bool
	pathAt int64 // when the path of a session may be looked at again
	slice  sys.TimeSlice
	events []sys.Event

	buf    []byte
	pairs  pairTable
	queue  []turnover // flows that used up their turn
	dead   []*pair    // closed in this turn
	timers timers
	pipes  pipePool
	stuck  int // flows that keep a pipe for a sink that takes nothing
	chunks chunkPool

	sockets map[uint32]*socket // listening, by number
	number  uint32             // of the last one
	hasty   []*socket          // with clients left after a batch
	paused  []*socket          // for want of a resource, until their retryAt

	wakefd int32
	mu     sync.Mutex
	tasks  []func()
	over   bool // the thread has ended: wakefd is not ours any more
	stats  loopCounters
}

// loopCounters are written by the loop and read by anybody.
type loopCounters struct {
	sessions                                           atomic.Int64
	accepted, events, wakeups, copied, spliced, pauses atomic.Uint64
}

func (l *loop) clock() int64 { return int64(sys.Since(l.base)) }

// run is the loop's goroutine. It is not locked to its thread: whenever the scheduler
// preempts it, for a collection of garbage say, a locked one changes hands between two
// threads, which costs some percent and shows in the tail of the latencies.
func (l *loop) run() {
	for !l.stop {
		l.round()
	}
	l.leave()
}

// round waits, handles what is ready, goes on with flows that used up their turn,
// then runs tasks and deadlines. What closed in a round is recycled at its end, so
// that no event of the same batch can meet a successor.
func (l *loop) round() {
	n := l.wait()
	l.heardOf(n, l.now)
	l.now = l.clock()
	l.left, l.late = roundBudget, len(l.queue) > 0
	for i := range l.events[:n] {
		l.handle(&l.events[i])
	}
	l.goOn()
	l.expireDue()
	l.retryAccepts()
	l.pipes.trim(l.now)
	l.recycle()
	l.slice.Renew(l.now)
}

// leave closes what is the loop's own.
func (l *loop) leave() {
	l.pipes.shrink(len(l.pipes.free))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	sys.Close(l.wakefd)
	sys.Close(l.ep)
}

// wait takes the next events and answers their number. While there is work it
// polls for a moment without telling the scheduler, which costs less than half of
// a blocking wait; only when that brings nothing does it block.
func (l *loop) wait() int {
	ms := l.patience()
	n, e := 0, sys.Errno(0)
	if l.busy || ms == 0 {
		polled := int(min(uint(ms), busyWait)) // -1 is for ever
		n, e = sys.EpollPoll(l.ep, l.events, polled)
		if ms > 0 {
			ms -= polled // a deadline is not waited for twice
		}
	}
	if n == 0 && e == 0 && ms != 0 {
		n, e = sys.EpollWait(l.ep, l.events, ms)
		l.slice.Begin(l.clock())
	}
	if e != 0 {
		panic(os.NewSyscallError("epoll_wait", e)) // only a descriptor that is not ours any more
	}
	l.busy = n > 0
	l.stats.wakeups.Add(1)
	l.stats.events.Add(uint64(n))
	return n
}

// patience is how long the loop may wait, in milliseconds; -1 is for ever.
func (l *loop) patience() int {
	if len(l.queue) > 0 || len(l.hasty) > 0 {
		return 0
	}
	until, any := l.timers.next()
	earlier := func(t int64) {
		if !any || t < until {
			until, any = t, true
		}
	}
	for _, s := range l.paused {
		earlier(s.retryAt)
	}
	if len(l.pipes.free) > 0 {
		earlier(l.pipes.trimAt)
	}
	if !any {
		return -1
	}
	left := time.Duration(max(until-l.clock(), 0))
	return int((min(left, time.Hour) + time.Millisecond - 1) / time.Millisecond)
}

func (l *loop) handle(ev *sys.Event) {
	word, gen := uint32(ev.Fd), uint32(ev.Pad)
	if gen != 0 {
		if p := l.pairs.at(word >> 1); p.gen == gen {
			l.stir(p, side(word&1), ev.Events)
		}
		return
	}
	if word == 0 {
		l.runTasks()
	} else if s := l.sockets[word]; s != nil {
		l.accept(s)
	}
}

// stir handles an event of one end of p: notes what it says, then does what has
// become possible.
func (l *loop) stir(p *pair, s side, events uint32) {
	e := &p.ends[s]
	e.urgent = e.urgent || events&unix.EPOLLPRI != 0
	e.hup = e.hup || events&endEvents != 0
	// A unix peer that closes hangs up, even in order.
	e.dead = e.dead || events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 && !p.unix[s]
	e.readable = e.readable || events&^unix.EPOLLOUT != 0
	e.writable = e.writable || events&^(unix.EPOLLIN|unix.EPOLLPRI|unix.EPOLLRDHUP) != 0
	switch {
	case p.state == stateRelaying:
		if e.readable && !p.flows[s].queued { // else it has its turn in goOn
			l.pump(p, s)
		}
		if e.dead && p.flows[s].done && p.state == stateRelaying {
			l.brokeAfterEnd(p, s)
		}
		if f := &p.flows[1-s]; e.writable && (f.pipe != nil || f.rest != nil) && p.state == stateRelaying {
			l.pump(p, 1-s)
		}
		if (e.dead || e.hup && p.flows[s].blocked != 0) && p.state == stateRelaying {
			l.arm(p) // half closed by now, with bytes that wait
		}
	case p.state == stateDialing && s == backend:
		if e.writable {
			l.connected(p)
		}
	case p.state == stateDialing || p.state == stateWaiting:
		l.clientStirred(p)
	case p.state == stateResetting && s != p.gone:
		l.tryReset(p)
	case p.state == stateDelivering && s != p.gone:
		l.deliver(p)
	}
}

// turnover is a flow that used up its turn. The flow has one place in the queue, which is
// why flow.queued and the generation are kept: a place that was another pair's, whose
// slot it now has, would give it turns beyond its own.
type turnover struct {
	p   *pair
	gen uint32
	d   side
}

// again queues flow d of p for the next turn.
func (l *loop) again(p *pair, d side) {
	if !p.flows[d].queued {
		p.flows[d].queued = true
		l.queue = append(l.queue, turnover{p, p.gen, d})
	}
}

// goOn continues the flows that used up their turn, in the order in which they did, as
// far as the round's budget goes.
func (l *loop) goOn() {
	l.late = false
	i := 0
	for n := len(l.queue); i < n && l.left > 0; i++ {
		t := l.queue[i] // pump may queue it again
		if t.p.gen != t.gen {
			continue
		}
		t.p.flows[t.d].queued = false
		if t.p.state == stateRelaying {
			l.pump(t.p, t.d)
		}
	}
	rest := copy(l.queue, l.queue[i:])
	clear(l.queue[rest:])
	l.queue = l.queue[:rest]
}

// hearing is up to when a loop has heard of everything. The process may have been
// stopped (SIGSTOP, a virtual machine that moves), or the loop behind: then peers that
// were not silent look as if they had been, until the last of their events is handled.
// So silence is judged as of until, never as of now.
type hearing struct {
	until int64 // all that happened before this has been handled, once this turn's events are
	since int64 // what until will be, after waits that left some behind
	taken int   // their events
}

// heardOf notes that a wait, which began at since or later, brought n events. With fewer
// than it could take there are no others. Nor are there others of that time once as many
// came as there are descriptors: those that are ready take turns.
func (l *loop) heardOf(n int, since int64) {
	h := &l.heard
	if n < len(l.events) {
		h.until, h.taken = since, 0
		return
	}
	if h.taken == 0 {
		h.since = since
	}
	if h.taken += n; h.taken >= l.descriptors() {
		h.until, h.taken = h.since, 0
	}
}

// descriptors is how many there may be that have events.
func (l *loop) descriptors() int { return 2*int(l.stats.sessions.Load()) + len(l.sockets) + 1 }

func (l *loop) expireDue() {
	for {
		slot, ok := l.timers.due(l.heard.until)
		if !ok {
			return
		}
		l.expire(l.pairs.at(slot))
	}
}

// recycle frees what closed in this turn.
func (l *loop) recycle() {
	for i, p := range l.dead {
		l.pairs.free(p)
		l.dead[i] = nil
	}
	if n := len(l.dead); n > 0 {
		l.dead = l.dead[:0]
		l.stats.sessions.Add(-int64(n))
		l.r.ended()
	}
}

// post runs task on the loop, soon, from any goroutine. Once the thread has ended
// it does nothing: a gate may outlive the engine and wake who waited for it.
func (l *loop) post(task func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.tasks = append(l.tasks, task)
	if len(l.tasks) == 1 {
		sys.Signal(l.wakefd)
	}
}

func (l *loop) runTasks() {
	sys.ClearSignal(l.wakefd)
	l.mu.Lock()
	tasks := l.tasks
	l.tasks = nil
	l.mu.Unlock()
	for _, task := range tasks {
		task()
	}
}

// pairTable holds the pairs of a loop at places that do not move, so that a slot
// number, which fits an epoll event, finds one. Freed ones are used again.
type pairTable struct {
	chunks [][]pair
	unused shelf[uint32] // slots
}

// pairsPerChunk fills a size class of the allocator (runtime/sizeclasses.go), so that
// nothing of a chunk is lost.
const pairsPerChunk = 32 << 10 / uint32(unsafe.Sizeof(pair{}))

func (t *pairTable) at(slot uint32) *pair {
	return &t.chunks[slot/pairsPerChunk][slot%pairsPerChunk]
}

// take answers a pair that is zero but for its slot and a generation of its own.
func (t *pairTable) take() *pair {
	if t.unused.len() == 0 {
		first := uint32(len(t.chunks)) * pairsPerChunk
		t.chunks = append(t.chunks, make([]pair, pairsPerChunk))
		for i := range pairsPerChunk {
			slot := first + pairsPerChunk - 1 - i
			p := t.at(slot)
			p.slot, p.gen = slot, 1
			t.unused.push(slot)
		}
	}
	return t.at(t.unused.pop())
}

// free takes a pair back: whoever still knows its generation knows nothing.
func (t *pairTable) free(p *pair) {
	*p = pair{slot: p.slot, gen: max(p.gen+1, 1)}
	t.unused.push(p.slot)
}

// slots is how many there are: every pair that lives is at one below.
func (t *pairTable) slots() uint32 { return uint32(len(t.chunks)) * pairsPerChunk }
