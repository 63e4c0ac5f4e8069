package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/standing"
	"github.com/limeload/limeload/splice"
	"github.com/rs/zerolog"
)

var errRefused = os.NewSyscallError("connect", syscall.ECONNREFUSED)

// rig is a listener in front of a pool of fixed addresses, with its log.
type rig struct {
	*Listener
	pool *balancer.Pool
	log  bytes.Buffer
}

func newRig(t *testing.T, d Dialing, targets ...*Target) *rig {
	t.Helper()
	var specs []balancer.Spec
	for _, target := range targets {
		specs = append(specs, balancer.Spec{Name: target.Name, Address: target.Name, Weight: 1, Value: target})
	}
	b, err := balancer.New(balancer.Options{Algorithms: []string{"first"}}, specs)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{pool: b}
	r.Listener = NewListener("front", zerolog.New(&r.log), Conf{Pool: NewPool("pool", b, d), Access: true})
	t.Cleanup(func() {
		for _, row := range b.Backends() {
			if row.Active != 0 {
				t.Errorf("backend %s has %d active sessions at the end; want 0", row.Name, row.Active)
			}
		}
	})
	return r
}

func target(name string, addrs ...string) *Target {
	t := &Target{Name: name}
	var parsed []netip.AddrPort
	for _, a := range addrs {
		parsed = append(parsed, netip.MustParseAddrPort(a))
	}
	t.SetAddrs(parsed)
	return t
}

// failures are those that a target is blamed for.
func failures(t *Target) (n uint64) {
	for i := range t.DialFailures {
		n += t.DialFailures[i].Load()
	}
	return n
}

func (r *rig) open(t *testing.T) splice.Session {
	t.Helper()
	s, err := r.Open(splice.Peer{Remote: netip.MustParseAddrPort("192.0.2.7:1234")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lines are the log's, as maps.
func (r *rig) lines(t *testing.T) (all []map[string]any) {
	t.Helper()
	for d := json.NewDecoder(&r.log); d.More(); {
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// dialled drives Dial like an engine whose every connect fails with err, and lists
// the addresses; waits shows as "wait".
func dialled(s splice.Session, err error) (addrs []string, last error) {
	for {
		ep, e := s.Dial(last)
		if w, ok := e.(splice.Wait); ok {
			addrs, last = append(addrs, "wait"), w
			continue
		}
		if e != nil {
			return addrs, e
		}
		addrs, last = append(addrs, ep.Addr.String()), err
	}
}

func TestDial(t *testing.T) {
	const a, b, b2 = "10.0.0.1:5432", "10.0.0.2:5432", "[2001:db8::2]:5432"
	tests := []struct {
		name     string
		attempts int
		targets  []*Target
		want     []string
	}{
		{"each backend once", 2, []*Target{target("a", a), target("b", b)}, []string{a, b}},
		{"the same again after a pause", 3, []*Target{target("a", a), target("b", b)}, []string{a, b, "wait", a}},
		{"every address of a backend is one attempt", 2, []*Target{target("b", b, b2), target("a", a)}, []string{b, b2, a}},
		{"an unresolved backend is passed over", 3, []*Target{target("a"), target("b", b)}, []string{b, "wait"}},
		{"one attempt", 1, []*Target{target("a", a), target("b", b)}, []string{a}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, Dialing{Attempts: test.attempts}, test.targets...)
			s := r.open(t)
			got, err := dialled(s, errRefused)
			if !equal(got, test.want) {
				t.Errorf("dialled %v; want %v", got, test.want)
			}
			s.Close(splice.Result{Reason: splice.ReasonConnectFailed, Err: err})
			if n := r.Ended[splice.ReasonConnectFailed].Load(); n != 1 {
				t.Errorf("sessions that ended connect-failed: %d; want 1", n)
			}
		})
	}
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestNoBackend(t *testing.T) {
	r := newRig(t, Dialing{Attempts: 3}, target("a", "10.0.0.1:1"))
	for _, row := range r.pool.Backends() {
		r.pool.SetHealth(row.Backend, balancer.Down)
	}
	s := r.open(t)
	_, err := s.Dial(nil)
	if !errors.Is(err, balancer.ErrNoBackend) {
		t.Fatalf("Dial: %v; want %v", err, balancer.ErrNoBackend)
	}
	s.Close(splice.Result{Reason: splice.ReasonConnectFailed, Err: err})
	if got := r.lines(t)[0]["reason"]; got != "no-backend" {
		t.Errorf("reason %v; want no-backend", got)
	}
}

// A failure of this machine is not the backend's.
func TestLocalErrorIsNotBlamed(t *testing.T) {
	a := target("a", "10.0.0.1:1")
	r := newRig(t, Dialing{Attempts: 1}, a)
	s := r.open(t)
	_, err := dialled(s, os.NewSyscallError("connect", syscall.EADDRNOTAVAIL))
	s.Close(splice.Result{Reason: splice.ReasonConnectFailed, Err: err})
	if n := failures(a); n != 0 {
		t.Errorf("failures counted against the backend: %d; want 0", n)
	}
}

// People hear of the first failure in a row, and again after a success.
func TestConnectFailedIsToldOnce(t *testing.T) {
	a := target("a", "10.0.0.1:1")
	r := newRig(t, Dialing{Attempts: 4}, a)
	fail := func() {
		s := r.open(t)
		_, err := dialled(s, errRefused)
		s.Close(splice.Result{Reason: splice.ReasonConnectFailed, Err: err})
	}
	told := func() (n int) {
		for _, line := range r.lines(t) {
			if line["level"] == "warn" {
				n++
			}
		}
		return n
	}
	fail()
	fail()
	if n := told(); n != 1 {
		t.Errorf("told %d times of failures in a row; want 1", n)
	}
	if n := a.DialFailures[CauseRefused].Load(); n != 8 {
		t.Errorf("failures counted: %d; want 8", n)
	}
	s := r.open(t)
	s.Dial(nil)
	s.(splice.Connected).Connected(time.Millisecond)
	s.Close(splice.Result{Reason: splice.ReasonClientClosed})
	fail()
	if n := told(); n != 1 {
		t.Errorf("told %d times after a success; want 1", n)
	}
}

// A name that is resolved in the very moment in which an attempt on it fails is dialled.
func TestResolvedMeanwhile(t *testing.T) {
	a, b := target("a"), target("b", "10.0.0.2:1")
	r := newRig(t, Dialing{Attempts: 3}, a, b)
	p := r.Conf().Pool
	p.SetLimits(standing.Limits{Failures: 1})
	p.OnHeard(func(Heard) {
		a.SetAddrs([]netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.1:2")})
	})
	s := r.open(t)
	ep, err := s.Dial(nil)
	if got := ep.Addr.String(); err != nil || got != "10.0.0.1:2" {
		t.Errorf("dialled %s, %v; want 10.0.0.1:2", got, err)
	}
	s.Close(splice.Result{Reason: splice.ReasonClientReset})
}

// The address that answered last is the first one of the next session.
func TestGoodAddressFirst(t *testing.T) {
	r := newRig(t, Dialing{Attempts: 1}, target("a", "10.0.0.1:1", "10.0.0.2:1"))
	s := r.open(t)
	s.Dial(nil)
	s.Dial(errRefused)
	s.(splice.Connected).Connected(time.Millisecond)
	s.Close(splice.Result{Reason: splice.ReasonClientClosed})
	s = r.open(t)
	ep, _ := s.Dial(nil)
	if got := ep.Addr.String(); got != "10.0.0.2:1" {
		t.Errorf("dialled %s; want 10.0.0.2:1, which answered last", got)
	}
	s.Close(splice.Result{Reason: splice.ReasonClientReset})
}

func TestSourceOfTheRightFamily(t *testing.T) {
	sources := []netip.Addr{netip.MustParseAddr("10.0.0.8"), netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("2001:db8::9")}
	p := NewPool("p", nil, Dialing{Source: sources})
	seen := map[string]int{}
	for range 60 {
		seen[p.source(p.dialing.Load(), netip.MustParseAddr("10.1.1.1")).String()]++
	}
	if seen["10.0.0.8"] == 0 || seen["10.0.0.9"] == 0 || len(seen) != 2 {
		t.Errorf("sources for an IPv4 backend: %v; want both IPv4 ones", seen)
	}
	if got := p.source(p.dialing.Load(), netip.MustParseAddr("2001:db8::1")); got != sources[2] {
		t.Errorf("source for an IPv6 backend: %v; want %v", got, sources[2])
	}
}

func TestSessionLine(t *testing.T) {
	r := newRig(t, Dialing{Attempts: 2}, target("a", "10.0.0.1:5432"), target("b", "10.0.0.2:5432"))
	s := r.open(t)
	s.Dial(nil)
	s.Dial(errRefused)
	s.(splice.Connected).Connected(1500 * time.Millisecond)
	s.Close(splice.Result{Reason: splice.ReasonBackendReset, Err: syscall.ECONNRESET, Up: 10, Down: 20, Duration: 2 * time.Second})
	lines := r.lines(t)
	line := lines[len(lines)-1]
	for field, want := range map[string]any{
		"level": "info", "message": "session", "listener": "front", "pool": "pool", "backend": "b",
		"client": "192.0.2.7", "client_port": 1234.0, "backend_address": "10.0.0.2:5432", "duration": 2.0,
		"connect_time": 1.5, "attempts": 2.0, "bytes_up": 10.0, "bytes_down": 20.0, "reason": "backend-reset",
		"error": "connection reset by peer",
	} {
		if line[field] != want {
			t.Errorf("%s = %v; want %v", field, line[field], want)
		}
	}
}

// A session that the engine gave back is used for the next client, with nothing of
// the last one in it.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	r := newRig(t, Dialing{Attempts: 1}, target("a", "10.0.0.1:1"))
	conf := *r.Conf()
	conf.Access = false
	r.Configure(conf)
	peer := splice.Peer{Remote: netip.MustParseAddrPort("192.0.2.7:1")}
	allocs := testing.AllocsPerRun(1000, func() {
		s, _ := r.Open(peer)
		s.Dial(nil)
		s.(splice.Connected).Connected(0)
		s.Close(splice.Result{Reason: splice.ReasonClientClosed})
	})
	if allocs > 0 {
		t.Errorf("%v allocations for a session; want 0", allocs)
	}
}
