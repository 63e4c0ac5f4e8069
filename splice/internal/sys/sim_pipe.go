//go:build linux && simkernel

package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// pipe holds bytes in slots: a slot takes one piece of a segment, however small, so
// that a pipe can be full with few bytes in it.
type pipe struct {
	pages int
	data  []byte
	slots []int // bytes in each, oldest first
}

// pipeEnd is what a descriptor of a pipe refers to.
type pipeEnd struct {
	inode
	*pipe
	write bool
}

func (p *pipeEnd) poll() uint32 { return 0 } // nobody watches one
func (p *pipeEnd) release()     {}

// PipeFill is the number of bytes in the pipe that fd is an end of.
func (k *Kernel) PipeFill(fd int32) int { return len(k.files[fd].(*pipeEnd).data) }

// Pipe makes a pipe.
func Pipe() (r, w int32, e Errno) {
	meanwhile()
	if e := refused("pipe2"); e != 0 {
		return 0, 0, e
	}
	p := &pipe{pages: kernel.PipePages}
	return install(&pipeEnd{pipe: p}), install(&pipeEnd{pipe: p, write: true}), 0
}

// PipeSize is the pipe's capacity in bytes; SetPipeSize asks for another.
func PipeSize(fd int32) int { return enter(fd, "fcntl").(*pipeEnd).pages * pageSize }

// SetPipeSize: see PipeSize.
func SetPipeSize(fd int32, size int) Errno {
	p := enter(fd, "fcntl").(*pipeEnd)
	if e := refused("fcntl"); e != 0 {
		return e
	}
	p.pages = max(1, (size+pageSize-1)/pageSize)
	return 0
}

// ReadPipe reads what is in the pipe, at most len(b) bytes.
func ReadPipe(fd int32, b []byte) (int, Errno) {
	p, ok := enter(fd, "read").(*pipeEnd)
	if !ok || p.write {
		kernel.Fault("read of what is no pipe")
	}
	if len(p.data) == 0 {
		return 0, unix.EAGAIN
	}
	n := copy(b, p.data)
	p.take(n)
	kernel.effects++
	return n, 0
}

// take removes n bytes from the slots.
func (p *pipe) take(n int) {
	p.data = p.data[n:]
	for n > 0 {
		taken := min(n, p.slots[0])
		n -= taken
		if p.slots[0] -= taken; p.slots[0] == 0 {
			p.slots = p.slots[1:]
		}
	}
}

// Splice moves at most n bytes from a socket to a pipe or back.
func Splice(from, to int32, n int) (int, Errno) {
	src, dst := enter(from, "splice"), kernel.files[to]
	switch dst := dst.(type) {
	case *pipeEnd:
		s, ok := src.(*Conn)
		if !ok || !dst.write {
			kernel.Fault(fmt.Sprintf("splice of %T to %T", src, dst))
		}
		return s.spliceTo(dst.pipe, n)
	case *Conn:
		p, ok := src.(*pipeEnd)
		if !ok || p.write {
			kernel.Fault(fmt.Sprintf("splice of %T to %T", src, dst))
		}
		return dst.spliceFrom(p.pipe, n)
	}
	kernel.Fault(fmt.Sprintf("splice to descriptor %d: %T", to, dst))
	return 0, unix.EBADF
}

// spliceTo is tcp_splice_read. It does not pass urgent data.
func (s *Conn) spliceTo(p *pipe, n int) (int, Errno) {
	if len(p.data) > 0 {
		kernel.Fault("splice into a pipe that is not empty: EAGAIN would have two meanings")
	}
	if s.NoSplice != 0 {
		return 0, s.NoSplice
	}
	if e := refused("splice"); e != 0 {
		return 0, e
	}
	moved := 0
	for n > moved && len(p.slots) < p.pages && len(s.rcv) > 0 && s.mark != 0 {
		m := min(n-moved, s.segments[0], kernel.SlotSize)
		if s.mark > 0 {
			m = min(m, s.mark)
		}
		p.data = append(p.data, s.rcv[:m]...)
		p.slots = append(p.slots, m)
		s.consume(m)
		moved += m
	}
	if moved > 0 {
		kernel.effects++
		return moved, 0
	}
	return 0, s.nothing()
}

// spliceFrom is splice_to_socket.
func (s *Conn) spliceFrom(p *pipe, n int) (int, Errno) {
	if len(p.data) == 0 {
		return 0, unix.EAGAIN
	}
	m, e := s.send(p.data[:min(n, len(p.data))])
	p.take(m)
	return m, e
}
