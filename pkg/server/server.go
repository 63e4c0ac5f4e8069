package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/splice"
	"github.com/rs/zerolog"
)

// ErrClosed is Run's answer when it was asked to stop.
var ErrClosed = errors.New("server: closed")

// Server runs one configuration.
type Server struct {
	cfg    *config.Config
	log    zerolog.Logger
	budget budget

	engine  splice.Engine
	gate    splice.Gate // sessions of all listeners
	monitor *healthcheck.Monitor
	names   *resolver

	pools     []*pool     // in the order of the configuration
	listeners []*listener // likewise

	background sync.WaitGroup // monitor and resolver
	cancel     context.CancelFunc

	started  chan struct{} // closed when every listener accepts
	stopping atomic.Bool
	stop     chan struct{} // closed when Shutdown is done
	stopOnce sync.Once
}

// New prepares a server for a valid configuration, which must not be changed
// afterwards. Nothing runs or listens before Run. log must not block.
func New(cfg *config.Config, log zerolog.Logger) (*Server, error) {
	b, err := newBudget(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: log, budget: b,
		monitor: healthcheck.NewMonitor(healthcheck.Options{Concurrency: b.probes}),
		names:   newResolver(log),
		started: make(chan struct{}),
		stop:    make(chan struct{}),
	}
	s.gate.SetLimit(b.sessions)
	return s, nil
}

// Run starts everything and returns when Shutdown has taken it down again, with
// ErrClosed, or at once with the error that kept it from starting. When ctx ends
// it stops without waiting for sessions. It may be called once.
//
// It starts from the inside out: no client is accepted before there is a pool, and
// no pool without its addresses.
func (s *Server) Run(ctx context.Context) error {
	background, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	defer s.background.Wait()
	defer cancel()

	engine, err := splice.New(splice.Options{
		Type: s.cfg.Engine.Type, Threads: s.cfg.Engine.Threads, MaxPipes: s.budget.pipes,
		OnAcceptPause: s.acceptPaused,
	})
	if err != nil {
		return err
	}
	s.engine = engine
	if err := s.build(background); err != nil {
		s.abort()
		return err
	}
	s.background.Go(func() { s.monitor.Run(background) })
	s.background.Go(func() { s.names.run(background) })
	if err := s.listen(background); err != nil {
		s.abort()
		return err
	}
	s.announce()
	close(s.started)
	select {
	case <-s.stop:
	case <-ctx.Done():
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		s.shutdown(gone, 0)
	}
	return ErrClosed
}

// Started is closed when every listener accepts clients.
func (s *Server) Started() <-chan struct{} { return s.started }

// Shutdown stops the server: it is unready for [shutdown] delay, stops accepting,
// lets sessions end for drain_timeout, cuts what is left, and waits for every
// goroutine. When ctx ends, both waits do. The error tells that sessions were cut.
func (s *Server) Shutdown(ctx context.Context) error {
	<-s.started
	s.stopping.Store(true)
	select {
	case <-time.After(s.cfg.Shutdown.Delay):
	case <-ctx.Done():
	}
	return s.shutdown(ctx, s.cfg.Shutdown.DrainTimeout)
}

func (s *Server) shutdown(ctx context.Context, drain time.Duration) error {
	err := error(ErrClosed)
	s.stopOnce.Do(func() {
		defer close(s.stop)
		s.stopping.Store(true)
		s.log.Info().Int("sessions", s.gate.Used()).Dur("drain_timeout", drain).Msg("stopping")
		ctx, cancel := context.WithTimeout(ctx, drain)
		defer cancel()
		// Probes go on while sessions drain: their retries still need to know who is up.
		err = s.engine.Shutdown(ctx)
		s.cancel()
		s.background.Wait()
		s.log.Info().Bool("cut", err != nil).Msg("stopped")
	})
	return err
}

// abort takes down what a failed start has built.
func (s *Server) abort() {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	s.engine.Shutdown(gone)
	s.cancel()
}

func (s *Server) acceptPaused(err error) {
	s.log.Warn().Err(err).Int("sessions", s.gate.Used()).Msg("accepting paused")
}

// announce says what listens where, and within which limits.
func (s *Server) announce() {
	for _, l := range s.listeners {
		for _, b := range l.bound {
			s.log.Info().Str("listener", l.front.Name).Str("address", b.address()).Str("pool", l.cfg.Pool).Msg("listening")
		}
	}
	s.log.Info().Str("engine", s.engineType()).Int("loops", len(s.engine.Stats())).
		Uint64("open_files", s.budget.files).Int("max_connections", s.budget.sessions).Msg("started")
	s.budget.warn(s.cfg, s.log)
}

func (s *Server) engineType() string {
	if t := s.cfg.Engine.Type; t != splice.TypeAuto && t != "" {
		return t
	}
	return splice.Auto
}

// bound is one address of a listener.
type bound struct {
	splice.Listener
	unix string
}

func (b bound) address() string {
	if b.unix != "" {
		return "unix:" + b.unix
	}
	return b.Addr().String()
}

// Addr is the address that a listener is bound to: the first one that it has, with
// the port that the system chose if the configuration left it open. It is the zero
// value for an unknown listener or a unix socket.
func (s *Server) Addr(listener string) netip.AddrPort {
	for _, l := range s.listeners {
		if l.front.Name == listener && len(l.bound) > 0 {
			return l.bound[0].Addr()
		}
	}
	return netip.AddrPort{}
}

func listenError(name string, err error) error { return fmt.Errorf("listener %s: %w", name, err) }
