package server

import (
	"cmp"
	"fmt"
	"runtime"

	"github.com/limeload/limeload/pkg/config"
	"github.com/rs/zerolog"
)

// budget divides the descriptors that the process may open. A session takes two;
// what else needs some is put aside first, so that probes, the API and logs work
// while clients take all they can get.
type budget struct {
	files    uint64 // the limit; 0 = unknown
	sessions int    // at one time; 0 = no limit
	pipes    int    // for splice mode, two descriptors each; 0 = the engine's default
	probes   int    // at one time
	admin    int    // connections of the API
}

const (
	// ownFiles are standard streams, epoll instances, log files, and some to spare.
	ownFiles  = 24
	maxProbes = 256
	maxPipes  = 512
	maxAdmin  = 64
)

func newBudget(c *config.Config) (budget, error) {
	return divide(raiseFileLimit(), c)
}

// divide is pure: files is the limit on descriptors, 0 for none.
func divide(files uint64, c *config.Config) (budget, error) {
	if files == 0 {
		return budget{probes: cmp.Or(c.Health.Concurrency, maxProbes), admin: maxAdmin}, nil
	}
	n := int(min(files, 1<<30))
	loops := loops(c)
	sockets := 0
	for i := range c.Listeners {
		sockets += len(c.Listeners[i].Listen) * loops
	}
	b := budget{
		files:  files,
		pipes:  clamp(n/32, 1, maxPipes),
		probes: cmp.Or(c.Health.Concurrency, clamp(n/16, 2, maxProbes)),
		admin:  clamp(n/16, 4, maxAdmin),
	}
	reserve := ownFiles + 2*loops + sockets + b.probes*filesPerProbe(c) + lookupFiles(c) + b.admin + 2*b.pipes
	if b.sessions = (n - reserve) / 2; b.sessions < 1 {
		return b, fmt.Errorf("open files: the limit of %d leaves none for sessions; at least %d are needed (ulimit -n, LimitNOFILE)", files, reserve+2)
	}
	return b, nil
}

func clamp(n, low, high int) int { return min(max(n, low), high) }

// filesPerProbe is how many descriptors a probe takes: a socket, or what a command is
// started with (two pipes, of which one has both ends here for a moment, and standard
// input) and watched by.
func filesPerProbe(c *config.Config) int {
	for i := range c.Pools {
		for _, p := range c.Pools[i].Health.Probes() {
			if p.Type == config.HealthExec {
				return 6
			}
		}
	}
	return 1
}

// lookupFiles is how many descriptors the resolver takes: two for each name at one time,
// once in its turn and once for a reload.
func lookupFiles(c *config.Config) int {
	names := 0
	for i := range c.Pools {
		for _, b := range c.Pools[i].Backends {
			if b.Address.Network == config.TCP && !b.Address.IP().IsValid() {
				names++
			}
		}
	}
	return 2 * 2 * min(names, maxLookups)
}

// warn tells of limits in the configuration that cannot be reached.
func (b *budget) warn(c *config.Config, log zerolog.Logger) {
	if b.sessions == 0 {
		return
	}
	for i := range c.Listeners {
		if l := &c.Listeners[i]; l.MaxConnections > b.sessions {
			log.Warn().Str("listener", l.Name).Int("max_connections", l.MaxConnections).Int("fits", b.sessions).
				Uint64("open_files", b.files).Msg("max_connections exceeds what the limit on open files allows")
		}
	}
}

// AdminConnections is how many connections the API may have at one time.
func (s *Server) AdminConnections() int {
	s.applying.Lock()
	defer s.applying.Unlock()
	return s.budget.admin
}

// loops is how many the engine will have, an estimate from above for the goroutine
// engine.
func loops(c *config.Config) int {
	if c.Engine.Threads > 0 {
		return c.Engine.Threads
	}
	return runtime.GOMAXPROCS(0)
}
