package server

import (
	"net/netip"
	"slices"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/splice"
)

// Durations, Cause and their kin are pkg/proxy's, for those who read a Snapshot.
type (
	Durations = proxy.Durations
	Cause     = proxy.Cause
	Refusal   = proxy.Refusal
)

const (
	DurationBuckets = proxy.Buckets
	NumCauses       = proxy.NumCauses
	NumRefusals     = proxy.NumRefusals
)

// DurationBound is the upper bound of a bucket of Durations: 2 to the answer, in
// seconds.
func DurationBound(bucket int) (exponent int) { return proxy.Bound(bucket) }

// Snapshot is a copy of the server's state. Its counts were read one after another
// while sessions came and went. Counts of one thing never fall from one Snapshot to
// the next one. Bytes are those of live sessions too.
type Snapshot struct {
	Stopping  bool
	Engine    string // splice.TypeSplice or splice.TypeCopy
	Sessions  int    // that live now, in all listeners
	Limit     int    // of Sessions, by the open files; 0 = none
	Listeners []ListenerSnapshot
	Pools     []PoolSnapshot
	Loops     []splice.LoopStats
	Sources   limit.SourceStats // zero while no limit needs them

	rows []balancer.State // memory that SnapshotInto uses again
}

// ListenerSnapshot is one listener.
type ListenerSnapshot struct {
	Name     string
	Pool     string
	Addrs    []netip.AddrPort // bound; the zero value for a unix socket
	Shut     bool             // refuses clients, because its pool is down
	Removed  bool             // from the configuration; sessions of it still live
	Active   int
	Limit    int                       // max_connections; 0 = none of its own
	Sessions uint64                    // since the start
	Ended    [splice.NumReasons]uint64 // by splice.Reason
	Up, Down uint64
	Retries  uint64
	Duration Durations // of ended sessions

	Limited bool                // it has, or had, limits or an access list that the next four tell of
	Held    int                 // clients that wait for a limit of the listener now
	Refused [NumRefusals]uint64 // clients that were reset, by Refusal
	DryRun  [NumRefusals]uint64 // that would have been, but for a dry run
	Delayed [NumRefusals]uint64 // that were held, by the limit that they met first
	Lately  []Refused           // one client of each kind of Refused and DryRun, the latest that was told of
}

// PoolSnapshot is one pool. Its counts are those of the backends, removed ones too.
type PoolSnapshot struct {
	Name     string
	Removed  bool // from the configuration; sessions of it still live
	Usable   int
	Quorum   int               // of usable backends that make it ready; at least 1
	Split    string            // who claims to be the primary, if several do
	Refusing bool              // because of that, none of them is used
	Backends []BackendSnapshot // configured
	Leaving  []BackendSnapshot // removed; sessions of them still live
	Connect  Durations         // of successful attempts
	Paced    bool              // backends have a rate, or had one that clients are held for still
	Held     int               // clients that wait for a backend that is below its rate

	FirstByte Durations // of ended sessions: time to the backend's first byte

	Up, Down uint64
}

// BackendSnapshot is one backend.
type BackendSnapshot struct {
	balancer.State
	Removed      bool // one of PoolSnapshot.Leaving, of which State has only name, address and Active
	Ruling       Ruling
	Check        healthcheck.Status // the zero value without probes
	Addrs        []netip.AddrPort
	Sessions     uint64 // connected since the start
	Dials        uint64
	DialFailures uint64            // attempts that were the backend's fault
	DialFailedBy [NumCauses]uint64 // the same by Cause
	ConnectTime  time.Duration     // of all Sessions together
	Up, Down     uint64

	PathsSeen   uint64        // ended sessions whose path was looked at
	RTT         time.Duration // of these together
	Retransmits uint64        // likewise

	Probes        [healthcheck.NumVerdicts]uint64 // by healthcheck.Verdict
	HealthChanges uint64
}

// Config is the configuration that runs: the file's with the overrides over it. It must
// not be changed. It is empty before Started.
func (s *Server) Config() *config.Config { return s.state.Load().cfg }

// Snapshot copies the state out. It is empty before Started.
func (s *Server) Snapshot() Snapshot {
	var snap Snapshot
	s.SnapshotInto(&snap, nil)
	return snap
}

// SnapshotInto makes snap what Snapshot answers, in the memory that it has: who asks
// again and again makes no garbage. pause, unless it is nil, is called between pools,
// without a lock: who has thousands of backends may let others work then. Each pool is
// of one moment all the same, and if the configuration changes meanwhile, all is looked
// at again at once.
func (s *Server) SnapshotInto(snap *Snapshot, pause func()) {
	if !s.engineRuns() {
		*snap = Snapshot{}
		return
	}
	if s.snapshotInto(snap, pause) {
		return
	}
	s.snapshotInto(snap, nil)
}

// snapshotInto is SnapshotInto for one state; false if that has gone in a pause.
func (s *Server) snapshotInto(snap *Snapshot, pause func()) bool {
	s.leaving.mu.Lock()
	defer s.leaving.mu.Unlock()
	st := s.state.Load()
	s.overview(snap)
	for _, l := range s.allListeners(st) {
		l.front.Settle()
	}
	snap.Listeners = snap.Listeners[:0]
	for _, l := range st.listeners {
		one := l.snapshot()
		one.Lately = s.lately.of(l.front)
		snap.Listeners = append(snap.Listeners, one)
	}
	snap.Pools = sized(snap.Pools, len(st.pools))
	for i, p := range st.pools {
		if pause != nil && i > 0 {
			s.leaving.mu.Unlock()
			pause()
			s.leaving.mu.Lock()
			if s.state.Load() != st {
				return false
			}
		}
		s.snapshotPool(p, &snap.Pools[i], &snap.rows)
	}
	s.addLeaving(snap)
	return true
}

// overview fills in what is told of the process as a whole.
func (s *Server) overview(snap *Snapshot) {
	snap.Stopping, snap.Engine, snap.Loops = s.stopping.Load(), s.engineType(), s.engine.Stats()
	snap.Sessions, snap.Limit, snap.Sources = s.gate.Used(), s.gate.Limit(), limit.SourceStats{}
	if t := s.sources.Load(); t != nil {
		snap.Sources = t.Stats()
	}
}

// sized is a slice of n elements, in the memory of one that there was if they fit.
// Those are as they were.
func sized[T any](was []T, n int) []T {
	return slices.Grow(was[:0], n)[:n]
}

// allListeners are those of st and those that are leaving. needs leaving.mu.
func (s *Server) allListeners(st *state) []*listener {
	all := slices.Clone(st.listeners)
	for _, l := range s.leaving.listeners {
		all = append(all, l.listener)
	}
	return all
}

// addLeaving adds the listeners and pools that have sessions still. needs leaving.mu.
func (s *Server) addLeaving(snap *Snapshot) {
	for _, l := range s.leaving.listeners {
		if l.busy() {
			gone := l.snapshot()
			gone.Addrs, gone.Removed, gone.Lately = nil, true, s.lately.of(l.front)
			snap.Listeners = append(snap.Listeners, gone)
		}
	}
	for _, p := range s.leaving.pools {
		if gone, ok := s.leavingSnapshot(p.pool); ok {
			snap.Pools = append(snap.Pools, gone)
		}
	}
}

// leavingSnapshot is that of a pool that is leaving; false if it has no sessions. needs
// leaving.mu.
func (s *Server) leavingSnapshot(p *pool) (gone PoolSnapshot, ok bool) {
	s.snapshotPool(p, &gone, new([]balancer.State))
	for _, b := range gone.Backends {
		if b.Active > 0 {
			gone.Leaving = append(gone.Leaving, b.removed())
		}
	}
	gone.Backends, gone.Usable, gone.Removed = nil, 0, true
	return gone, len(gone.Leaving) > 0
}

// removed is b as one that is leaving.
func (b BackendSnapshot) removed() BackendSnapshot {
	b.Removed, b.Usable, b.Check = true, false, healthcheck.Status{}
	b.State = balancer.State{Spec: balancer.Spec{Name: b.Name, Address: b.Address}, Backend: b.Backend, Active: b.Active}
	return b
}

func (l *listener) snapshot() ListenerSnapshot {
	f := l.front
	snap := ListenerSnapshot{
		Name: f.Name, Pool: l.cfg.Pool, Shut: f.Shut.Load(),
		Active: f.Gate.Used(), Limit: f.Gate.Limit(), Sessions: f.Sessions.Load(),
		Up: f.Up.Load(), Down: f.Down.Load(), Retries: f.Retries.Load(), Duration: f.Duration.Load(),
	}
	for _, b := range l.bound {
		snap.Addrs = append(snap.Addrs, b.Addr())
	}
	for i := range f.Ended {
		snap.Ended[i] = f.Ended[i].Load()
	}
	snap.Held, snap.Limited = f.Held(), f.Conf().Admission != nil
	for i := range f.Refused {
		snap.Refused[i], snap.DryRun[i], snap.Delayed[i] = f.Refused[i].Load(), f.DryRun[i].Load(), f.Delayed[i].Load()
		snap.Limited = snap.Limited || snap.Refused[i]+snap.DryRun[i]+snap.Delayed[i] > 0
	}
	return snap
}

// snapshotPool makes snap that of p, in the memory that it has. rows is for use
// meanwhile. needs leaving.mu.
func (s *Server) snapshotPool(p *pool, snap *PoolSnapshot, rows *[]balancer.State) {
	*rows = p.balancer.AppendBackends((*rows)[:0])
	*snap = PoolSnapshot{
		Name: p.cfg.Name, Usable: p.balancer.Usable(), Backends: sized(snap.Backends, len(*rows)), Leaving: snap.Leaving[:0],
		Connect: p.front.Connect.Load(), FirstByte: p.front.FirstByte.Load(), Up: p.front.Up.Load(), Down: p.front.Down.Load(),
	}
	for i := range *rows {
		row := &(*rows)[i]
		b, t := &snap.Backends[i], row.Value.(*proxy.Target)
		*b = BackendSnapshot{State: *row, Addrs: t.Addrs()}
		b.count(t)
		b.Check, _ = s.monitor.Status(t.Check)
	}
	snap.Quorum, snap.Held = p.quorum(), p.front.Held()
	snap.Paced = p.front.Paced() || snap.Held > 0
	split := p.keeper.rulings(snap.Backends)
	snap.Split, snap.Refusing = split.String(), split.Refusing
	for _, b := range s.leaving.of(p.cfg.Name) {
		snap.leave(b)
	}
	snap.Leaving = slices.DeleteFunc(snap.Leaving, func(b BackendSnapshot) bool { return b.Active == 0 })
}

// leave adds a backend that is leaving: to the one that has its name by now, because
// a name is counted once; else by itself.
func (p *PoolSnapshot) leave(b *leavingBackend) {
	name, t := b.backend.Name(), b.target()
	same := func(row BackendSnapshot) bool { return row.Name == name }
	into := &BackendSnapshot{}
	if i := slices.IndexFunc(p.Backends, same); i >= 0 {
		into = &p.Backends[i]
	} else if i := slices.IndexFunc(p.Leaving, same); i >= 0 {
		into = &p.Leaving[i]
	} else {
		into.State = balancer.State{Spec: balancer.Spec{Name: name, Address: b.backend.Address()}, Backend: b.backend}
		into.Addrs = t.Addrs()
		p.Leaving = append(p.Leaving, into.removed())
		into = &p.Leaving[len(p.Leaving)-1]
	}
	into.Active += b.backend.Active()
	into.count(t)
}

// count adds what t has counted.
func (b *BackendSnapshot) count(t *proxy.Target) {
	b.Sessions += t.Sessions.Load()
	b.Dials += t.Dials.Load()
	for i := range t.DialFailures {
		n := t.DialFailures[i].Load()
		b.DialFailedBy[i] += n
		b.DialFailures += n
	}
	b.ConnectTime += time.Duration(t.ConnectTime.Load())
	b.Up += t.Up.Load()
	b.Down += t.Down.Load()
	b.PathsSeen += t.PathsSeen.Load()
	b.RTT += time.Duration(t.RTT.Load())
	b.Retransmits += t.Retransmits.Load()
	for i := range t.Probes {
		b.Probes[i] += t.Probes[i].Load()
	}
	b.HealthChanges += t.HealthChanges.Load()
}
