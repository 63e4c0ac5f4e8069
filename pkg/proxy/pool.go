package proxy

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/pkg/standing"
	"github.com/limeload/limeload/splice"
)

// Pool is where a listener's sessions go.
type Pool struct {
	Name     string
	Balancer *balancer.Pool // every backend's Value is its *Target

	dialing atomic.Pointer[Dialing]
	limits  atomic.Pointer[standing.Limits]
	hear    func(Heard)
	turn    atomic.Uint32 // for Dialing.Source
	queue   queue         // of clients that wait for Dialing.Limit

	// Counts that outlive the backends.
	Connect         Histogram // time that successful attempts took
	FirstByte       Histogram // of ended sessions: time to the backend's first byte
	splice.Counters           // bytes of all sessions, of live ones as of the last Settle
}

// Dialing is how a pool's backends are connected to.
type Dialing struct {
	Timeout  time.Duration // of one attempt
	Attempts int           // of one session, at least 1
	Source   []netip.Addr  // to connect from, in turn; empty: the system chooses
	Limit    BackendLimit
}

// NewPool makes a pool of b.
func NewPool(name string, b *balancer.Pool, d Dialing) *Pool {
	p := &Pool{Name: name, Balancer: b, hear: func(Heard) {}}
	p.SetLimits(standing.Limits{})
	p.SetDialing(d)
	return p
}

// SetDialing changes how later attempts connect.
func (p *Pool) SetDialing(d Dialing) { p.dialing.Store(&d) }

// source is the address to connect from to a backend at to: of those of its family
// the next one in turn, or the zero value.
func (p *Pool) source(d *Dialing, to netip.Addr) netip.Addr {
	n := uint32(len(d.Source))
	if n == 0 {
		return netip.Addr{}
	}
	first := p.turn.Add(1)
	for i := range n {
		if a := d.Source[(first+i)%n]; a.Is4() == to.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// Target is a backend as the sessions see it: where it is, and what they made of
// it. The zero value has no address.
type Target struct {
	Name  string
	Unix  string // path of its socket; then it has no other address
	Check string // what whoever runs the probes calls its own

	addrs atomic.Pointer[[]netip.AddrPort]
	good  atomic.Uint32 // index of the address that answered last

	Sessions     atomic.Uint64            // connected since the start
	Dials        atomic.Uint64            // attempts
	DialFailures [NumCauses]atomic.Uint64 // attempts that were the backend's fault, by Cause
	ConnectTime  atomic.Int64             // nanoseconds that successful attempts took together

	splice.Counters // bytes of all sessions, of live ones as of the last Settle

	// Of ended sessions whose path was looked at; see splice.Path.
	PathsSeen   atomic.Uint64
	RTT         atomic.Int64 // nanoseconds together
	Retransmits atomic.Uint64

	// Counted by whoever runs the probes.
	Probes        [healthcheck.NumVerdicts]atomic.Uint64 // by healthcheck.Verdict
	HealthChanges atomic.Uint64

	Streaks standing.Streaks

	rate    limit.Bucket // of Dialing.Limit
	failing atomic.Bool  // the last attempt failed: tell people once
}

// Absorb adds to t what from has counted, whose sessions have ended.
func (t *Target) Absorb(from *Target) {
	t.Sessions.Add(from.Sessions.Load())
	t.Dials.Add(from.Dials.Load())
	t.ConnectTime.Add(from.ConnectTime.Load())
	t.Up.Add(from.Up.Load())
	t.Down.Add(from.Down.Load())
	t.HealthChanges.Add(from.HealthChanges.Load())
	t.PathsSeen.Add(from.PathsSeen.Load())
	t.RTT.Add(from.RTT.Load())
	t.Retransmits.Add(from.Retransmits.Load())
	for i := range t.DialFailures {
		t.DialFailures[i].Add(from.DialFailures[i].Load())
	}
	for i := range t.Probes {
		t.Probes[i].Add(from.Probes[i].Load())
	}
}

// SetAddrs replaces the addresses of the backend, in the order in which they are
// tried; a host name may have several.
func (t *Target) SetAddrs(addrs []netip.AddrPort) {
	t.addrs.Store(&addrs)
}

// Addrs are the addresses of a backend that is not a unix socket, none as long as
// its name was never resolved. They must not be changed.
func (t *Target) Addrs() []netip.AddrPort {
	if a := t.addrs.Load(); a != nil {
		return *a
	}
	return nil
}

// address is the one to try when so many others have failed: first the one that
// answered last. It is zero for a unix socket, and while the name is not resolved.
func (t *Target) address(failed int) netip.AddrPort {
	addrs := t.Addrs()
	if len(addrs) == 0 {
		return netip.AddrPort{}
	}
	return addrs[(int(t.good.Load())+failed)%len(addrs)]
}

// written is one of the addresses of t as logs and the API have it, "" for none.
func (t *Target) written(addr netip.AddrPort) string {
	switch {
	case t.Unix != "":
		return "unix:" + t.Unix
	case !addr.IsValid():
		return ""
	}
	return addr.String()
}
