package server

import (
	"reflect"
	"slices"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/proxy"
	"github.com/limeload/limeload/splice"
)

// state is what runs, as of one configuration. It is not changed: Apply builds the
// next one and swaps it in. What lives longer than a configuration (a pool's
// balancer, a listener's counters and sockets) is shared by pointer from one state
// to the next.
type state struct {
	cfg       *config.Config
	pools     []*pool     // in the order of the configuration
	listeners []*listener // likewise
}

// pool is a configured pool, running. One of which nothing changed is shared by
// states.
type pool struct {
	cfg      *config.Pool // its own, so that it does not keep a whole configuration alive
	balancer *balancer.Pool
	front    *proxy.Pool
	keeper   *keeper
	door     *door
	probers  map[identity]healthcheck.Prober

	// What Apply compares to see whether there is anything to do; with applying held.
	personal []personal
	probes   []string // IDs in the monitor
}

// listener is a configured listener, running.
type listener struct {
	cfg    *config.Listener
	front  *proxy.Listener
	bound  []bound
	access *accessList // nil: none; replaced when its files change
}

// bound is one socket address of a listener. A configured address that is a host
// name may have become several.
type bound struct {
	splice.Listener
	from config.Address
	unix string
}

func (b bound) address() string {
	if b.unix != "" {
		return "unix:" + b.unix
	}
	return b.Addr().String()
}

func (st *state) pool(name string) *pool {
	for _, p := range st.pools {
		if p.cfg.Name == name {
			return p
		}
	}
	return nil
}

func (st *state) listener(name string) *listener {
	for _, l := range st.listeners {
		if l.cfg.Name == name {
			return l
		}
	}
	return nil
}

func (st *state) poolIndex() map[string]*pool {
	index := make(map[string]*pool, len(st.pools))
	for _, p := range st.pools {
		index[p.cfg.Name] = p
	}
	return index
}

func (st *state) listenerIndex() map[string]*listener {
	index := make(map[string]*listener, len(st.listeners))
	for _, l := range st.listeners {
		index[l.cfg.Name] = l
	}
	return index
}

// is reports whether p is what c and the overrides ask for; p may be nil.
func (p *pool) is(c *config.Pool, by []personal) bool {
	return p != nil && slices.Equal(p.personal, by) && reflect.DeepEqual(p.cfg, c)
}

// targets finds the target of a backend that stays: one of the same name and
// address. p may be nil.
func (p *pool) targets() map[identity]*proxy.Target {
	targets := map[identity]*proxy.Target{}
	if p != nil {
		for _, row := range p.balancer.Backends() {
			targets[identity{row.Name, row.Address}] = row.Value.(*proxy.Target)
		}
	}
	return targets
}

// identity is what makes a backend the same one in another configuration.
type identity struct{ name, address string }
