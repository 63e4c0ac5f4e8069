//go:build linux && simkernel

package sys

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Event is what epoll reports for a descriptor: the readiness bits and the two
// words that were registered with it.
type Event = unix.EpollEvent

// epoll is an instance: what it watches, and which of that was woken since it was
// last reported. A watch belongs to a descriptor and its file, and lives as long as
// the file does (epoll(7), questions 1 and 6).
type epoll struct {
	inode
	watches []*watch
	ready   []*watch
}

type watch struct {
	ep     *epoll
	file   file
	fd     int32
	events uint32
	a, b   uint32
	queued bool
}

func (ep *epoll) poll() uint32 { return 0 }

func (ep *epoll) release() {
	for _, w := range slices.Clone(ep.watches) {
		n := w.file.common()
		n.watches = slices.DeleteFunc(n.watches, func(other *watch) bool { return other == w })
		w.forget()
	}
}

func (w *watch) queue() {
	if !w.queued {
		w.queued = true
		w.ep.ready = append(w.ep.ready, w)
	}
}

// forget takes w out of its epoll.
func (w *watch) forget() {
	is := func(other *watch) bool { return other == w }
	w.ep.watches = slices.DeleteFunc(w.ep.watches, is)
	w.ep.ready = slices.DeleteFunc(w.ep.ready, is)
}

// report takes the state of what was woken. A watch that was woken for something
// that is over by now says nothing. One that is level-triggered stays queued.
func (ep *epoll) report(events []Event) (n int) {
	woken := ep.ready
	ep.ready = nil
	for i, w := range woken {
		if n == len(events) {
			ep.ready = append(slices.Clone(woken[i:]), ep.ready...)
			break
		}
		w.queued = false
		state := w.file.poll() & w.events
		if state == 0 {
			continue
		}
		events[n] = Event{Events: state, Fd: int32(w.a), Pad: int32(w.b)}
		n++
		if w.events&unix.EPOLLET == 0 {
			w.queue()
		}
	}
	return n
}

// Ready reports whether a wait on the epoll would bring events.
func (k *Kernel) Ready(ep int32) bool {
	return slices.ContainsFunc(k.files[ep].(*epoll).ready, func(w *watch) bool {
		return w.file.poll()&w.events != 0
	})
}

// EpollCreate makes an epoll instance.
func EpollCreate() (int32, Errno) {
	if e := refused("epoll_create1"); e != 0 {
		return -1, e
	}
	return install(&epoll{}), 0
}

// EpollAdd registers fd for events; a and b come back with each of them. What is
// ready already is reported.
func EpollAdd(ep, fd int32, events uint32, a, b uint32) Errno {
	f, on := enter(fd, "epoll_ctl"), kernel.files[ep].(*epoll)
	if e := refused("epoll_ctl"); e != 0 {
		return e
	}
	if on.find(f, fd) != nil {
		kernel.Fault("epoll_ctl: a descriptor is added twice")
	}
	w := &watch{ep: on, file: f, fd: fd, events: events | unix.EPOLLERR | unix.EPOLLHUP, a: a, b: b}
	on.watches = append(on.watches, w)
	f.common().watches = append(f.common().watches, w)
	if f.poll()&w.events != 0 {
		w.queue()
	}
	return 0
}

// EpollDel removes fd.
func EpollDel(ep, fd int32) Errno {
	f, on := enter(fd, "epoll_ctl"), kernel.files[ep].(*epoll)
	w := on.find(f, fd)
	if w == nil {
		return unix.ENOENT
	}
	w.forget()
	n := f.common()
	n.watches = slices.DeleteFunc(n.watches, func(other *watch) bool { return other == w })
	return 0
}

func (ep *epoll) find(f file, fd int32) *watch {
	for _, w := range ep.watches {
		if w.file == f && w.fd == fd {
			return w
		}
	}
	return nil
}

// EpollPoll and EpollWait take what is ready. They never wait: with nothing ready
// they answer 0, as an interrupted wait does, and the test lets time pass.
func EpollPoll(ep int32, events []Event, _ int) (int, Errno) {
	return enter(ep, "epoll_pwait").(*epoll).report(events), 0
}

// EpollWait: see EpollPoll.
func EpollWait(ep int32, events []Event, ms int) (int, Errno) { return EpollPoll(ep, events, ms) }

// eventfd is a counter.
type eventfd struct {
	inode
	count int
}

func (f *eventfd) release() {}

func (f *eventfd) poll() uint32 {
	if f.count > 0 {
		return unix.EPOLLIN | unix.EPOLLOUT
	}
	return unix.EPOLLOUT
}

// Eventfd makes a counter that can be signalled.
func Eventfd() (int32, Errno) {
	if e := refused("eventfd2"); e != 0 {
		return -1, e
	}
	return install(&eventfd{}), 0
}

// Signal wakes who waits for the eventfd.
func Signal(fd int32) {
	f := enter(fd, "write").(*eventfd)
	f.count++
	f.wake(unix.EPOLLIN)
}

// ClearSignal takes the signals that have arrived.
func ClearSignal(fd int32) {
	f := enter(fd, "read").(*eventfd)
	f.count = 0
}
