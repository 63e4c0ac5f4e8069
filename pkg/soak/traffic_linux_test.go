package soak

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// clients is how many sessions there are at one time, at most.
const clients = 32

// traffic is clients that make one session after another until stop is closed, or
// something fails, and then end the one that they have.
type traffic struct {
	ledger  *ledger
	targets map[string]string // addresses of the listeners
	numbers *atomic.Uint32    // the last session's
	stop    <-chan struct{}
}

func (tr *traffic) run() {
	var work sync.WaitGroup
	for range clients {
		work.Go(func() {
			for !tr.over() {
				tr.session(tr.numbers.Add(1))
			}
		})
	}
	work.Wait()
}

func (tr *traffic) over() bool {
	select {
	case <-tr.stop:
	case <-tr.ledger.failed:
	default:
		return false
	}
	return true
}

// session is one client's.
func (tr *traffic) session(number uint32) {
	l := tr.ledger
	script := draw(l.seed, number)
	time.Sleep(script.After)
	r := l.begin(number, script)
	cutting := func() { l.note(r, func() { r.cutUp = true }) }
	conn, err := tr.connect(r)
	got := outcome{err: err}
	switch {
	case errors.Is(err, syscall.ECONNRESET): // limeload refused it already
	case err != nil:
		l.failf("session %d: %v", number, err)
	case r.script.Leave == stays:
		got = playClient(conn, number, &r.script, cutting)
	default:
		leaveNow(conn, &r.script, cutting)
	}
	l.note(r, func() { r.client = &got })
}

func (tr *traffic) connect(r *record) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: clientAddr(r.number).AsSlice()}, Timeout: patience}
	d.SetMultipathTCP(false)
	conn, err := d.Dial("tcp", tr.targets[r.script.Listener])
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn), nil
}

// leaveNow is a client that says nothing and goes, most often while limeload dials.
func leaveNow(conn *net.TCPConn, s *script, cutting func()) {
	time.Sleep(s.LeaveAfter)
	if s.Leave == resets {
		cutting()
		conn.SetLinger(0)
	}
	conn.Close()
}
