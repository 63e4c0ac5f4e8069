package splice

import (
	"cmp"
	"context"
	"errors"
	"math/bits"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// Engine types, the values of Options.Type.
const (
	TypeAuto   = "auto"   // the reactor where the platform has it, else the goroutine engine
	TypeSplice = "splice" // the Linux reactor
	TypeCopy   = "copy"   // the portable goroutine engine
)

// Engine accepts clients on its listeners, asks their Handler for a Session
// each, connects to the Endpoint that the Session names, and moves bytes both
// ways until one of the ends, a timeout or Kill ends it.
//
// All methods are safe for concurrent use.
type Engine interface {
	// Listen binds b and starts to accept. Errors name the address and wrap the
	// system's error number (syscall.EADDRINUSE, syscall.EACCES, ...).
	Listen(b Bind) (Listener, error)

	// Kill ends the live sessions that match (all of them if match is nil) with
	// reason, resetting both sides: bytes in flight may be lost. It returns the
	// number of sessions that it ended, after their Close was called. match runs
	// on the engine's own threads, must not block, and must not call the engine.
	Kill(match func(Session) bool, reason Reason) int

	// KillOne is Kill for the first live session that matches, after which it looks no
	// further. It returns whether there was one.
	KillOne(match func(Session) bool, reason Reason) bool

	// Stats copies the engine's counters out, one entry a loop.
	Stats() []LoopStats

	// Alive returns nil once every thread of the engine has gone round, so that none
	// is stuck, or else the error with which ctx ended.
	Alive(ctx context.Context) error

	// Shutdown closes the listeners, lets the live sessions end, kills what is
	// left with ReasonDrained when ctx is done, and waits for every thread and
	// goroutine of the engine. It returns nil if no session had to be killed, else
	// ctx's error. The engine is of no use afterwards.
	Shutdown(ctx context.Context) error
}

// Listener is one bound address of an Engine.
type Listener interface {
	// Addr is the bound address; for port 0 it has the port that the system chose.
	Addr() netip.AddrPort
	// Suspend makes the kernel refuse new clients while the address stays bound,
	// so that a client with several hosts in its connection string moves on to the
	// next at once. Clients that wait in the kernel's queue are reset. Suspended
	// twice is suspended once.
	Suspend() error
	// Resume ends Suspend.
	Resume() error
	// SetKeepalive changes what clients have that are accepted from now on.
	SetKeepalive(k Keepalive) error
	// Close accepts what the kernel has queued, as far as the gates permit, then
	// closes the sockets. Live sessions go on. A unix socket's file is removed.
	Close() error
}

// Options of an Engine. The zero value is right for production.
type Options struct {
	// Type is TypeAuto, TypeSplice or TypeCopy; "" means TypeAuto.
	Type string
	// Threads is the number of loops; 0 means one for each CPU that the process may
	// use (runtime.GOMAXPROCS at the time of New). The reactor raises GOMAXPROCS to
	// Threads+2, so that the control plane always finds a processor. The goroutine
	// engine ignores it.
	Threads int
	// PipeSize is the capacity in bytes that is asked for the pipes of splice mode;
	// 0 means 1 MiB.
	PipeSize int
	// MaxPipes bounds the pipes of the whole engine; 0 means 64 for each loop,
	// negative none, which keeps every pair in copy mode.
	MaxPipes int
	// SilentAfter is how long a peer that takes no bytes may acknowledge nothing, and
	// leave probes unanswered, until it is dead; 0 means 60 s. Linux alone can tell.
	SilentAfter time.Duration
	// OnAcceptPause is called when a listener has to pause because the process or
	// the machine is out of a resource (EMFILE, ENFILE, ENOBUFS, ENOMEM), once per
	// episode. It runs on a loop and must not block. nil means no call.
	OnAcceptPause func(err error)
}

// Bind says where a listener listens and who answers for its clients.
type Bind struct {
	// Addr is the TCP address to bind. A zero netip.Addr with a port means all
	// addresses, IPv6 and IPv4; port 0 lets the system choose.
	Addr netip.AddrPort
	// Unix is the path of a unix stream socket; if set, Addr is ignored. A socket
	// file that nobody listens on is replaced.
	Unix string
	// Inherited is the descriptor of a socket that listens already, and is used instead
	// of a new one; 0 means none. It is the engine's from the call of Listen on, whether
	// that fails or not. Addr or Unix says where it listens. Who made it holds it too,
	// so Close leaves it listening, with the clients in its queue for whoever is next;
	// the file of a unix socket stays, and Suspend has no effect on that one.
	Inherited int
	// Backlog is the length of the kernel's queue of clients not yet accepted; 0
	// means the system's maximum.
	Backlog int
	// Handler admits the clients. Required.
	Handler Handler
	// Keepalive of the clients' connections.
	Keepalive Keepalive
	// Gates are all passed before a client is accepted: each session holds a
	// permit of each until its Close has returned.
	Gates []*Gate
}

// Peer is the socket's other end; unix clients have no address.
type Peer struct {
	Remote, Local netip.AddrPort
	Unix          bool
}

// Handler admits clients. Open is asked once per accepted client. It never
// blocks. An error resets the client; nothing else is called for it.
type Handler interface {
	Open(Peer) (Session, error)
}

// Session is one admitted client. The engine calls Dial until a connect succeeds
// or Dial returns an error, then Close exactly once; after Close it never touches
// the session. It stops asking early, and calls Close, when the client is gone or
// has sent all it will (its bytes are then for that one attempt). Calls for one
// session never overlap and never block.
type Session interface {
	// Dial answers the next backend to connect to. last is nil the first time,
	// then the error of the attempt that failed (see LocalError), or the Wait
	// that the previous call returned. A Wait makes the engine call again later;
	// any other error ends the session with ReasonConnectFailed.
	Dial(last error) (Endpoint, error)
	// Close hears how it ended.
	Close(Result)
}

// Connected is asserted on a Session: it hears of a connect's success when it
// happens, and how long the attempt took.
type Connected interface {
	Connected(took time.Duration)
}

// Wait is returned by Session.Dial instead of an Endpoint: call again after this
// time.
type Wait time.Duration

func (w Wait) Error() string { return "wait " + time.Duration(w).String() }

// Endpoint is where to connect, and how.
type Endpoint struct {
	// Addr is the backend's TCP address, used if Unix is empty.
	Addr netip.AddrPort
	// Unix is the path of the backend's unix stream socket.
	Unix string
	// Source is the local address to connect from; the zero value lets the system
	// choose. Its port is always the system's choice.
	Source netip.Addr
	// Timeout bounds this one attempt; 0 means the system's own limit.
	Timeout time.Duration
	// Timeouts of the session once it is connected; nil means none. The engine
	// keeps the pointer; what it points to must not change.
	Timeouts *Timeouts
	// Bandwidth bounds it, together with the other sessions that are given the same;
	// nil means no bound. It may be changed at any time.
	Bandwidth *Bandwidth
	// Counters receive the bytes as they are moved; nil is allowed. The engine only
	// adds, others may load at any time.
	Counters *Counters
}

// Timeouts bound the phases of a connected session; 0 means never.
type Timeouts struct {
	// Idle is the longest time without a byte in either direction.
	Idle time.Duration
	// HalfClose is, once one side has ended its direction, the longest time without
	// a byte in the other.
	HalfClose time.Duration
	// Stall is the longest time for which one side takes no byte although some wait
	// for it. It also ends a peer that lives and merely does not read; one that is
	// dead is found without it (Options.SilentAfter).
	Stall time.Duration
	// Lifetime is the longest time since the client was accepted.
	Lifetime time.Duration
	// LifetimeJitter shortens Lifetime by a part of itself, up to so much, that is
	// another one for each session: so those that began together do not end together.
	LifetimeJitter time.Duration
	// Keepalive of the connection to the backend. That of clients is Bind's.
	Keepalive Keepalive
}

// quiet is the shortest of the limits of a time in which a side that is owed bytes takes
// none, once the other one has gone; 0 = no limit.
func (t *Timeouts) quiet() (limit time.Duration) {
	for _, l := range [...]time.Duration{t.Idle, t.HalfClose, t.Stall} {
		if l > 0 && (limit == 0 || l < limit) {
			limit = l
		}
	}
	return limit
}

// lifetime is that of one session, which seed tells from the others; 0 = no limit.
func (t *Timeouts) lifetime(seed uint64) time.Duration {
	if t.Lifetime <= 0 || t.LifetimeJitter <= 0 {
		return t.Lifetime
	}
	part, _ := bits.Mul64(mix(seed), uint64(t.LifetimeJitter)+1)
	return max(t.Lifetime-time.Duration(part), 1)
}

// mix makes a number that looks random of one that does not (the finalizer of
// SplitMix64, Steele et al., OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Keepalive says how the kernel finds a TCP peer that is gone without a word. The
// zero value is right for most: after 60 s of silence a probe, then one every 10 s,
// dead after six.
type Keepalive struct {
	Idle     time.Duration // silence before the first probe; 0 means 60 s. Whole seconds, rounded up
	Interval time.Duration // between two probes; 0 means 10 s. Whole seconds, rounded up
	Count    int           // probes without an answer; 0 means 6

	// UserTimeout is how long sent bytes may stay unacknowledged, or the peer's window
	// closed, before the connection is broken off (TCP_USER_TIMEOUT, tcp(7)); 0 means
	// the system's own limit. It also ends a live peer that does not read for so long.
	// Linux alone has it.
	UserTimeout time.Duration
}

func (k Keepalive) idle() time.Duration     { return cmp.Or(k.Idle, 60*time.Second) }
func (k Keepalive) interval() time.Duration { return cmp.Or(k.Interval, 10*time.Second) }
func (k Keepalive) count() int              { return cmp.Or(k.Count, 6) }

// Counters are the bytes that were handed to the receiving side's kernel.
type Counters struct {
	Up   atomic.Uint64 // client to backend
	Down atomic.Uint64 // backend to client
}

// Result is how a session ended.
type Result struct {
	Reason   Reason
	Err      error         // what the system said, if it said something; for people
	Up, Down uint64        // bytes to the backend and to the client
	Duration time.Duration // since the client was accepted

	// ClientEnded is whether the client had ended its direction before: what the
	// backend did then, it did to one that was leaving.
	ClientEnded bool

	// FirstByte is the time from the client's first byte to the backend's, or from the
	// connect if the backend spoke first; 0 if it said nothing. Its resolution is that
	// of a turn of the loop: the time for which it had other sessions to serve.
	FirstByte time.Duration
	// Path is the zero value unless the session is one of those that are looked at.
	Path Path
}

// Path is what the kernel knew of the connection to a TCP backend as its session ended
// (TCP_INFO, Linux alone). Engines look at no more than one session in 10 ms for each
// loop: at less than 100 a second these are all, at more a sample.
type Path struct {
	RTT         time.Duration // smoothed round-trip time; 0 = not looked at, or not measured
	Retransmits uint32        // segments sent again
}

// LoopStats are the counters of one loop since the engine started; the gauges are
// marked.
type LoopStats struct {
	Sessions     int64  // gauge: pairs that live now, dialing included
	Accepted     uint64 // clients accepted
	Events       uint64 // readiness events handled
	Wakeups      uint64 // returns from the wait for events
	CopyBytes    uint64 // bytes moved through the loop's buffer
	SpliceBytes  uint64 // bytes moved through pipes
	PipesInUse   int64  // gauge: pipes that hold bytes
	PipesPooled  int64  // gauge: empty pipes kept for reuse
	AcceptPauses uint64 // episodes in which accepting paused for want of a resource
}

// Errors of a dial that are not the system's.
var (
	// ErrDialTimeout is an attempt that exceeded Endpoint.Timeout.
	ErrDialTimeout = errors.New("connect: timeout")
	// ErrSelfConnect is a connect to a closed port of this machine that, by the rule
	// of simultaneous open (RFC 9293, 3.5), met itself.
	ErrSelfConnect = errors.New("connect: connection refused (connected to itself)")
	// ErrClosed is answered by an engine that was shut down, and by a listener that was
	// closed.
	ErrClosed = errors.New("splice: engine closed")
)

// LocalError reports whether a failed dial is the fault of this machine (no free
// port, no descriptor, no memory, no watch of epoll(7), a source address it does not
// have), so that the backend is not to blame.
func LocalError(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.EMFILE, syscall.ENFILE,
		syscall.ENOBUFS, syscall.ENOMEM, syscall.ENOSPC, syscall.EPERM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// String is the address as a person writes it.
func (b Bind) String() string {
	switch {
	case b.Unix != "":
		return "unix:" + b.Unix
	case !b.Addr.Addr().IsValid():
		return ":" + strconv.Itoa(int(b.Addr.Port()))
	}
	return b.Addr.String()
}
