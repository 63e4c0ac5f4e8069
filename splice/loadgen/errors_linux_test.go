package loadgen

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/limeload/limeload/splice/internal/sys"
)

// TestErrorKinds shows each way in which a server can fail a client counted as what
// it is, and as nothing else.
func TestErrorKinds(t *testing.T) {
	for name, c := range map[string]struct {
		mode   Mode
		handle func(peer)
		want   ErrorKind
		atEnd  bool // nobody sees it before the load ends
	}{
		"resets after an echo":                {PingPong, echoThen(reset), Reset, false},
		"resets an upload":                    {Upload, readThen(1<<20, reset), Reset, false},
		"resets a download":                   {Download, sourceThen(reset), Reset, false},
		"ends after an echo":                  {PingPong, echoThen(end), Closed, false},
		"ends in the middle of an echo":       {PingPong, echoThen(half), Closed, false},
		"ends while idle":                     {Idle, echoThen(end), Closed, false},
		"ends a download":                     {Download, sourceThen(end), Closed, false},
		"ends an upload":                      {Upload, readThen(1, end), Closed, false},
		"does not confirm an upload":          {Upload, drain, Closed, true},
		"stops to answer":                     {PingPong, echoThen(drain), TimedOut, false},
		"stops to read":                       {Upload, readThen(1, stop), TimedOut, false},
		"stops to send":                       {Download, sourceThen(stop), TimedOut, false},
		"echoes more than was sent":           {PingPong, echoThen(speak), Corrupt, false},
		"speaks to an idle connection":        {Idle, echoThen(speak), Corrupt, false},
		"speaks while it should only listen":  {Upload, speak, Corrupt, false},
		"confirms fewer bytes than were sent": {Upload, confirm(-1, 0), Corrupt, true},
		"confirms wrong bytes":                {Upload, confirm(0, 1), Corrupt, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{Targets: double(t, c.handle), Works: []Work{{Mode: c.mode, Connections: 2}}, Timeout: time.Minute}
			if c.want == TimedOut {
				o.Timeout = 200 * time.Millisecond
			}
			seen := failing
			if c.atEnd {
				seen = worked
			}
			p := reportsWhen(t, o, "an error", seen)[0]
			got := p.Errors.Count[c.want]
			if got == 0 || got != p.Errors.Total() {
				t.Errorf("got %v, first %v; want only %s", p.Errors.Count, p.Errors.First, c.want)
			}
			if p.Errors.First == nil {
				t.Error("got no first error")
			}
		})
	}
}

// TestErrorIsCountedOnce: a server that ends two connections, once each, makes two
// errors, and both are opened again.
func TestErrorIsCountedOnce(t *testing.T) {
	left := make(chan func(peer), 2)
	left <- echoThen(end)
	left <- echoThen(end)
	r, stop := endless(t, Options{
		Targets: double(t, func(p peer) {
			select {
			case handle := <-left:
				handle(p)
			default:
				_, _ = io.Copy(p, p)
			}
		}),
		Works: []Work{{Mode: Idle, Connections: 5}},
	})
	<-r.Begun()
	until(t, "every connection to be open again", func() bool { s := r.Snapshot(); return s.Errors == 2 && s.Open == 5 })
	res, _ := stop()
	p := res.Reports[0]
	if n := p.Errors.Total(); n != 2 || p.Errors.Count[Closed] != 2 || p.Open != 5 {
		t.Errorf("got %v, %d open; want 2 closed, 5 open", p.Errors.Count, p.Open)
	}
	if err := res.Err(); err == nil || !errors.Is(err, errEnded) {
		t.Errorf("got %v; want %v", err, errEnded)
	}
}

// TestStalledConnections: who moves nothing for the whole window is told, although no
// timeout has struck yet.
func TestStalledConnections(t *testing.T) {
	first := make(chan bool, 1)
	first <- true
	p := report(t, Options{
		Targets: double(t, func(p peer) {
			select {
			case <-first:
				echoThen(stop)(p)
			default:
				_, _ = io.Copy(p, p)
			}
		}),
		Works: []Work{{Connections: 3}}, Duration: 1100 * time.Millisecond, Warmup: 100 * time.Millisecond, Timeout: 3 * time.Second,
	})
	if p.Stalled != 1 {
		t.Errorf("got %d stalled; want 1", p.Stalled)
	}
}

// TestRunThatCannotBegin: when not one connection gets through, the run ends with the
// reason.
func TestRunThatCannotBegin(t *testing.T) {
	for name, c := range map[string]struct {
		mode   Mode
		handle func(peer)
		want   error
		after  time.Duration // Options.Timeout
	}{
		"ends at once":    {Connect, end, errEnded, time.Minute},
		"does not answer": {PingPong, drain, syscall.ETIMEDOUT, 200 * time.Millisecond},
		"sends nothing":   {Download, drain, syscall.ETIMEDOUT, 200 * time.Millisecond},
		"answers wrong":   {Idle, speak, errTooMany, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, Options{Targets: double(t, c.handle), Works: []Work{{Mode: c.mode, Connections: 3}}, Timeout: c.after})
			if res, err := r.Wait(); !errors.Is(err, c.want) {
				t.Errorf("got %v, %v; want %v", res, err, c.want)
			}
		})
	}
}

// TestConnectedToItself: a closed port in the ephemeral range can be given to the
// socket that dials it, which then is its own perfect echo. Here it is made so.
func TestConnectedToItself(t *testing.T) {
	fd, _ := sys.Socket(unix.AF_INET)
	sys.Bind(fd, unix.AF_INET, anyPort)
	self, _ := sys.LocalAddr(fd)
	if e := sys.Connect(fd, unix.AF_INET, self); e != 0 && e != unix.EINPROGRESS {
		t.Fatal(e)
	}
	r := &Run{options: Options{Works: []Work{{Connections: 1}}, Threads: 1}.completed()}
	r.trying.Add(1)
	th, err := newThread(r, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer th.close()
	c := &th.conns[0]
	c.fd, c.state, c.target = fd, dialing, self
	th.connected(c, unix.EPOLLOUT)
	if c.state != failed || c.job.errors.Count[Refused] != 1 {
		t.Errorf("got state %d, errors %v; want failed, refused", c.state, c.job.errors.Count)
	}
}

// What a peer may do.

func reset(p peer) {
	_ = p.SetLinger(0)
	_ = p.Close()
}

func end(p peer) {
	_ = p.CloseWrite()
	drain(p)
}

func drain(p peer) { _, _ = io.Copy(io.Discard, p) }

func stop(p peer) { <-p.over }

func speak(p peer) {
	_, _ = p.Write(make([]byte, 100))
	drain(p)
}

func half(p peer) {
	b := make([]byte, defaultSize)
	_, _ = io.ReadFull(p, b)
	_, _ = p.Write(b[:len(b)/2])
	end(p)
}

func echoThen(next func(peer)) func(peer) {
	return func(p peer) {
		_, _ = io.CopyN(p, p, defaultSize)
		next(p)
	}
}

func readThen(n int64, next func(peer)) func(peer) {
	return func(p peer) {
		_, _ = io.CopyN(io.Discard, p, n)
		next(p)
	}
}

func sourceThen(next func(peer)) func(peer) {
	return func(p peer) {
		var h [headerSize]byte
		_, _ = io.ReadFull(p, h[:])
		_, _ = p.Write(stretch(pattern(), phaseOf(h), 0, chunkSize))
		next(p)
	}
}

// confirm answers an upload with a receipt that differs from the truth.
func confirm(more int64, wrong uint64) func(peer) {
	return func(p peer) {
		n, _ := io.Copy(io.Discard, p)
		r := receipt(uint64(n-headerSize+more), wrong)
		_, _ = p.Write(r[:])
	}
}
