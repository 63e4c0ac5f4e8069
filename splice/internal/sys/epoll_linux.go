//go:build !simkernel

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Event is what epoll reports for a descriptor: the readiness bits and the two
// words that were registered with it.
type Event = unix.EpollEvent

// EpollCreate makes an epoll instance.
func EpollCreate() (int32, Errno) {
	fd, _, e := unix.RawSyscall(unix.SYS_EPOLL_CREATE1, unix.EPOLL_CLOEXEC, 0, 0)
	return int32(fd), e
}

// EpollAdd registers fd for events; a and b come back with each of them.
func EpollAdd(ep, fd int32, events uint32, a, b uint32) Errno {
	ev := Event{Events: events, Fd: int32(a), Pad: int32(b)}
	_, _, e := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(ep), unix.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	return e
}

// EpollDel removes fd, which is only needed if it stays open elsewhere.
func EpollDel(ep, fd int32) Errno {
	var ev Event
	_, _, e := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(ep), unix.EPOLL_CTL_DEL, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	return e
}

// EpollPoll waits at most ms milliseconds while it keeps the goroutine's
// processor: cheap, and the garbage collector, which needs all goroutines to stop,
// interrupts it. An interrupted wait answers 0.
func EpollPoll(ep int32, events []Event, ms int) (int, Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(ms), 0, 0)
	if e == unix.EINTR {
		return 0, 0
	}
	return int(n), e
}

// EpollWait waits at most ms milliseconds, -1 for ever, and gives the processor
// away meanwhile. An interrupted wait answers 0.
func EpollWait(ep int32, events []Event, ms int) (int, Errno) {
	n, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(ms), 0, 0)
	if e == unix.EINTR {
		return 0, 0
	}
	return int(n), e
}

// Eventfd makes a non-blocking counter that another thread can signal.
func Eventfd() (int32, Errno) {
	fd, _, e := unix.RawSyscall(unix.SYS_EVENTFD2, 0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC, 0)
	return int32(fd), e
}

// Signal wakes who waits for the eventfd.
func Signal(fd int32) {
	one := uint64(1)
	unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), 8)
}

// ClearSignal takes the signals that have arrived.
func ClearSignal(fd int32) {
	var n uint64
	unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&n)), 8)
}
