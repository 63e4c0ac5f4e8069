package proxy

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/splice"
)

// Pool is where a listener's sessions go.
type Pool struct {
	Name     string
	Balancer *balancer.Pool // every backend's Value is its *Target

	dialing atomic.Pointer[Dialing]
	turn    atomic.Uint32 // for Dialing.Source
	held    atomic.Int64  // clients that wait for Dialing.Limit

	// Counts that outlive the backends.
	Connect         Histogram // time that successful attempts took
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
	p := &Pool{Name: name, Balancer: b}
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
	Name string
	Unix string // path of its socket; then it has no other address

	addrs atomic.Pointer[[]netip.AddrPort]
	good  atomic.Uint32 // index of the address that answered last

	Sessions     atomic.Uint64            // connected since the start
	Dials        atomic.Uint64            // attempts
	DialFailures [NumCauses]atomic.Uint64 // attempts that were the backend's fault, by Cause
	ConnectTime  atomic.Int64             // nanoseconds that successful attempts took together

	splice.Counters // bytes of all sessions, of live ones as of the last Settle

	// Counted by whoever runs the probes.
	Probes        [healthcheck.NumVerdicts]atomic.Uint64 // by healthcheck.Verdict
	HealthChanges atomic.Uint64

	rate    limit.Bucket // of Dialing.Limit
	failing atomic.Bool  // the last attempt failed: tell people once
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
