//go:build unix

package sys

import "golang.org/x/sys/unix"

// Read and Write are for the goroutine engine, whose descriptors the Go runtime polls;
// EAGAIN says that there is nothing now.

// Read reads what a non-blocking descriptor holds, at most len(b) bytes; 0 and no error
// is the end.
func Read(fd int, b []byte) (int, error) {
	for {
		if n, err := unix.Read(fd, b); err != unix.EINTR {
			return n, err
		}
	}
}

// Write writes as much of b as a non-blocking descriptor takes at once.
func Write(fd int, b []byte) (int, error) {
	for {
		if n, err := unix.Write(fd, b); err != unix.EINTR {
			return n, err
		}
	}
}
