package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/limeload/limeload/splice"
)

// ID names a session, uniquely as long as the process lives: the listener that
// admitted it, and its number among the sessions of that. The zero ID is no session's.
type ID struct {
	Listener uint32 // Listener.Number
	Serial   uint64 // from 1 on
}

// String is "LISTENER-SERIAL", both decimal.
func (id ID) String() string { return fmt.Sprintf("%d-%d", id.Listener, id.Serial) }

// ParseID reads what String writes.
func ParseID(text string) (ID, error) {
	var id ID
	if _, err := fmt.Sscanf(text, "%d-%d", &id.Listener, &id.Serial); err != nil || id.String() != text {
		return ID{}, fmt.Errorf("session id %q: want two numbers, as in 1-17", text)
	}
	return id, nil
}

// IDOf is a session's ID. It is for the match of splice.Engine.Kill.
func IDOf(s splice.Session) ID { return s.(*session).id() }

func (s *session) id() ID { return ID{s.listener.Number, s.serial} }

// Record is what is told of a live session.
type Record struct {
	ID       ID
	Listener string
	Pool     string
	Backend  string         // that it is connected to, or dials
	Client   netip.AddrPort // zero on a unix socket
	Address  string         // of the backend, as the log writes it
	Open     bool           // connected; else it dials, or waits to dial again
	Connect  time.Duration  // the attempt that succeeded took; 0 before that
	Age      time.Duration  // since the client was accepted
	Idle     time.Duration  // since a byte was seen to move, see Listener.Settle
	Up, Down uint64         // bytes
}

// Says reports whether text is part of something that is shown of the session: its ID,
// a name, an address with its port, or "unix" for a client on a unix socket.
func (r *Record) Says(text string) bool {
	client := "unix"
	if r.Client.IsValid() {
		client = r.Client.String()
	}
	for _, shown := range [...]string{r.Listener, r.Pool, r.Backend, r.Address, client, r.ID.String()} {
		if strings.Contains(shown, text) {
			return true
		}
	}
	return false
}

// Records calls f for each live session. A session is told of from the first backend on
// that was picked for it. Each record is that of one session at one moment; sessions
// that come and go meanwhile may be among them or not.
//
// It takes a session's own lock for as long as the copy of its record does: a loop
// that wants to connect or close just this session then waits for about 20 ns. f runs
// outside of it.
func (l *Listener) Records(f func(*Record)) {
	var r Record
	now := clock()
	l.roster.each(func(s *session) {
		if s.record(now, &r) {
			f(&r)
		}
	})
}

// Has reports whether a session with that ID lives and is told of by Records.
func (l *Listener) Has(id ID) (found bool) {
	l.roster.each(func(s *session) {
		s.meter.mu.Lock()
		found = found || s.target != nil && s.id() == id
		s.meter.mu.Unlock()
	})
	return found
}

// record copies out what is shown of the visit; false if nothing is. The texts are
// made after the lock is given back.
func (s *session) record(now int64, r *Record) bool {
	m := &s.meter
	m.mu.Lock()
	if s.target == nil {
		m.mu.Unlock()
		return false
	}
	listener, pool, target, addr := s.listener, s.conf.Pool, s.target, s.addr
	opened, moved := s.opened, time.Duration(m.moved)*(time.Second/10)
	*r = Record{
		ID: s.id(), Client: s.client, Open: m.connected, Connect: s.connect.duration(),
		Up: m.live.Up.Load(), Down: m.live.Down.Load(),
	}
	settled := r.Up == m.up && r.Down == m.down
	m.mu.Unlock()

	r.Listener, r.Pool, r.Backend, r.Address = listener.Name, pool.Name, target.Name, target.written(addr)
	r.Age = max(0, time.Duration(now-opened))
	if settled {
		r.Idle = max(0, r.Age-max(moved, r.Connect))
	}
	return true
}

// epoch is where clock begins.
var epoch = time.Now()

// clock is the time in nanoseconds that no one sets.
func clock() int64 { return int64(time.Since(epoch)) }
