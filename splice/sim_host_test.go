//go:build linux && simkernel

package splice

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/limeload/limeload/splice/internal/sys"
	"golang.org/x/sys/unix"
)

// noise is what all streams are cut from, each from its own beginning. Its length is
// a prime, so that bytes which are a buffer too early or too late are wrong bytes.
var noise = func() []byte {
	b := make([]byte, 65521)
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}()

// host is the far end of one connection: a client, or the backend of one attempt.
type host struct {
	w    *world
	name string
	conn *sys.Conn
	s    *simSession // nil before it is admitted
	peer *host       // whom it talks to, once the two are connected

	from int // where its stream begins in the noise
	sent int // bytes of it that came in
	got  int // bytes of the peer's that it took

	accepted bool // there was a connection
	ended    bool // it sent FIN
	broke    bool // it sent RST, or the kernel gave it up
	late     bool // it sent to a closed socket, which resets
	sawEnd   bool

	stuck time.Duration // since when bytes wait for it and none move; -1 = that is not so
}

func (w *world) newHost(name string, conn *sys.Conn) *host {
	h := &host{w: w, name: name, conn: conn, from: w.below(len(noise)), stuck: -1}
	if w.noSplice {
		conn.NoSplice = oneOf(w.dice, unix.EINVAL, unix.EPERM, 0)
	}
	w.hosts = append(w.hosts, h)
	return h
}

// act has the host do one thing.
func (h *host) act() {
	w := h.w
	switch {
	case h.conn.Dialing():
		h.answer()
		return
	case h.conn.MetItself():
		return // there is nobody
	}
	switch n := w.below(100); {
	case n < 35:
		h.send(w.size(w.unit))
	case n < 45:
		h.send(h.conn.Window())
	case n < 65:
		h.take(w.size(w.unit))
	case n < 85:
		h.take(h.conn.Unsent())
	case n < 88:
		h.conn.Rouse()
	case n < 91:
		if w.urgent {
			h.urge()
		}
	case h.ended && w.oneIn(3):
		h.breakOff(unix.ECONNRESET)
	case w.oneIn(w.mortal): // the rest ends something
	case n < 96:
		h.end()
	case n < 98:
		h.breakOff(unix.ECONNRESET)
	case n < 99:
		h.breakOff(unix.ETIMEDOUT)
	default:
		if w.vanish {
			h.w.log("%s vanishes", h.name)
			h.conn.Vanish()
		}
	}
}

// answer decides a connect, or leaves it for later.
func (h *host) answer() {
	switch n := h.w.below(16); {
	case n < 8:
		h.accept()
	case n < 10:
		e := oneOf(h.w.dice, unix.ECONNREFUSED, unix.ETIMEDOUT, unix.EHOSTUNREACH)
		h.w.log("%s answers %v", h.name, e)
		h.conn.Answer(e)
	}
}

func (h *host) accept() {
	if h.w.oneIn(40) {
		h.conn.MeetItself()
	}
	h.w.log("%s accepts", h.name)
	h.conn.Answer(0)
	h.accepted = true
}

// silent reports that the host sends nothing any more.
func (h *host) silent() bool {
	return h.ended || h.broke || h.conn.Vanished() || h.conn.MetItself() || !h.accepted
}

func (h *host) send(n int) {
	if h.silent() {
		return
	}
	open := !h.conn.Orphan()
	at := (h.from + h.sent) % len(noise)
	arrived := 0
	for arrived < n {
		chunk := noise[at:min(len(noise), at+n-arrived)]
		m := h.conn.Arrive(chunk)
		arrived += m
		if m < len(chunk) {
			break
		}
		at = 0
	}
	if h.conn.Closed() && n > 0 {
		h.late = true
	}
	h.sent += arrived
	if open {
		h.w.log("%s sends %d", h.name, arrived)
	}
}

// urge sends an urgent byte, and something behind it.
func (h *host) urge() {
	if h.silent() || !h.conn.ArriveUrgent('!') {
		return
	}
	h.w.log("%s sends an urgent byte", h.name)
	h.send(h.w.below(h.w.unit))
	if h.w.oneIn(4) {
		h.end()
	}
}

func (h *host) end() {
	if !h.silent() {
		h.w.log("%s ends", h.name)
		h.conn.ArriveEnd()
		h.ended = true
	}
}

func (h *host) breakOff(e sys.Errno) {
	if h.broke || !h.accepted || h.conn.Dead() {
		return
	}
	if h.conn.Vanished() {
		e = unix.ETIMEDOUT
	}
	h.w.log("%s breaks: %v", h.name, e)
	h.conn.ArriveReset(e)
	h.broke = true
}

// take has the host receive at most n bytes, and the end behind them.
func (h *host) take(n int) {
	b, end := h.conn.Acknowledge(n)
	if len(b) > 0 {
		h.w.log("%s takes %d", h.name, len(b))
		h.compare(b)
	}
	if end {
		h.w.log("%s sees the end", h.name)
		h.sawEnd = true
		h.checkEnd()
	}
}

// compare holds what came against what the peer sent: the same bytes, in order,
// once.
func (h *host) compare(b []byte) {
	if h.peer == nil {
		h.w.fail("%s got %d bytes and is connected with nobody", h.name, len(b))
	}
	if h.got+len(b) > h.peer.sent {
		h.w.fail("%s got %d bytes of the %d that %s sent", h.name, h.got+len(b), h.peer.sent, h.peer.name)
	}
	for len(b) > 0 {
		at := (h.peer.from + h.got) % len(noise)
		n := min(len(b), len(noise)-at)
		if !bytes.Equal(b[:n], noise[at:at+n]) {
			h.w.fail("%s got wrong bytes at %d", h.name, h.got)
		}
		h.got += n
		b = b[n:]
	}
}

// checkEnd: a FIN comes behind all that the peer sent, and only if that ended too.
func (h *host) checkEnd() {
	switch {
	case h.peer == nil:
		// A session that ended before it had a backend.
	case !h.peer.ended && !h.peer.broke && !h.broke:
		h.w.fail("%s saw the end, and %s has not ended", h.name, h.peer.name)
	case h.got < h.peer.sent && !h.broke:
		h.w.fail("%s saw the end behind %d bytes of the %d that %s sent", h.name, h.got, h.peer.sent, h.peer.name)
	}
}

// checkFate: at the end of the history every host has heard of the end, and has all
// that its peer sent, unless it is to blame itself, or the session was cut.
func (h *host) checkFate() {
	h.take(h.conn.Unsent())
	if !h.accepted || h.broke || h.late || h.conn.Vanished() {
		return
	}
	if !h.sawEnd && !h.conn.Reset() {
		h.w.fail("%s never heard of the end", h.name)
	}
	s := h.s
	if s == nil || h.peer == nil || s.cut() || h.peer.conn.Vanished() {
		return
	}
	// Bytes that come between the last read and the close make it a reset: nobody can
	// help that.
	unread := h.conn.Unread() && h.w.busy
	if h.got < h.peer.sent && !unread {
		h.w.fail("%s got %d bytes of the %d that %s sent; the session ended with %v", h.name, h.got, h.peer.sent, h.peer.name, s.result.Reason)
	}
	if h.conn.Reset() && !h.peer.broke && !unread {
		h.w.fail("%s was reset, and %s ended in order", h.name, h.peer.name)
	}
}

func (h *host) String() string {
	return fmt.Sprintf("%s: sent %d got %d ended %v broke %v queued %d taken %d unsent %d finished %v", h.name, h.sent, h.got,
		h.ended, h.broke, h.conn.Queued(), h.conn.Taken(), h.conn.Unsent(), h.conn.Finished())
}
