package server

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	resolveEvery   = 10 * time.Second
	resolveTimeout = 5 * time.Second
	// firstResolve bounds how long a start waits for names: a name server that does
	// not answer must not keep the other backends from their clients.
	firstResolve = 2 * time.Second
)

// resolver keeps the addresses of host names: each is looked up at the start and
// then again and again. A name that once resolved keeps its last good addresses
// through later errors.
type resolver struct {
	log zerolog.Logger
	dns net.Resolver

	mu    sync.Mutex
	names []*hostname
}

// hostname is one use of a name.
type hostname struct {
	host string
	port uint16
	set  func([]netip.AddrPort)

	last    []netip.AddrPort
	failing bool
}

func newResolver(log zerolog.Logger) *resolver { return &resolver{log: log} }

// add has set called with the addresses of host, whenever they change.
func (r *resolver) add(host string, port uint16, set func([]netip.AddrPort)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = append(r.names, &hostname{host: host, port: port, set: set})
}

// first looks every name up once, all at the same time, and returns when all have
// answered or firstResolve is over.
func (r *resolver) first(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstResolve)
	defer cancel()
	r.all(ctx)
}

// run looks them up again until ctx ends.
func (r *resolver) run(ctx context.Context) {
	tick := time.NewTicker(resolveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.all(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (r *resolver) all(ctx context.Context) {
	r.mu.Lock()
	names := slices.Clone(r.names)
	r.mu.Unlock()
	var wg sync.WaitGroup
	for _, n := range names {
		wg.Go(func() { r.refresh(ctx, n) })
	}
	wg.Wait()
}

func (r *resolver) refresh(ctx context.Context, n *hostname) {
	ips, err := r.lookup(ctx, n.host)
	if err != nil {
		if ctx.Err() != context.Canceled && !n.failing {
			n.failing = true
			r.log.Warn().Str("host", n.host).Int("kept", len(n.last)).Err(err).Msg("resolve failed")
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
	if !slices.Equal(addrs, n.last) {
		if n.last != nil {
			r.log.Info().Str("host", n.host).Any("old", n.last).Any("new", addrs).Msg("addresses changed")
		}
		n.last = addrs
		n.set(addrs)
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
