package soak

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
)

// The pools and their backends. Nothing but a kill ever happens to rock, and a
// session of steady has more attempts than there are backends: so it is served,
// whatever happens to the others.
const (
	steady = "steady"
	shaky  = "shaky"

	rock = "rock"
)

var (
	steadyBackends = []string{rock, "a", "b", "c"}
	shakyBackends  = []string{"x", "y"}
)

// dialTimeout is that of the pool with a backend that never answers.
const dialTimeout = 200 * time.Millisecond

// configuration has, in this order, to be told: the engine, the limit of front, the
// algorithm of steady, its attempts, and the backends of the three pools. A slow
// machine must not make rock look down, so steady is slow to believe that.
const configuration = `
admin    = { listen = "" }
engine   = { type = %q, threads = 2 }
shutdown = { drain_timeout = "300ms" }

[[listener]]
name            = "front"
listen          = ["127.0.0.1:0"]
pool            = "steady"
max_connections = %d
timeouts        = { half_close = "0s" }

[[listener]]
name     = "brief"
listen   = ["127.0.0.1:0"]
pool     = "steady"
timeouts = { idle = "150ms", half_close = "100ms", max_lifetime = "600ms" }

[[listener]]
name     = "rough"
listen   = ["127.0.0.1:0"]
pool     = "shaky"
timeouts = { half_close = "0s" }

[[listener]]
name     = "late"
listen   = ["127.0.0.1:0"]
pool     = "late"
timeouts = { half_close = "0s" }

[[pool]]
name      = "steady"
algorithm = %q
connect   = { attempts = %d, timeout = "60s" }
health    = { interval = "200ms", rise = 1, fall = 100 }
backend   = [%s]

[[pool]]
name    = "shaky"
connect = { attempts = 2 }
health  = { interval = "30ms", rise = 2, fall = 1 }
backend = [%s]

[[pool]]
name      = "late"
algorithm = "first"
connect   = { attempts = 2, timeout = %q }
health    = { type = "none" }
backend   = [%s]
`

// setup is what reloads vary.
type setup struct {
	algorithm string         // of steady
	weights   map[string]int // of its backends; one that is missing was removed
	limit     int            // sessions of front; 0 = none
}

// base is what a soak begins and ends with.
var base = setup{algorithm: "round-robin", weights: map[string]int{rock: 1, "a": 1, "b": 1, "c": 1}}

func drawSetup(r *rand.Rand) setup {
	algorithms := balancer.Algorithms()
	u := setup{algorithm: algorithms[r.IntN(len(algorithms))], weights: map[string]int{rock: 1 + r.IntN(3)}}
	for _, name := range steadyBackends[1:] {
		if r.IntN(4) > 0 {
			u.weights[name] = r.IntN(4)
		}
	}
	if r.IntN(4) == 0 {
		u.limit = clients / 4 // the others wait in the kernel's queue
	}
	return u
}

// config is the configuration of a setup.
func (s *soak) config(u setup) (*config.Config, error) {
	var ofSteady, ofShaky []string
	for _, name := range steadyBackends {
		if weight, ok := u.weights[name]; ok {
			ofSteady = append(ofSteady, s.row(name, weight))
		}
	}
	for _, name := range shakyBackends {
		ofShaky = append(ofShaky, s.row(name, 1))
	}
	ofLate := fmt.Sprintf("{ name = \"silent\", address = %q }, ", s.silent) + s.row(rock, 1)
	text := fmt.Appendf(nil, configuration, s.engine, u.limit, u.algorithm, 2*len(steadyBackends),
		strings.Join(ofSteady, ", "), strings.Join(ofShaky, ", "), dialTimeout, ofLate)
	c, err := config.Parse("soak.toml", text)
	if err == nil {
		err = c.Validate()
	}
	return c, err
}

func (s *soak) row(name string, weight int) string {
	return fmt.Sprintf("{ name = %q, address = %q, weight = %d }", name, s.ledger.backends[name].address, weight)
}
