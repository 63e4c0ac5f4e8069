package server

import (
	"context"
	"errors"
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

// resolver keeps the addresses of host names: each is looked up before its backend is
// used, see step, and then again and again. A name that once resolved keeps its last good
// addresses through later errors.
type resolver struct {
	log zerolog.Logger
	dns net.Resolver

	// asking is held for the lookups of one change: the descriptors that are put aside
	// for lookups are those of one.
	asking sync.Mutex

	mu    sync.Mutex // guards names and what they change
	names map[*proxy.Target]*hostname
}

// hostname is the address of one target.
type hostname struct {
	target  *proxy.Target
	host    string
	port    uint16
	fresh   bool // nobody has looked it up yet
	failing bool
}

// answers are what became of lookups, by host name.
type answers map[string]answer

// answer is what became of one lookup. One that has neither addresses nor an error was not
// made in time.
type answer struct {
	ips []netip.Addr
	err error
}

func (a answer) late() bool { return a.ips == nil && a.err == nil }

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
	r.names[t] = &hostname{target: t, host: host, port: port, fresh: true}
}

// settle gives those that were added the addresses that known has for them, and answers
// the hosts that it says nothing of.
func (r *resolver) settle(known answers) (missing []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.names {
		if !n.fresh {
			continue
		}
		a, ok := known[n.host]
		if !ok {
			missing = append(missing, n.host)
			continue
		}
		r.take(n, a)
	}
	return missing
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

// lookUp adds to known what becomes of hosts. Those that are to be listened on (true) it
// waits for, as nothing goes without them. Others have firstResolve, all together; what was
// not reached by then, the next turn looks up.
func (r *resolver) lookUp(ctx context.Context, hosts map[string]bool, known answers) {
	r.asking.Lock()
	defer r.asking.Unlock()
	soon, cancel := context.WithTimeout(ctx, firstResolve)
	defer cancel()
	var mu sync.Mutex // of known
	sideBySide(slices.Collect(maps.Keys(hosts)), func(host string) {
		var a answer
		switch {
		case hosts[host]:
			a = r.ask(ctx, host)
		case soon.Err() == nil:
			a = r.ask(soon, host)
		}
		mu.Lock()
		defer mu.Unlock()
		known[host] = a
	})
}

// run looks all names up again and again until ctx ends.
func (r *resolver) run(ctx context.Context) {
	tick := time.NewTicker(resolveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.refresh(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// refresh looks them up once, until ctx ends.
func (r *resolver) refresh(ctx context.Context) {
	r.mu.Lock()
	names := slices.Collect(maps.Values(r.names))
	r.mu.Unlock()
	sideBySide(names, func(n *hostname) {
		if ctx.Err() != nil {
			return
		}
		a := r.ask(ctx, n.host)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.take(n, a)
	})
}

// sideBySide does all of the work, maxLookups at a time.
func sideBySide[T any](work []T, do func(T)) {
	queue := make(chan T)
	var workers sync.WaitGroup
	for range min(maxLookups, len(work)) {
		workers.Go(func() {
			for one := range queue {
				do(one)
			}
		})
	}
	for _, one := range work {
		queue <- one // a worker whose lookup takes too long gives it up
	}
	close(queue)
	workers.Wait()
}

// take gives the target of n what became of a lookup. needs mu.
func (r *resolver) take(n *hostname, a answer) {
	n.fresh = false
	last := n.target.Addrs()
	switch {
	case a.late() || errors.Is(a.err, context.Canceled): // which says nothing of the name
		return
	case a.err != nil:
		if !n.failing {
			n.failing = true
			r.log.Warn().Str("host", n.host).Int("kept", len(last)).Err(a.err).Msg("resolve failed")
		}
		return
	case n.failing:
		n.failing = false
		r.log.Info().Str("host", n.host).Msg("resolved again")
	}
	addrs := make([]netip.AddrPort, len(a.ips))
	for i, ip := range a.ips {
		addrs[i] = netip.AddrPortFrom(ip, n.port)
	}
	if !slices.Equal(addrs, last) {
		if last != nil {
			r.log.Info().Str("host", n.host).Any("old", last).Any("new", addrs).Msg("addresses changed")
		}
		n.target.SetAddrs(addrs)
	}
}

// ask is lookup, with the error context.Canceled where it was not let finish.
func (r *resolver) ask(ctx context.Context, host string) answer {
	ips, err := r.lookup(ctx, host)
	if err != nil && ctx.Err() == context.Canceled {
		err = context.Canceled
	}
	return answer{ips, err}
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
