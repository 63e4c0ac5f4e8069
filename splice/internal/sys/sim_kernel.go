//go:build linux && simkernel

// Package sys, built with the tag simkernel, is a model of the part of Linux that
// the datapath touches: stream sockets, pipes, epoll and a clock, all in memory and
// all in the hands of a test. The reactor above it is compiled unchanged.
//
// The model keeps to what the kernel's source says where the reactor depends on
// it: which bits poll answers in each state (tcp_poll), what a read or write
// answers after a FIN, a RST or both (tcp_recvmsg_locked, tcp_reset), when a full
// socket calls itself writable again (sk_stream_write_space), that a closed socket
// with unread bytes resets (tcp_close), and that edge-triggered epoll reports the
// whole state of a socket once for each wake-up (fs/eventpoll.c). It leaves out the
// network: what the far end of a socket does are methods of Conn, and happen at
// once, between any two calls.
//
// A Kernel is not safe for concurrent use.
package sys

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Errno is the system's error number; 0 is success.
type Errno = unix.Errno

// Kernel is one simulated machine. The fields may be changed at any time between
// calls; a nil hook is not called.
type Kernel struct {
	// Between runs before every call: whatever it does is what the network did since
	// the last one.
	Between func()
	// Refuse is asked for an error to answer instead of doing the named call.
	Refuse func(call string) Errno
	// Dialed hears of a connect and decides it: 0 is connected at once, EINPROGRESS
	// leaves it to Conn.Answer, anything else fails.
	Dialed func(s *Conn, to netip.AddrPort) Errno
	// Fault hears of calls that no correct program makes, and must not return.
	Fault func(what string)

	// ReuseDescriptors hands out the lowest free number, as Linux does. Without it no
	// number comes twice, so that the use of a closed one is certain to be noticed.
	ReuseDescriptors bool
	// RcvBuf and SndBuf bound, in bytes, the queues of sockets made from now on.
	RcvBuf, SndBuf int
	// PipePages is the capacity of new pipes in slots, SlotSize how many bytes one slot
	// holds at most.
	PipePages, SlotSize int

	now     time.Duration
	files   []file // by descriptor
	forked  []file // held by a child between fork and exec
	effects int
	vain    int // calls in a row without effect
	before  int // effects at the last call
}

// tooMany calls in a row that change nothing are a program that spins.
const tooMany = 10000

// kernel is the machine that the calls of this package reach.
var kernel *Kernel

// Boot makes a machine with 64 KiB buffers and default pipes, which has run for a
// second, and sends all further calls to it.
func Boot() *Kernel {
	kernel = &Kernel{
		Fault:  func(what string) { panic(what) },
		RcvBuf: 64 << 10, SndBuf: 64 << 10,
		PipePages: 16, SlotSize: pageSize,
		now:   time.Second,
		files: make([]file, 3), // standard input and so on stay away from our numbers
	}
	return kernel
}

const pageSize = 4096

// file is what a descriptor refers to.
type file interface {
	poll() uint32 // what is ready
	release()     // the last descriptor is closed
	common() *inode
}

// inode is what all files have.
type inode struct {
	refs    int
	watches []*watch
}

func (n *inode) common() *inode { return n }

// wake queues the watches that ask for one of the events; 0 means all of them, as
// the kernel's state changes do.
func (n *inode) wake(events uint32) {
	for _, w := range n.watches {
		if events == 0 || w.events&events != 0 {
			w.queue()
		}
	}
}

// Now is the time since the machine was started; Advance lets some pass.
func (k *Kernel) Now() time.Duration      { return k.now }
func (k *Kernel) Advance(d time.Duration) { k.now += d }

// Effects counts the calls that changed something, for who looks for a program
// that spins.
func (k *Kernel) Effects() int { return k.effects }

// Descriptors lists what is open, one line each.
func (k *Kernel) Descriptors() (open []string) {
	for fd, f := range k.files {
		if f != nil {
			open = append(open, fmt.Sprintf("%d %T", fd, f))
		}
	}
	return open
}

// Fork makes a child that holds all that is open until Exec: what is closed
// meanwhile ends only then.
func (k *Kernel) Fork() {
	for _, f := range k.files {
		if f != nil {
			f.common().refs++
			k.forked = append(k.forked, f)
		}
	}
}

// Exec ends what Fork began.
func (k *Kernel) Exec() {
	held := k.forked
	k.forked = nil
	for _, f := range held {
		drop(f)
	}
}

// Since is the time that has passed on the machine's clock, whatever t is.
func Since(time.Time) time.Duration { return kernel.now }

// Close closes any descriptor.
func Close(fd int32) {
	f := enter(fd, "close")
	kernel.files[fd] = nil
	kernel.effects++
	if c, ok := f.(*Conn); ok {
		c.closed = true
	}
	drop(f)
}

func drop(f file) {
	n := f.common()
	if n.refs--; n.refs > 0 {
		return
	}
	for _, w := range n.watches {
		w.forget()
	}
	n.watches = nil
	f.release()
}

// enter begins every call: the network goes on, then the descriptor is looked up.
func enter(fd int32, call string) file {
	meanwhile()
	if kernel.vain++; kernel.before != kernel.effects {
		kernel.vain, kernel.before = 0, kernel.effects
	}
	if kernel.vain > tooMany {
		kernel.Fault("the program spins: the last of many calls in vain was " + call)
	}
	if fd < 0 || int(fd) >= len(kernel.files) || kernel.files[fd] == nil {
		kernel.Fault(fmt.Sprintf("%s of descriptor %d, which is not open", call, fd))
	}
	return kernel.files[fd]
}

func meanwhile() {
	if kernel.Between != nil {
		kernel.Between()
	}
}

func refused(call string) Errno {
	if kernel.Refuse == nil {
		return 0
	}
	return kernel.Refuse(call)
}

// install gives f a descriptor.
func install(f file) int32 {
	f.common().refs++
	kernel.effects++
	if kernel.ReuseDescriptors {
		for fd := 3; fd < len(kernel.files); fd++ {
			if kernel.files[fd] == nil {
				kernel.files[fd] = f
				return int32(fd)
			}
		}
	}
	kernel.files = append(kernel.files, f)
	return int32(len(kernel.files) - 1)
}
