package soak

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// outcome is what came of one end. Bytes are those of the stream, greeting included.
type outcome struct {
	sent, received int64
	ended          bool  // it read the other's orderly end
	slow           bool  // it let bytes wait for longer than prompt
	err            error // that it met, unless it had cut the session itself
	wrong          error // bytes that are not the script's
}

// prompt is, with a margin, less than limeload's patience with a receiver that has to
// take the bytes in front of a reset.
const prompt = 500 * time.Millisecond

// end is one end of a session that plays its part.
type end struct {
	conn         *net.TCPConn
	number       uint32
	mine, theirs part
	patient      bool   // sends nothing but its greeting before the other's has come
	ahead        int64  // chunks by which the other begins, where they take turns
	cutting      func() // is told before the end cuts the session

	mu      sync.Mutex
	changed sync.Cond
	outcome
	over bool // nothing comes any more
	cut  bool
}

// playClient plays the client's end of a session on conn, and closes it.
func playClient(conn *net.TCPConn, number uint32, s *script, cutting func()) outcome {
	e := &end{conn: conn, number: number, mine: s.Client, theirs: s.Server, patient: !s.Eager, cutting: cutting}
	return e.play()
}

// playServer plays the backend's end, whose greeting has come.
func playServer(conn *net.TCPConn, number uint32, s *script, cutting func()) outcome {
	e := &end{conn: conn, number: number, mine: s.Server, theirs: s.Client, ahead: 1, cutting: cutting}
	e.received = greeting
	return e.play()
}

func (e *end) play() outcome {
	e.changed.L = &e.mu
	sent := make(chan error, 1)
	go func() { sent <- e.send() }()
	readErr := e.receive()
	e.finishReading()
	sendErr := <-sent
	if e.ended && sendErr == nil && e.mine.Finish == last {
		sendErr = e.conn.CloseWrite()
	}
	e.conn.Close()
	if !e.cut {
		e.err = errors.Join(readErr, sendErr)
	}
	return e.outcome
}

// finishReading wakes a sender that waits for what cannot come.
func (e *end) finishReading() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	e.changed.Broadcast()
}

// errCutShort is a sender whose turn never came.
var errCutShort = errors.New("the other end stopped in the middle")

func (e *end) send() error {
	g, err := e.conn.Write(greetingOf(e.number))
	e.count(&e.sent, g)
	if err != nil {
		return err
	}
	paused := false
	for n := int64(0); n < e.mine.Bytes && !e.due(); {
		if !e.awaitTurn(n) {
			return errCutShort
		}
		if !paused && n >= e.mine.PauseAt {
			paused = true
			time.Sleep(e.mine.Pause)
		}
		m, err := e.conn.Write(at(e.mine.Offset+n, min(e.mine.Chunk, e.mine.Bytes-n)))
		n += int64(m)
		e.count(&e.sent, m)
		if err != nil {
			return fmt.Errorf("byte %d of %d: %w", n, e.mine.Bytes, err)
		}
	}
	switch {
	case e.cutIfDue():
	case e.mine.Finish == first:
		return e.conn.CloseWrite()
	case e.mine.Finish == cutBehind:
		e.awaitArrival()
		e.cutNow()
	}
	return nil
}

// awaitTurn waits until a chunk may be sent that begins at byte n. It answers false
// if that cannot happen any more.
func (e *end) awaitTurn(n int64) bool {
	need := int64(0)
	switch {
	case e.mine.Turn > 0:
		need = greeting + e.mine.Turn*(n/e.mine.Chunk+e.ahead)
	case e.patient:
		need = greeting
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.received < need && !e.over {
		e.changed.Wait()
	}
	return e.received >= need
}

// awaitArrival waits until the other system has acknowledged everything, or there is
// no connection any more.
func (e *end) awaitArrival() {
	raw, err := e.conn.SyscallConn()
	for arrived := err != nil; !arrived; time.Sleep(time.Millisecond) {
		closed := raw.Control(func(fd uintptr) {
			left, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
			info, err2 := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			arrived = left == 0 || err != nil || err2 != nil || info.State == unix.BPF_TCP_CLOSE
		})
		arrived = arrived || closed != nil
	}
}

// receive reads to the end, or an error, and compares.
func (e *end) receive() error {
	expected := stream{greetingOf(e.number), e.theirs.Offset}
	buf := make([]byte, e.mine.Read)
	stalled := false
	for idle := time.Now(); !e.cutIfDue(); idle = time.Now() {
		if !stalled && e.received >= e.mine.StallAt {
			stalled = true
			time.Sleep(e.mine.Stall)
		}
		e.slow = e.slow || time.Since(idle) > prompt
		n, err := e.conn.Read(buf)
		if !expected.matches(e.received, buf[:n]) {
			e.wrong = fmt.Errorf("bytes %d to %d are not what was sent", e.received, e.received+int64(n))
			return e.wrong
		}
		e.count(&e.received, n)
		if err == io.EOF {
			e.mu.Lock()
			e.ended = true
			e.mu.Unlock()
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *end) count(bytes *int64, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	*bytes += int64(n)
	e.changed.Broadcast()
}

// due reports whether the script has the session cut here.
func (e *end) due() bool {
	f := e.mine.Finish
	if f != cutHard && f != cutSoft {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sent >= greeting && e.received >= greeting && e.sent+e.received-2*greeting >= e.mine.CutAt
}

func (e *end) cutIfDue() bool {
	due := e.due()
	if due {
		e.cutNow()
	}
	return due
}

// cutNow ends the session from here, once.
func (e *end) cutNow() {
	e.mu.Lock()
	done := e.cut
	e.cut = true
	e.mu.Unlock()
	if done {
		return
	}
	e.cutting()
	if e.mine.Finish != cutSoft {
		e.conn.SetLinger(0)
	}
	e.conn.Close()
}
