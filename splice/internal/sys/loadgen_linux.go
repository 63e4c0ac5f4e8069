package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls in this file serve the load generator alone.

// EpollPollFor is EpollPoll with the wait in nanoseconds (epoll_pwait2, Linux
// 5.11; an older kernel waits whole milliseconds, rounded up).
func EpollPollFor(ep int32, events []Event, ns int64) (int, Errno) {
	ts := unix.NsecToTimespec(ns)
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(ep), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	switch e {
	case unix.EINTR:
		return 0, 0
	case unix.ENOSYS:
		return EpollPoll(ep, events, int((ns+999_999)/1_000_000))
	}
	return int(n), e
}

// SetTimerSlack sets how late, in nanoseconds, the kernel may end a timed wait of
// the calling thread; 0 is the default again (prctl(2), PR_SET_TIMERSLACK).
func SetTimerSlack(ns int) Errno {
	_, _, e := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(ns), 0)
	return e
}

// Discard takes at most n bytes off the socket without copying them anywhere
// (MSG_TRUNC, tcp(7)). 0 and no error is the end of the stream.
func Discard(fd int32, n int) (int, Errno) {
	for {
		m, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), unix.MSG_TRUNC, 0, 0)
		if e == 0 {
			return int(m), 0
		}
		if e != unix.EINTR {
			return 0, e
		}
	}
}
