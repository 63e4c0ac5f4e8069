package soak

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

// ledger knows every session that is not judged yet, and the sums of those that are.
// It is where limeload's log goes.
type ledger struct {
	t        testing.TB
	seed     uint64
	backends map[string]*backend // by name

	failed chan struct{} // closed by the first failure

	mu       sync.Mutex
	failures int
	open     map[uint32]*record
	sums     sums
}

// record is one session: what the script says, and what came of it.
type record struct {
	number         uint32
	script         script
	life           spell // from before the client's connect to the last that was heard of it
	cutUp, cutDown bool  // the client cut it, the server cut it, as planned
	met            int   // backends that it was brought to
	client, server *outcome
	line           *line
}

// line is a session's line in limeload's log, or another that tells of a cut.
type line struct {
	Message  string
	Listener string
	Pool     string
	Backend  string
	Client   string
	Up       int64 `json:"bytes_up"`
	Down     int64 `json:"bytes_down"`
	Reason   string
	Sessions int
	text     string
}

// sums are over all lines of the log, and over what limeload was told to do.
type sums struct {
	listeners map[string]*listenerSums
	causes    map[string]int // of ends, by what the ledger takes them to be
	told      map[string]int // sessions that were cut, by reason, as limeload answered
	served    int64          // bytes of streams that were whole
	sessions  int
}

type listenerSums struct {
	sessions, up, down int64
	ended              [splice.NumReasons]int64
}

const maxFailures = 10

func newLedger(t testing.TB, seed uint64) *ledger {
	return &ledger{
		t: t, seed: seed, backends: map[string]*backend{}, failed: make(chan struct{}), open: map[uint32]*record{},
		sums: sums{listeners: map[string]*listenerSums{}, causes: map[string]int{}, told: map[string]int{}},
	}
}

// fail fails the test and ends the traffic. It needs mu.
func (l *ledger) fail(format string, args ...any) {
	if l.failures++; l.failures == 1 {
		close(l.failed)
	}
	if l.failures <= maxFailures {
		l.t.Errorf("-soak.seed=%d: %s", l.seed, fmt.Sprintf(format, args...))
	}
}

// failf is fail for those who do not hold mu.
func (l *ledger) failf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail(format, args...)
}

// begin opens the record of a session whose client is about to connect.
func (l *ledger) begin(number uint32, s script) *record {
	r := &record{number: number, script: s, life: spell{from: time.Now()}}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[number] = r
	return r
}

// meet notes that a session was brought to a backend, and answers its record; nil
// for a session that there is not.
func (l *ledger) meet(number uint32, backend string) *record {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.open[number]
	if r == nil {
		l.fail("backend %s: a connection begins with the number %d, of which no session lives", backend, number)
		return nil
	}
	r.met++
	return r
}

// note changes a record, and judges it if nothing is missing any more.
func (l *ledger) note(r *record, change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	r.life.to = time.Now()
	if l.open[r.number] == r && r.client != nil && r.line != nil && r.met > 0 && r.server != nil {
		l.close(r)
	}
}

// enter takes one line of limeload's log.
func (l *ledger) enter(text []byte) {
	e := &line{text: string(text)}
	if err := json.Unmarshal(text, e); err != nil {
		l.failf("log line %q: %v", text, err)
	}
	switch e.Message {
	case "session":
		l.enterSession(e)
	case "removed: sessions cut":
		l.tell(splice.ReasonDrained, e.Sessions)
	}
}

// tell notes that limeload said that it had cut n sessions.
func (l *ledger) tell(reason splice.Reason, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sums.told[reason.String()] += n
}

func (l *ledger) enterSession(e *line) {
	l.mu.Lock()
	l.sums.add(e)
	r := l.open[numberOf(e.Client)]
	switch {
	case r == nil:
		l.fail("the log has a session of a client that there is not: %s", e.text)
	case r.line != nil:
		l.fail("the log has two lines of one session: %s%s", r.line.text, e.text)
	}
	l.mu.Unlock()
	if r != nil {
		l.note(r, func() { r.line = e })
	}
}

func (s *sums) add(e *line) {
	of := s.listeners[e.Listener]
	if of == nil {
		of = &listenerSums{}
		s.listeners[e.Listener] = of
	}
	of.sessions++
	of.up += e.Up
	of.down += e.Down
	for _, reason := range splice.Reasons() {
		if reason.String() == e.Reason {
			of.ended[reason]++
		}
	}
}

// settle judges what is left when there is no session any more: of those that never
// came to a backend, nobody could say before that they will not.
func (l *ledger) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.open {
		l.close(r)
	}
}

// journal hands limeload's log to a ledger, so that no loop waits for it.
type journal struct {
	lines chan []byte
	read  chan struct{} // closed when the last line was
}

func newJournal(l *ledger) *journal {
	j := &journal{make(chan []byte, 1<<14), make(chan struct{})}
	go j.hand(l)
	return j
}

func (j *journal) hand(l *ledger) {
	defer close(j.read)
	for text := range j.lines {
		l.enter(text)
	}
}

// Write takes one line; see io.Writer.
func (j *journal) Write(text []byte) (int, error) {
	j.lines <- bytes.Clone(text)
	return len(text), nil
}

// close waits until the ledger has everything. Nobody writes any more.
func (j *journal) close() {
	close(j.lines)
	<-j.read
}

// close judges a session, sums it up and forgets it. It needs mu.
func (l *ledger) close(r *record) {
	delete(l.open, r.number)
	cause, err := r.judge(l.backends)
	if err != nil {
		l.fail("session %d: %v\n%+v", r.number, err, r)
	}
	l.sums.causes[cause]++
	l.sums.sessions++
	if cause == whole {
		l.sums.served += r.client.sent + r.client.received
	}
}

// String is all that is known of a session, for a failure.
func (r *record) String() string {
	s := fmt.Sprintf("script %+v\nclient %+v\nserver %+v\n", r.script, r.client, r.server)
	if r.line != nil {
		return s + r.line.text
	}
	return s + "no line in the log"
}

// Clients are at 127.64.0.0/10, each at an address of its own.
const firstClient = 127<<24 | 64<<16

func clientAddr(number uint32) netip.Addr {
	n := firstClient + number%(1<<22)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// numberOf is the number of the session of a client's address.
func numberOf(client string) uint32 {
	a, err := netip.ParseAddr(client)
	if err != nil || !a.Is4() {
		return 0 // nobody's
	}
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]) - firstClient
}
