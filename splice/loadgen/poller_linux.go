package loadgen

import (
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

const (
	// eventBatch is the most events that one wait takes.
	eventBatch = 256
	// busyWait is how long a loop that just had work waits for more without giving its
	// processor away, which costs less than half of a wait that does.
	busyWait = int64(time.Millisecond)
	// connEvents: edge-triggered, so that no registration changes while it lives.
	connEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	// endEvents announce the end of the stream, readEvents that there is something to
	// receive, be it that.
	endEvents  = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	readEvents = unix.EPOLLIN | endEvents
)

// poller is how a loop waits: an epoll instance and an eventfd with which others can
// wake it. Each event carries two words, a slot and a generation that is never 0 for
// a connection. The eventfd's are 0 and 0.
type poller struct {
	slice      sys.TimeSlice
	ep, wakefd int32
	busy       bool // the last wait had events
	events     []sys.Event
}

func openPoller() (p poller, err error) {
	ep, e := sys.EpollCreate()
	if e != 0 {
		return p, os.NewSyscallError("epoll_create1", e)
	}
	wakefd, e := sys.Eventfd()
	if e != 0 {
		sys.Close(ep)
		return p, os.NewSyscallError("eventfd2", e)
	}
	p = poller{ep: ep, wakefd: wakefd, events: make([]sys.Event, eventBatch)}
	if e := sys.EpollAdd(ep, wakefd, unix.EPOLLIN, 0, 0); e != 0 {
		p.close()
		return p, os.NewSyscallError("epoll_ctl", e)
	}
	return p, nil
}

func (p *poller) close() {
	sys.Close(p.wakefd)
	sys.Close(p.ep)
}

// wake ends a wait, from any thread.
func (p *poller) wake() { sys.Signal(p.wakefd) }

// wait answers the next events. It waits at most ns nanoseconds and may answer none
// earlier: the caller looks at its clock and asks again.
func (p *poller) wait(ns int64) []sys.Event {
	var n int
	var e sys.Errno
	if p.busy || ns <= busyWait {
		n, e = sys.EpollPollFor(p.ep, p.events, min(ns, busyWait))
	} else {
		n, e = sys.EpollWait(p.ep, p.events, int(min(ns/int64(time.Millisecond), 1<<30)))
	}
	if e != 0 {
		panic(os.NewSyscallError("epoll_wait", e)) // only a descriptor that is not ours any more
	}
	p.busy = n > 0
	return p.events[:n]
}

// processors keeps GOMAXPROCS two above the number of loops that live, because a
// loop holds on to its processor while it waits for a moment: the rest of the
// program must not have to wait with it.
var processors struct {
	sync.Mutex
	loops, before int
}

func takeProcessors(n int) {
	p := &processors
	p.Lock()
	defer p.Unlock()
	if p.loops == 0 {
		p.before = runtime.GOMAXPROCS(0)
	}
	p.loops += n
	if p.loops+2 > runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(p.loops + 2)
	}
}

func returnProcessors(n int) {
	p := &processors
	p.Lock()
	defer p.Unlock()
	if p.loops -= n; p.loops == 0 {
		runtime.GOMAXPROCS(p.before)
	}
}
