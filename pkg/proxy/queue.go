package proxy

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/splice"
)

// queue is where clients are held, at a listener's door or before a pool's backends.
// They stand in lines, one for each limit that somebody waits for, and for the limits
// of sources one for each source: nobody waits for a limit that is not in his way.
//
// Who stands in a line comes in when there is enough for all before him as well, and
// who comes new has all of them before him. So places and tokens go to those who came
// first, and however many wait, they do not all try for each of them: everybody looks
// again about when it is his turn, which those before him say. To within turnsTogether
// the turns of a rate count as one, since loops do not wake to the microsecond.
//
// Its lock is one of clients that are held. Who comes to a limit that holds clients
// looks at a count, and takes the lock if anybody is.
type queue struct {
	held atomic.Int64 // in all lines

	mu    sync.Mutex
	last  uint64            // ticket
	lines map[line][]uint64 // tickets, the lowest first; none is empty
}

// line is what clients wait for.
type line struct {
	limit  Refusal
	source limit.Source // zero for a limit of all
}

// spot is where a client stands. The zero value is of one that has just come.
type spot struct {
	line
	ticket uint64 // the order in which they came; 0 = none
}

const (
	// turnsTogether is how much later than his turn's time that of one before him may
	// be for somebody to come in.
	turnsTogether = 10 * time.Millisecond
	// freePlaceEvery is how often the first of a line looks for a place that got free.
	// The others look less often, the further behind they stand.
	freePlaceEvery = 10 * time.Millisecond
	// turnCheck is how long somebody waits at most, if he may come in before it is his
	// turn as of now: those before him may leave.
	turnCheck = 250 * time.Millisecond
	// leastWait keeps who may come in at once, and has to look again, from spinning.
	leastWait = time.Millisecond
)

// Len is the number of clients that are held.
func (q *queue) Len() int { return int(q.held.Load()) }

// join puts a client at the end of a line, if no more than most are held then.
func (q *queue) join(l line, most int) (spot, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.Len() >= most {
		return spot{}, false
	}
	q.held.Add(1)
	q.last++
	s := spot{l, q.last}
	q.enter(s)
	return s, true
}

// move puts a client into another line, before those that came later.
func (q *queue) move(s *spot, to line) {
	if s.line == to {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.exit(*s)
	s.line = to
	q.enter(*s)
}

// leave ends a client's waiting.
func (q *queue) leave(s spot) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.exit(s)
	q.held.Add(-1)
}

// ahead is how many stand in a line before a client, who may be in another one.
func (q *queue) ahead(l line, s spot) int {
	if q.held.Load() == 0 {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	tickets := q.lines[l]
	if s.ticket == 0 {
		return len(tickets)
	}
	n, _ := slices.BinarySearch(tickets, s.ticket)
	return n
}

// enter and exit need mu.

func (q *queue) enter(s spot) {
	if q.lines == nil {
		q.lines = map[line][]uint64{}
	}
	tickets := q.lines[s.line]
	n, _ := slices.BinarySearch(tickets, s.ticket)
	q.lines[s.line] = slices.Insert(tickets, n, s.ticket)
}

func (q *queue) exit(s spot) {
	tickets := q.lines[s.line]
	n, ok := slices.BinarySearch(tickets, s.ticket)
	if !ok {
		panic("proxy: a client left a line in which it did not stand")
	}
	if n == 0 {
		tickets = tickets[1:] // the usual way out, which moves nobody
	} else {
		tickets = slices.Delete(tickets, n, n+1)
	}
	if len(tickets) > 0 {
		q.lines[s.line] = tickets
	} else {
		delete(q.lines, s.line)
	}
}

// early reports whether it is the turn of those before a client, where one comes in
// each interval.
func early(ahead int, interval time.Duration) bool {
	return time.Duration(ahead)*interval > turnsTogether
}

// turn is when a client looks again: when the next token comes, in wait, and those
// before him have taken theirs. An interval of 0 is of places, of which nobody knows
// when one gets free.
func turn(ahead int, wait, interval time.Duration) splice.Wait {
	if interval == 0 {
		return splice.Wait(min(freePlaceEvery*time.Duration(ahead+1), turnCheck))
	}
	due := wait + time.Duration(ahead)*interval
	return splice.Wait(max(min(due, max(wait, turnCheck)), leastWait))
}
