package soak

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/splice"
	"github.com/limeload/limeload/splice/splicetest"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

var (
	duration = flag.Duration("soak.duration", 3*time.Second, "how long TestSoak makes traffic")
	seed     = flag.Uint64("soak.seed", 0, "what TestSoak draws from; 0 is a new one")
)

// patience is how long to wait for what has to happen. It is long because it only
// ever passes when something is broken.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	leaked := splicetest.WatchDescriptors()
	code := m.Run()
	if code == 0 {
		if err := errors.Join(goleak.Find(), leaked()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// TestSoak spends most of its time on the engine that most people run.
func TestSoak(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-soak.seed=%d repeats this: make soak SOAKSEED=%[1]d SOAKTIME=%v", *seed, *duration)
	t.Run(splice.TypeSplice, func(t *testing.T) { newSoak(t, splice.TypeSplice).run(*duration * 3 / 4) })
	t.Run(splice.TypeCopy, func(t *testing.T) { newSoak(t, splice.TypeCopy).run(*duration / 4) })
}

// soak is one server with all that is around it.
type soak struct {
	t       *testing.T
	engine  string
	ledger  *ledger
	journal *journal
	server  *server.Server
	silent  string // the address that never answers
	numbers atomic.Uint32
	began   time.Time
}

func newSoak(t *testing.T, engine string) *soak {
	s := &soak{t: t, engine: engine, ledger: newLedger(t, *seed), began: time.Now()}
	names := slices.Concat(steadyBackends, shakyBackends)
	for i, name := range names {
		newBackend(t, s.ledger, name, i)
	}
	s.silent = newSilent(t, len(names))
	return s
}

// run is the test: a warm-up, which tells what a server needs that has seen such
// traffic, and then the traffic that must not make it need more.
func (s *soak) run(d time.Duration) {
	stop := s.start()
	defer stop()
	rest := s.usage()
	s.traffic(0, d/5)
	s.settle(rest)
	warm := heap()
	s.traffic(1, d-d/5)
	s.settle(rest)
	if now := heap(); now > warm+warm/2+16<<20 {
		s.t.Errorf("-soak.seed=%d: the heap has %d kB, after the warm-up it had %d kB", s.ledger.seed, now>>10, warm>>10)
	}
	s.t.Log(s.report())
}

// start runs the server until stop is called.
func (s *soak) start() (stop func()) {
	s.t.Helper()
	c, err := s.config(base)
	if err != nil {
		s.t.Fatal(err)
	}
	s.journal = newJournal(s.ledger)
	s.server, err = server.New(c, zerolog.New(s.journal).Level(zerolog.InfoLevel))
	if err != nil {
		s.t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.server.Run(context.Background()) }()
	select {
	case <-s.server.Started():
	case err := <-ran:
		s.journal.close()
		s.t.Fatal(err)
	}
	return func() {
		if err := s.server.Shutdown(context.Background()); err != nil {
			s.t.Errorf("Shutdown of an idle server: %v", err)
		}
		if err := <-ran; !errors.Is(err, server.ErrClosed) {
			s.t.Errorf("Run answered %v; want ErrClosed", err)
		}
		s.journal.close()
	}
}

// traffic is the n'th stretch of traffic with unrest. It returns when every session
// that a client has begun has ended for the client.
func (s *soak) traffic(n uint64, d time.Duration) {
	targets := map[string]string{}
	for _, name := range []string{front, brief, rough, late} {
		targets[name] = s.server.Addr(name).String()
	}
	stop := make(chan struct{})
	random := rand.New(rand.NewPCG(s.ledger.seed, afterScripts+n))
	tr := &traffic{ledger: s.ledger, targets: targets, numbers: &s.numbers, stop: stop}
	var work sync.WaitGroup
	work.Go(tr.run)
	work.Go(func() { s.disturb(random, stop) })
	work.Go(func() { s.watch(stop) })
	s.wait(d)
	close(stop)
	work.Wait()
}

// afterScripts is the first of the seed's streams of random numbers that is no
// session's.
const afterScripts = 1 << 32

// wait lets the traffic go on for d, or until something fails, and says every ten
// seconds how it is.
func (s *soak) wait(d time.Duration) {
	end := time.After(d)
	progress := time.NewTicker(10 * time.Second)
	defer progress.Stop()
	for {
		select {
		case <-end:
			return
		case <-s.ledger.failed:
			return
		case <-progress.C:
			s.t.Log(s.report())
		}
	}
}

// report is one line about what has happened so far.
func (s *soak) report() string {
	var spliced uint64
	for _, loop := range s.server.Snapshot().Loops {
		spliced += loop.SpliceBytes
	}
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	var causes []string
	for _, cause := range slices.Sorted(maps.Keys(l.sums.causes)) {
		causes = append(causes, fmt.Sprintf("%s %d", cause, l.sums.causes[cause]))
	}
	return fmt.Sprintf("%v: %d sessions judged, %d not yet; %d MB whole, %d MB spliced; %s", time.Since(s.began).Round(time.Second),
		l.sums.sessions, len(l.open), l.sums.served>>20, spliced>>20, strings.Join(causes, ", "))
}
