package healthcheck

import (
	"context"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// shakeHands has the peer answer a SYN with a SYN/ACK, and resets the
// connection before it is complete on the peer's side. It returns nil when
// the SYN/ACK came.
//
// The kernel answers a SYN/ACK with an ACK at once unless the socket is in
// interactive ("pingpong") mode, in which it hopes for data to send along with
// the ACK and waits up to 200 ms for it (tcp_rcv_synsent_state_process).
// TCP_QUICKACK off before connect(2) is what sets that mode. SO_LINGER with
// time 0 makes close(2) send a RST instead of a FIN; the peer, to which the
// connection is still half open, forgets it without a word to its application.
func shakeHands(ctx context.Context, to netip.AddrPort) error {
	remote, family, err := sockaddr(to)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	// connect(2) comes before the descriptor meets the netpoller: epoll reports a
	// hang-up on a stream socket that has not begun to connect.
	err = startConnect(fd, remote)
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close()
	if err == unix.EINPROGRESS {
		err = awaitConnect(ctx, f)
	}
	return err
}

func startConnect(fd int, remote unix.Sockaddr) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0); err != nil {
		return err
	}
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	if err := unix.Connect(fd, remote); err != nil {
		if err == unix.EINTR { // goes on in the background, as connect(2) says
			return unix.EINPROGRESS
		}
		return err
	}
	return checkNotSelf(fd)
}

// awaitConnect waits for the outcome of a connect that is in progress on f. At the deadline
// it looks once more: where this process got no CPU for so long, or the machine was
// paused, the peer's answer is there all the same.
func awaitConnect(ctx context.Context, f *os.File) error {
	stop := interruptWhenDone(ctx, f)
	defer stop()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	outcome := error(unix.EINPROGRESS)
	look := func(fd uintptr) (done bool) {
		outcome = connectOutcome(int(fd))
		return outcome != unix.EINPROGRESS
	}
	err = raw.Write(look)
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		raw.Control(func(fd uintptr) { look(fd) }) // fails only on a closed file
	}
	if outcome == unix.EINPROGRESS {
		return err
	}
	return outcome
}

// connectOutcome is how the connect on fd ended; EINPROGRESS if it has not.
func connectOutcome(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return err
	case code == int(unix.EACCES):
		// So the kernel puts an ICMPv6 "administratively prohibited" (a firewall
		// that rejects). What this machine forbids, connect(2) itself refuses.
		return unix.EHOSTUNREACH
	case code != 0:
		return unix.Errno(code)
	}
	// No error is also what a connect in progress shows.
	if _, err := unix.Getpeername(fd); err == unix.ENOTCONN {
		return unix.EINPROGRESS
	}
	return checkNotSelf(fd)
}

// checkNotSelf returns errSelfConnect if fd is connected to itself.
func checkNotSelf(fd int) error {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	remote, err := unix.Getpeername(fd)
	if err != nil {
		return nil // reset meanwhile: somebody else did answer
	}
	if l, ok := addrPort(local); ok {
		if r, _ := addrPort(remote); l == r {
			return errSelfConnect
		}
	}
	return nil
}
