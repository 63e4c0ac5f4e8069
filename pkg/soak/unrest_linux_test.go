package soak

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/splice"
)

// unrest is what happens to the server and its backends under traffic, each as often
// as it stands here.
var unrest = []func(*soak, *rand.Rand) error{
	(*soak).stopSome, (*soak).stopSome, (*soak).startSome, (*soak).startSome, (*soak).startSome,
	(*soak).reload, (*soak).reload, (*soak).changeMode, (*soak).changeMode, (*soak).changeMode,
	(*soak).resetOverrides, (*soak).kill, (*soak).collect,
}

// disturb does one thing of unrest after another, as drawn from r, until stop is
// closed, and then puts everything right again.
func (s *soak) disturb(r *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			if err := s.calm(); err != nil {
				s.ledger.failf("calm down: %v", err)
			}
			return
		case <-time.After(time.Duration(20+r.IntN(100)) * time.Millisecond):
			if err := unrest[r.IntN(len(unrest))](s, r); err != nil {
				s.ledger.failf("unrest: %v", err)
			}
		}
	}
}

// calm starts what is stopped, and goes back to the base.
func (s *soak) calm() error {
	for _, b := range s.ledger.backends {
		if err := s.restart(b); err != nil {
			return err
		}
	}
	if err := s.server.ResetOverrides(s.t.Context()); err != nil {
		return err
	}
	return s.apply(base)
}

// apply reloads. A backend counts as removed for a little longer than it is.
func (s *soak) apply(u setup) error {
	c, err := s.config(u)
	if err != nil {
		return err
	}
	for _, name := range steadyBackends {
		if _, stays := u.weights[name]; !stays {
			s.ledger.backends[name].removed.turn(true)
		}
	}
	if _, err = s.server.Apply(s.t.Context(), c); err != nil {
		return err
	}
	for name := range u.weights {
		s.ledger.backends[name].removed.turn(false)
	}
	return nil
}

func (s *soak) reload(r *rand.Rand) error { return s.apply(drawSetup(r)) }

// drawOther draws a pool and a backend that may be disturbed.
func drawOther(r *rand.Rand) (pool, name string) {
	if r.IntN(2) == 0 {
		return shaky, shakyBackends[r.IntN(len(shakyBackends))]
	}
	return steady, steadyBackends[1+r.IntN(len(steadyBackends)-1)]
}

func (s *soak) stopSome(r *rand.Rand) error {
	_, name := drawOther(r)
	s.ledger.backends[name].stop(r.IntN(2) == 0)
	return nil
}

func (s *soak) startSome(r *rand.Rand) error {
	_, name := drawOther(r)
	return s.restart(s.ledger.backends[name])
}

// restart starts a backend; another process may use its port for a moment.
func (s *soak) restart(b *backend) (err error) {
	within(func() bool { err = b.start(); return err == nil })
	return err
}

// changeMode drains a backend, takes it out, or brings it back, or changes its
// weight or limit. It may be one that a reload has removed.
func (s *soak) changeMode(r *rand.Rand) error {
	pool, name := drawOther(r)
	set := server.Settings{}
	switch r.IntN(4) {
	case 0:
		set.Weight = new(r.IntN(5))
	case 1:
		set.MaxConnections = new(r.IntN(4))
	default:
		set.Mode = new([]balancer.Mode{balancer.Ready, balancer.Drain, balancer.Maintenance}[r.IntN(3)])
	}
	if err := s.server.SetBackend(s.t.Context(), pool, name, set); !errors.Is(err, server.ErrUnknown) {
		return err
	}
	return nil
}

func (s *soak) resetOverrides(*rand.Rand) error { return s.server.ResetOverrides(s.t.Context()) }

// kill cuts the sessions of any backend, rock too.
func (s *soak) kill(r *rand.Rand) error {
	pool, name := drawOther(r)
	if r.IntN(3) == 0 {
		pool, name = []string{steady, late}[r.IntN(2)], rock
	}
	n, err := s.server.KillBackend(pool, name)
	s.ledger.tell(splice.ReasonKilled, n)
	if !errors.Is(err, server.ErrUnknown) {
		return err
	}
	return nil
}

func (s *soak) collect(*rand.Rand) error {
	runtime.GC()
	return nil
}
