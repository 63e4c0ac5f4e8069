package server

import (
	"sync"
	"time"
)

// Event is a change that an operator may want to hear of when it happens. What does
// not apply is empty.
type Event struct {
	ID       uint64    // one more than that of the event before; see idBase
	Time     time.Time // when it was told
	Kind     EventKind
	Listener string
	Pool     string
	Backend  string
	Old, New string // what changed
	Reason   string // why, in words for a person

	Refused *Refused // of an EventRefused: who was, and how many since the last one
}

// EventKind is what an Event is about.
type EventKind string

const (
	EventHealth   EventKind = "health"   // a backend's health changed: Old, New
	EventMode     EventKind = "mode"     // a person changed a backend's mode: Old, New
	EventBreaker  EventKind = "breaker"  // a backend's breaker changed: Old, New
	EventRole     EventKind = "role"     // a backend's role changed: Old, New
	EventExcluded EventKind = "excluded" // an agent, its role, a fence or failback keep a backend out: Reason, empty for in again
	EventSplit    EventKind = "split"    // several backends claim to be the primary, or do not any more
	EventOverride EventKind = "override" // a person added, removed or changed a backend, or reset all
	EventReload   EventKind = "reload"   // a configuration was applied, or refused: Reason has the problems
	EventListener EventKind = "listener" // a listener was opened, closed, shut or opened again
	EventRefused  EventKind = "refused"  // a limit or an access list refused clients: New is the Refusal, and Refused has how many
	EventLifetime EventKind = "lifetime" // the process started, or is stopping
)

// keptEvents is how many events can be read again.
const keptEvents = 1024

// eventLog keeps the latest events. Readers come back for what is new, each at its
// own pace, so that a slow one costs nothing but what it misses. The zero value is
// empty, and its first event has the ID 1.
type eventLog struct {
	mu   sync.Mutex
	ring [keptEvents]Event // event n is at n % keptEvents
	base uint64            // the ID before the first one
	last uint64            // the ID of the latest one; base = none
	more chan struct{}     // closed at the next one; nil while nobody waits
}

// idEpoch is where the milliseconds of idBase begin.
var idEpoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// idBase is the ID before the first event of a process that starts at t: the milliseconds
// since idEpoch, times 4096. So the events of a process come after those of every one
// before it that had no more than 4096 in a millisecond of its life, and who comes back
// after a restart with the last ID that it has misses nothing. IDs stay below 2^53, which
// programs that have no other numbers than floats can tell apart, until 2089.
func idBase(t time.Time) uint64 { return uint64(max(0, t.Sub(idEpoch).Milliseconds())) << 12 }

// startAt makes the IDs those of a process that starts at t. It comes before the first
// event.
func (l *eventLog) startAt(t time.Time) {
	l.base = idBase(t)
	l.last = l.base
}

func (l *eventLog) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	e.ID, e.Time = l.last, time.Now()
	l.ring[e.ID%keptEvents] = e
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
}

func (l *eventLog) after(id uint64) ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more == nil {
		l.more = make(chan struct{})
	}
	if id < l.base || id > l.last { // of an earlier process, whose clock may have been ahead
		id = l.base
	}
	if l.last-l.base > keptEvents {
		id = max(id, l.last-keptEvents)
	}
	events := make([]Event, 0, l.last-id)
	for n := id + 1; n <= l.last; n++ {
		events = append(events, l.ring[n%keptEvents])
	}
	return events, l.more
}

// publish tells of an event; its ID and Time are set here. It does not block. Where the same
// is a line of the log, that comes after it: who reads the line finds the event.
func (s *Server) publish(e Event) { s.events.add(e) }

// Events answers the events after the one of that ID, 0 for all that are kept, which
// are the latest 1024, oldest first, and a channel that is closed when there are more.
// After an ID of an earlier process they are all told.
func (s *Server) Events(after uint64) (events []Event, more <-chan struct{}) {
	return s.events.after(after)
}
