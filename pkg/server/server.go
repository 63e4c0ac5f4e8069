package server

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/disk"
	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/splice"
	"github.com/rs/zerolog"
)

// ErrClosed is Run's answer when it was asked to stop.
var ErrClosed = errors.New("server: closed")

// Server runs one configuration.
type Server struct {
	start  *config.Config // what Run begins with
	log    zerolog.Logger
	budget budget

	inherited inherited
	reserved  []ours // places where the process listens beside the listeners
	onBound   func() error

	engine  splice.Engine
	gate    splice.Gate // sessions of all listeners
	monitor *healthcheck.Monitor
	names   *resolver
	disk    disk.Disk
	probers *Probers // of the configuration that runs; guarded by applying

	applying  sync.Mutex     // held for a change of configuration; guards these
	file      *config.Config // without overrides
	order     uint64         // when that was read: Reload.Order
	overrides *overrides
	saved     *overrides // as the state file has them; nil without one

	saving         sync.Mutex    // held while the state file is written; taken before applying
	saveFails      bool          // guarded by saving
	unsaved        chan struct{} // holds a token when the state file is to be written again
	saveAgainAfter time.Duration

	state   atomic.Pointer[state]
	leaving leaving
	events  eventLog
	history history
	lately  refusedLately
	numbers atomic.Uint32 // of listeners, given out for the IDs of sessions
	ear     *ear

	sources     atomic.Pointer[limit.Sources] // of all listeners; nil while no limit needs it
	ceiling     limit.Ceiling
	memory      memory // nil until there is a ceiling
	memoryLimit int64  // the runtime's, without ours

	watchMemory, tellRefusals, watchFiles func() // start what runs in the background, once

	background sync.WaitGroup // monitor, resolver, what was removed
	ctx        context.Context
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
		start: cfg, log: log, budget: b,
		monitor: healthcheck.NewMonitor(healthcheck.Options{Concurrency: b.probes}),
		names:   newResolver(log),
		leaving: leaving{more: make(chan struct{}, 1)},
		probers: NewProbers(),
		ear:     newEar(),
		started: make(chan struct{}),
		stop:    make(chan struct{}),
		unsaved: make(chan struct{}, 1), saveAgainAfter: saveAgainAfter,
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.events.startAt(time.Now())
	s.memoryLimit = currentMemoryLimit()
	s.watchMemory = s.onDemand(s.runMemoryWatch)
	s.tellRefusals = s.onDemand(s.runRefused)
	s.watchFiles = s.onDemand(s.watchLists)
	s.file, s.overrides = cfg, &overrides{}
	if err := s.recall(); err != nil {
		return nil, err
	}
	s.state.Store(&state{cfg: &config.Config{}})
	return s, nil
}

// onDemand answers what starts run in the background, the first time it is called.
func (s *Server) onDemand(run func(context.Context)) (start func()) {
	return sync.OnceFunc(func() { s.background.Go(func() { run(s.ctx) }) })
}

// Run starts everything and returns when Shutdown has taken it down again, with
// ErrClosed, or at once with the error that kept it from starting. When ctx ends
// it stops without waiting for sessions. It may be called once.
//
// It starts from the inside out: no client is accepted before there is a pool, and
// no pool without its addresses.
func (s *Server) Run(ctx context.Context) error {
	defer s.closeInherited()
	defer s.background.Wait()
	defer s.cancel()
	engine, err := splice.New(splice.Options{
		Type: s.start.Engine.Type, Threads: s.start.Engine.Threads, MaxPipes: s.budget.pipes,
		OnAcceptPause: s.acceptPaused,
	})
	if err != nil {
		return err
	}
	s.engine = engine
	s.background.Go(func() { s.monitor.Run(s.ctx) })
	s.background.Go(func() { s.names.run(s.ctx) })
	s.background.Go(s.recordHistory)
	s.background.Go(func() { s.seeOff(s.ctx) })
	s.background.Go(s.keep)
	s.background.Go(s.saveAgain)
	if err := s.begin(ctx); err != nil {
		s.abort()
		return err
	}
	select {
	case <-s.stop:
	case <-ctx.Done():
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		s.shutdown(gone, 0)
	}
	return ErrClosed
}

// begin applies the first configuration, and says what came of it: when it can be asked,
// since whoever reads that may ask, and before anything else can change.
func (s *Server) begin(ctx context.Context) error {
	err := s.step(ctx, func(k *known) error {
		err := s.adopt(s.state.Load(), plan{file: s.file, overrides: s.overrides, effective: s.overrides.over(s.file), known: k})
		if err == nil {
			err = s.settle()
		}
		return err
	})
	if err != nil {
		return err
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	close(s.started)
	s.announce()
	return nil
}

// Started is closed when every listener accepts clients.
func (s *Server) Started() <-chan struct{} { return s.started }

// Shutdown stops the server: it is unready for [shutdown] delay, stops accepting,
// lets sessions end for drain_timeout, cuts what is left, and waits for every
// goroutine. When ctx ends, both waits do. The error tells that sessions were cut.
func (s *Server) Shutdown(ctx context.Context) error {
	<-s.started
	s.applying.Lock() // a change that is being made is made first
	s.tellStopping()
	s.applying.Unlock()
	select {
	case <-time.After(s.shutdownConf().Delay):
	case <-ctx.Done():
	}
	return s.shutdown(ctx, s.shutdownConf().DrainTimeout)
}

func (s *Server) shutdownConf() *config.Shutdown { return &s.state.Load().cfg.Shutdown }

func (s *Server) shutdown(ctx context.Context, drain time.Duration) error {
	err := error(ErrClosed)
	s.stopOnce.Do(func() {
		defer close(s.stop)
		s.tellStopping()
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

// abort takes down what a failed start has built. That probes still tend doors of
// listeners which are gone is no news.
func (s *Server) abort() {
	s.stopping.Store(true)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	s.engine.Shutdown(gone)
	s.cancel()
}

func (s *Server) acceptPaused(err error) {
	s.log.Warn().Err(err).Int("sessions", s.gate.Used()).Msg("accepting paused")
}

// announce says within which limits it runs.
func (s *Server) announce() {
	b := s.budget
	s.publish(Event{Kind: EventLifetime, New: "started"})
	s.log.Info().Str("engine", s.engineType()).Int("loops", len(s.engine.Stats())).
		Uint64("open_files", b.files).Int("max_connections", s.gate.Limit()).Msg("started")
	b.warn(s.start, s.log)
}

func (s *Server) engineType() string {
	if t := s.start.Engine.Type; t != splice.TypeAuto && t != "" {
		return t
	}
	return splice.Auto
}

// Addr is the address that a listener is bound to: the first one that it has, with
// the port that the system chose if the configuration left it open. It is the zero
// value for an unknown listener or a unix socket.
func (s *Server) Addr(listener string) netip.AddrPort {
	if l := s.state.Load().listener(listener); l != nil && len(l.bound) > 0 {
		return l.bound[0].Addr()
	}
	return netip.AddrPort{}
}
