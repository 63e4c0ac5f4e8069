package proxy

import (
	"sync/atomic"

	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/splice"
	"github.com/rs/zerolog"
)

// Listener admits the clients of one listener and counts its sessions. It is the
// splice.Handler of all its addresses.
type Listener struct {
	Name   string
	Number uint32      // in the IDs of its sessions; who makes listeners gives each another one
	Gate   splice.Gate // its own max_connections
	Shut   atomic.Bool // its sockets do not listen, because its pool is down; for people

	log    zerolog.Logger
	conf   atomic.Pointer[Conf]
	roster roster
	table  atomic.Pointer[limit.Sources] // the first Admission.Table; nil until there is one
	ledger

	Sessions atomic.Uint64                    // admitted since the start
	Ended    [splice.NumReasons]atomic.Uint64 // by reason
	Retries  atomic.Uint64                    // attempts beyond a session's first
	Duration Histogram                        // of ended sessions

	Bandwidth splice.Bandwidth // of its sessions, those that live included

	splice.Counters // bytes of all sessions, of live ones as of the last Settle
}

// Conf is what a session takes from its listener when it begins.
type Conf struct {
	Pool     *Pool
	Timeouts splice.Timeouts
	Access   bool // one log line per ended session

	Admission *Admission // nil asks nothing of a client
}

// NewListener makes a listener; log gets its sessions' lines.
func NewListener(name string, log zerolog.Logger, c Conf) *Listener {
	l := &Listener{Name: name, log: log}
	l.Configure(c)
	return l
}

// Configure changes what later sessions take, and what held ones wait for. Calls must
// not overlap. The first Table of an Admission is kept, since sessions have places there.
func (l *Listener) Configure(c Conf) {
	if a := c.Admission; a != nil && a.Table != nil && l.table.Load() == nil {
		l.scope = a.Table.NewScope()
		l.table.Store(a.Table)
	}
	l.conf.Store(&c)
}

// Conf is what sessions that begin now take.
func (l *Listener) Conf() *Conf { return l.conf.Load() }

// Open implements splice.Handler.
func (l *Listener) Open(peer splice.Peer) (splice.Session, error) {
	conf := l.conf.Load()
	if conf.Admission != nil {
		return l.openWithin(conf, peer)
	}
	return l.begin(conf, peer), nil
}

// begin makes a session of a client.
func (l *Listener) begin(conf *Conf, peer splice.Peer) *session {
	s := l.roster.take()
	s.listener, s.conf, s.client = l, conf, peer.Remote
	s.serial, s.opened = l.Sessions.Add(1), clock()
	return s
}

// Settle brings the byte counts of the listener, and of the pools and targets that
// its sessions use, up to date: they are otherwise those of ended sessions. It takes
// a few nanoseconds for each client of the busiest time.
func (l *Listener) Settle() {
	now := clock()
	l.roster.each(func(s *session) { s.settle(now) })
}
