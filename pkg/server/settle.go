package server

import "context"

// OnBound has Run call f once every listener is bound, before Started: the moment to
// give privileges up. Its error ends Run. It is called before Run, at most once.
func (s *Server) OnBound(f func() error) { s.onBound = f }

// settle is the last step of a start.
func (s *Server) settle() error {
	s.disown()
	if s.onBound == nil {
		return nil
	}
	return s.onBound()
}

// Alive returns nil once every loop of the engine has gone round, so that none is
// stuck, or else the error with which ctx ended. It asks no sooner than Started.
func (s *Server) Alive(ctx context.Context) error {
	select {
	case <-s.started:
		return s.engine.Alive(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Brief is the least that tells how the server is.
type Brief struct {
	Sessions int // that live now
	Usable   int // backends that get new ones
	Backends int // all of them
}

// Brief costs little more than reading some counters.
func (s *Server) Brief() Brief {
	b := Brief{Sessions: s.gate.Used()}
	for _, p := range s.state.Load().pools {
		b.Usable += p.balancer.Usable()
		b.Backends += len(p.cfg.Backends)
	}
	return b
}
