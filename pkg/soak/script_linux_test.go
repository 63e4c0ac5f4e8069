package soak

import (
	"math/rand/v2"
	"time"
)

// The listeners, and what is special about each.
const (
	front = "front" // its pool has a backend that is never disturbed: every client is served
	brief = "brief" // the same pool, with timeouts that cut sessions
	rough = "rough" // all backends of its pool come and go
	late  = "late"  // its first backend never answers, so that clients wait in the dial
)

// script is what the ends of one session do.
type script struct {
	Listener string
	Kind     string
	After    time.Duration // since the client's last session: the machine is not ours alone
	// Eager clients send before they have heard of the backend.
	Eager bool
	// Leave is how the client goes after LeaveAfter, before it has sent anything.
	Leave          leave
	LeaveAfter     time.Duration
	Client, Server part
}

// leave is how a client goes that was never served.
type leave int

const (
	stays leave = iota
	closes
	resets
)

// part is what one end does. Bytes are those of the pattern, without the greeting.
type part struct {
	Offset int64         // of the pattern
	Bytes  int64         // to send
	Chunk  int64         // of one write
	Read   int64         // of one read
	Turn   int64         // bytes of the other end between two chunks; 0: it does not wait for any
	Pause  time.Duration // in sending, after PauseAt bytes
	Stall  time.Duration // in reading, after StallAt bytes

	PauseAt, StallAt int64

	Finish finish
	CutAt  int64 // of cutHard and cutSoft: sent and received bytes together
}

// finish is how an end ends.
type finish int

const (
	last      finish = iota // its direction, after the other has ended
	first                   // its direction, as soon as everything is sent
	cutBehind               // a reset behind its last byte, which has arrived
	cutHard                 // a reset in the middle
	cutSoft                 // a close in the middle, whatever still comes
)

// kinds are the sorts of traffic, each as likely as the others.
var kinds = []struct {
	name string
	draw func(r *rand.Rand, s *script)
}{
	{"short", func(r *rand.Rand, s *script) {
		s.Client.Bytes, s.Server.Bytes = upTo(r, 11), upTo(r, 11)
	}},
	{"ping-pong", func(r *rand.Rand, s *script) {
		rounds := 1 + upTo(r, 9)
		c, b := &s.Client, &s.Server
		c.Chunk, b.Chunk = 1+upTo(r, 12), 1+upTo(r, 12)
		c.Bytes, b.Bytes = rounds*c.Chunk, rounds*b.Chunk
		c.Turn, b.Turn = b.Chunk, c.Chunk
	}},
	{"upload", func(r *rand.Rand, s *script) { s.Client.Bytes, s.Server.Bytes = upTo(r, 24), upTo(r, 9) }},
	{"download", func(r *rand.Rand, s *script) { s.Client.Bytes, s.Server.Bytes = upTo(r, 9), upTo(r, 24) }},
	{"both ways", func(r *rand.Rand, s *script) { s.Client.Bytes, s.Server.Bytes = upTo(r, 22), upTo(r, 22) }},
	{"idle", func(r *rand.Rand, s *script) {
		s.Client.Bytes, s.Server.Bytes = 2+upTo(r, 9), 2+upTo(r, 9)
		s.Client.Chunk, s.Server.Chunk = 1, 1
		s.Client.Pause, s.Server.Pause = upToTime(r, 1500*time.Millisecond), upToTime(r, 500*time.Millisecond)
	}},
}

// draw answers the script of a session. Its Server has to know nothing else.
func draw(seed uint64, number uint32) script {
	r := rand.New(rand.NewPCG(seed, uint64(number)))
	s := script{Listener: drawListener(r), After: upToTime(r, 40*time.Millisecond), Eager: r.IntN(2) == 0, Client: drawPart(r), Server: drawPart(r)}
	kind := kinds[r.IntN(len(kinds))]
	s.Kind = kind.name
	kind.draw(r, &s)
	s.Client.drawTimes(r, s.Server.Bytes)
	s.Server.drawTimes(r, s.Client.Bytes)
	s.drawFinish(r)
	if leaves := r.IntN(20); leaves == 0 || s.Listener == late && leaves < 10 {
		s.Leave, s.LeaveAfter = closes+leave(r.IntN(2)), upToTime(r, 2*dialTimeout)
	}
	return s
}

func drawListener(r *rand.Rand) string {
	switch n := r.IntN(100); {
	case n < 60:
		return front
	case n < 75:
		return brief
	case n < 90:
		return rough
	}
	return late
}

func drawPart(r *rand.Rand) part {
	return part{Offset: r.Int64N(period), Chunk: 1<<6 + upTo(r, 18), Read: 1<<6 + upTo(r, 16)}
}

func (p *part) drawTimes(r *rand.Rand, coming int64) {
	p.PauseAt, p.StallAt = r.Int64N(p.Bytes+1), r.Int64N(coming+1)
	if r.IntN(4) == 0 {
		p.Stall = upToTime(r, 200*time.Millisecond)
	}
	if r.IntN(50) == 0 {
		p.Stall = upToTime(r, 2*time.Second) // longer than limeload waits with a reset for the bytes before it
	}
}

// drawFinish has a session cut by one end now and then; else one end has to be the
// first to end.
func (s *script) drawFinish(r *rand.Rand) {
	c, b := &s.Client, &s.Server
	c.Finish, b.Finish = finish(r.IntN(2)), finish(r.IntN(2))
	switch r.IntN(8) {
	case 0:
		c.Finish = cutBehind + finish(r.IntN(3))
	case 1:
		b.Finish = cutBehind + finish(r.IntN(3))
	default:
		if b.Finish != first {
			c.Finish = first
		}
	}
	c.CutAt, b.CutAt = r.Int64N(c.Bytes+b.Bytes+1), r.Int64N(c.Bytes+b.Bytes+1)
}

// upTo draws a number below 2^magnitude, small ones as likely as large ones.
func upTo(r *rand.Rand, magnitude int) int64 { return r.Int64N(1 << r.IntN(magnitude+1)) }

func upToTime(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
