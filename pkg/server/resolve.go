package server

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/limeload/limeload/pkg/proxy"
	"github.com/rs/zerolog"
)

const (
	resolveEvery   = 10 * time.Second
	resolveTimeout = 5 * time.Second
	// firstResolve bounds how long a start waits for names: a name server that does
	// not answer must not keep the other backends from their clients.
	firstResolve = 2 * time.Second

	// maxLookups is how many names are looked up side by side: each takes two
	// descriptors, of which thousands of names would leave none.
	maxLookups = 32
)

// resolver keeps the addresses of host names: each is looked up at the start and
// then again and again. A name that once resolved keeps its last good addresses
// through later errors.
type resolver struct {
	log zerolog.Logger
	dns net.Resolver

	mu    sync.Mutex
	names map[*proxy.Target]*hostname
}

// hostname is the address of one target.
type hostname struct {
	target *proxy.Target
	host   string
	port   uint16

	mu      sync.Mutex // held for a lookup
	asked   bool
	failing bool
}

func newResolver(log zerolog.Logger) *resolver {
	return &resolver{log: log, names: map[*proxy.Target]*hostname{}}
}

// add keeps the addresses of t, from now on, if it does not do so already.
func (r *resolver) add(t *proxy.Target, host string, port uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names[t] != nil {
		return
	}
	r.names[t] = &hostname{target: t, host: host, port: port}
}

// retain forgets the targets that are not in st.
func (r *resolver) retain(st *state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.names) == 0 {
		return
	}
	used := map[*proxy.Target]bool{}
	for _, p := range st.pools {
		for _, t := range p.targets() {
			used[t] = true
		}
	}
	maps.DeleteFunc(r.names, func(t *proxy.Target, _ *hostname) bool { return !used[t] })
}

// first looks the new names up, and returns when all have answered or firstResolve is
// over. Those that were not reached by then are looked up in the next turn.
func (r *resolver) first(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstResolve)
	defer cancel()
	r.refreshAll(ctx, func(n *hostname) bool { return !n.asked })
}

// run looks them up again until ctx ends.
func (r *resolver) run(ctx context.Context) {
	tick := time.NewTicker(resolveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.refreshAll(ctx, func(*hostname) bool { return true })
		case <-ctx.Done():
			return
		}
	}
}

// refreshAll looks up those that are due, maxLookups at a time, until ctx ends.
func (r *resolver) refreshAll(ctx context.Context, due func(*hostname) bool) {
	r.mu.Lock()
	names := slices.Collect(maps.Values(r.names))
	r.mu.Unlock()
	queue := make(chan *hostname)
	var workers sync.WaitGroup
	for range min(maxLookups, len(names)) {
		workers.Go(func() {
			for n := range queue {
				r.refreshIf(ctx, n, due)
			}
		})
	}
	for _, n := range names {
		queue <- n // a worker whose lookup takes too long gives it up
	}
	close(queue)
	workers.Wait()
}

func (r *resolver) refreshIf(ctx context.Context, n *hostname, due func(*hostname) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ctx.Err() == nil && due(n) {
		r.refresh(ctx, n)
	}
}

func (r *resolver) refresh(ctx context.Context, n *hostname) {
	n.asked = true
	last := n.target.Addrs()
	ips, err := r.lookup(ctx, n.host)
	if err != nil {
		if ctx.Err() != context.Canceled && !n.failing {
			n.failing = true
			r.log.Warn().Str("host", n.host).Int("kept", len(last)).Err(err).Msg("resolve failed")
		}
		return
	}
	if n.failing {
		n.failing = false
		r.log.Info().Str("host", n.host).Msg("resolved again")
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip, n.port)
	}
	if !slices.Equal(addrs, last) {
		if last != nil {
			r.log.Info().Str("host", n.host).Any("old", last).Any("new", addrs).Msg("addresses changed")
		}
		n.target.SetAddrs(addrs)
	}
}

// lookup answers the addresses of host in an order that does not change from one
// time to the next: name servers rotate theirs, which would look like news.
func (r *resolver) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	ips, err := r.dns.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for i := range ips {
		ips[i] = ips[i].Unmap()
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	return slices.Compact(ips), nil
}
