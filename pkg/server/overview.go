package server

import "github.com/limeload/limeload/balancer"

// Overview is what is told of a server without a look at any backend: it costs the same
// however many there are.
type Overview struct {
	Stopping  bool
	Engine    string // splice.TypeSplice or splice.TypeCopy
	Loops     int
	Sessions  int // that live now, in all listeners
	Limit     int // of Sessions, by the open files; 0 = none
	Listeners int // those that were removed and have sessions still are among them
	Pools     int // likewise
}

// Overview looks at the server as a whole. It is empty before Started.
func (s *Server) Overview() Overview {
	if !s.engineRuns() {
		return Overview{}
	}
	s.leaving.mu.Lock()
	defer s.leaving.mu.Unlock()
	st := s.state.Load()
	o := Overview{
		Stopping: s.stopping.Load(), Engine: s.engineType(), Loops: len(s.engine.Stats()),
		Sessions: s.gate.Used(), Limit: s.gate.Limit(), Listeners: len(st.listeners), Pools: len(st.pools),
	}
	for _, l := range s.leaving.listeners {
		if l.busy() {
			o.Listeners++
		}
	}
	for _, p := range s.leaving.pools {
		if p.busy() {
			o.Pools++
		}
	}
	return o
}

// Pool is the part of a Snapshot that tells of one pool; false if there is none of that
// name. One that was removed is told of while sessions of it live.
func (s *Server) Pool(name string) (snap PoolSnapshot, ok bool) {
	if !s.engineRuns() {
		return snap, false
	}
	s.leaving.mu.Lock()
	defer s.leaving.mu.Unlock()
	st := s.state.Load()
	for _, l := range s.allListeners(st) {
		if l.cfg.Pool == name {
			l.front.Settle()
		}
	}
	if p := st.pool(name); p != nil {
		s.snapshotPool(p, &snap, new([]balancer.State))
		return snap, true
	}
	if p := s.leaving.pool(name); p != nil {
		return s.leavingSnapshot(p)
	}
	return snap, false
}
