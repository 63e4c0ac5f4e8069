package server

import (
	"net/netip"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/splice"
)

// Snapshot is a copy of the server's state. Its counts were read one after another
// while sessions came and went.
type Snapshot struct {
	Stopping  bool
	Sessions  int // that live now, in all listeners
	Listeners []ListenerSnapshot
	Pools     []PoolSnapshot
	Loops     []splice.LoopStats
}

// ListenerSnapshot is one listener. Bytes are those of ended sessions.
type ListenerSnapshot struct {
	Name     string
	Pool     string
	Addrs    []netip.AddrPort // bound; the zero value for a unix socket
	Active   int
	Sessions uint64                    // since the start
	Ended    [splice.NumReasons]uint64 // by splice.Reason
	Up, Down uint64
	Retries  uint64
}

// PoolSnapshot is one pool.
type PoolSnapshot struct {
	Name     string
	Usable   int
	Backends []BackendSnapshot
}

// BackendSnapshot is one backend. Bytes are those of ended sessions.
type BackendSnapshot struct {
	balancer.State
	Check        healthcheck.Status // the zero value without probes
	Addrs        []netip.AddrPort
	Sessions     uint64 // connected since the start
	Dials        uint64
	DialFailures uint64
	Up, Down     uint64
}

// Snapshot copies the state out. It is empty before Started.
func (s *Server) Snapshot() Snapshot {
	select {
	case <-s.started:
	default:
		return Snapshot{}
	}
	snap := Snapshot{Stopping: s.stopping.Load(), Sessions: s.gate.Used(), Loops: s.engine.Stats()}
	st := s.state.Load()
	for _, l := range st.listeners {
		snap.Listeners = append(snap.Listeners, l.snapshot())
	}
	for _, p := range st.pools {
		snap.Pools = append(snap.Pools, s.poolSnapshot(p))
	}
	return snap
}

func (l *listener) snapshot() ListenerSnapshot {
	f := l.front
	snap := ListenerSnapshot{
		Name: f.Name, Pool: l.cfg.Pool, Active: f.Gate.Used(), Sessions: f.Sessions.Load(),
		Up: f.Up.Load(), Down: f.Down.Load(), Retries: f.Retries.Load(),
	}
	for _, b := range l.bound {
		snap.Addrs = append(snap.Addrs, b.Addr())
	}
	for i := range f.Ended {
		snap.Ended[i] = f.Ended[i].Load()
	}
	return snap
}

func (s *Server) poolSnapshot(p *pool) PoolSnapshot {
	snap := PoolSnapshot{Name: p.cfg.Name, Usable: p.balancer.Usable()}
	for _, row := range p.balancer.Backends() {
		t := row.Value.(*proxy.Target)
		b := BackendSnapshot{
			State: row, Addrs: t.Addrs(), Sessions: t.Sessions.Load(), Dials: t.Dials.Load(),
			DialFailures: t.DialFailures.Load(), Up: t.Up.Load(), Down: t.Down.Load(),
		}
		b.Check, _ = s.monitor.Status(checkID(p.cfg.Name, row.Backend))
		snap.Backends = append(snap.Backends, b)
	}
	return snap
}
