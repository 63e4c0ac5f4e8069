package config

import (
	"math/big"
	"net/netip"
	"slices"
)

// pools checks the pools, each by itself and by their names. A pool that no
// listener uses is none of its business.
func (v *validator) pools() {
	ps := v.c.Pools
	for i, p := range ps {
		v.pool(i, p)
	}
	v.unique(namesOf(ps, func(p Pool) string { return p.Name }), poolPath)
}

func (v *validator) pool(i int, p Pool) {
	path := poolPath(i)
	v.name(path+".name", p.Name)
	v.algorithm(path, p)
	v.ipHash(path, p)
	v.oneOf(path+".when_down", p.WhenDown, "value", WhenDowns())
	v.positive(path+".connect.timeout", p.Connect.Timeout)
	v.inRange(path+".connect.attempts", p.Connect.Attempts, 1, maxAttempts)
	v.health(path+".health", p.healthOfAll())
	v.states(path, p)
	v.poolLimits(path+".limits", p.Limits)
	v.sources(path+".source", p.Source)
	v.backends(i, p)
}

// algorithm checks the chain.
func (v *validator) algorithm(path string, p Pool) {
	if len(p.Algorithm) == 0 {
		v.wrong(path+".algorithm", "is empty; want at least one algorithm")
	}
	for i, name := range p.Algorithm {
		at := path + ".algorithm"
		if len(p.Algorithm) > 1 {
			at = index(at, i)
		}
		v.oneOf(at, name, "algorithm", Algorithms())
		if slices.Contains(p.Algorithm[:i], name) {
			v.wrong(at, "%q is in the chain already", name)
		}
	}
}

// ipHash checks the keys of ip-hash: that it is in the chain, and what they
// are worth. A chain with an unknown name may have meant it.
func (v *validator) ipHash(path string, p Pool) {
	if slices.Contains(p.Algorithm, algorithmIPHash) {
		v.hashSlots(path+".hash_slots", p)
		return
	}
	unknown := func(name string) bool { return !slices.Contains(Algorithms(), name) }
	if slices.ContainsFunc(p.Algorithm, unknown) {
		return
	}
	if p.HashKey != "" {
		v.wrong(path+".hash_key", "applies only to algorithm %q", algorithmIPHash)
	}
	if p.HashSlots != 0 {
		v.wrong(path+".hash_slots", "applies only to algorithm %q", algorithmIPHash)
	}
}

// hashSlots checks the size of the table: Maglev's permutations visit every
// slot only where it is a prime (NSDI 2016, section 3.4), and every backend
// needs a slot.
func (v *validator) hashSlots(path string, p Pool) {
	n := p.HashSlots
	switch {
	case n == 0:
	case n < 0 || n > maxHashSlots:
		v.inRange(path, n, 0, maxHashSlots)
	case !isPrime(n):
		v.wrong(path, "%d is not a prime; the next is %d", n, nextPrime(n))
	case n < len(p.Backends):
		v.wrong(path, "%d is less than the pool's %d backends", n, len(p.Backends))
	}
}

// isPrime is exact: ProbablyPrime is, below 2^64.
func isPrime(n int) bool { return big.NewInt(int64(n)).ProbablyPrime(0) }

func nextPrime(n int) int {
	for !isPrime(n) {
		n++
	}
	return n
}

// sources checks that local addresses are there once.
func (v *validator) sources(path string, sources []netip.Addr) {
	for i, ip := range sources {
		if slices.Contains(sources[:i], ip) && ip.IsValid() {
			v.wrong(index(path, i), "%s is there already", ip)
		}
	}
}

// backends checks the backends of pool i, each by itself, with what the pool
// wants of them, and by their names.
func (v *validator) backends(i int, p Pool) {
	if len(p.Backends) == 0 {
		v.wrong(poolPath(i)+".backend", "none is defined; want at least one [[pool.backend]]")
	}
	for j, b := range p.Backends {
		path := backendPath(i, j)
		v.backend(path, b)
		v.sourceFamily(path, b, p.Source)
		v.backendHealth(path, &p, &b)
	}
	v.unique(namesOf(p.Backends, func(b Backend) string { return b.Name }),
		func(j int) string { return backendPath(i, j) })
}

func (v *validator) backend(path string, b Backend) {
	v.backendAddress(join(path, "address"), b.Address)
	if b.Name != b.Address.String() {
		v.name(join(path, "name"), b.Name)
	}
	v.inRange(join(path, "weight"), b.Weight, 0, MaxWeight)
	v.inRange(join(path, "max_connections"), b.MaxConnections, 0, maxConnections)
}

// backendAddress checks what ParseAddress leaves open: a backend has a host
// and a port.
func (v *validator) backendAddress(path string, a Address) {
	switch {
	case a.IsZero():
		v.wrong(path, "is missing; want host:port, [v6]:port or unix:/path")
	case a.Network == Unix:
	case a.Host == "":
		v.wrong(path, "%q has no host; want host:port", a)
	case a.Port == 0:
		v.wrong(path, "port 0 is out of range 1..%d", maxPort)
	}
}

// sourceFamily checks that there is an address to dial from in the family of
// the backend. That of a host name is not known here.
func (v *validator) sourceFamily(path string, b Backend, sources []netip.Addr) {
	ip := b.Address.IP()
	same := func(s netip.Addr) bool { return !s.IsValid() || s.Is4() == ip.Is4() }
	if !ip.IsValid() || len(sources) == 0 || slices.ContainsFunc(sources, same) {
		return
	}
	family := "IPv6"
	if ip.Is4() {
		family = "IPv4"
	}
	v.wrong(path+".address", "%s is %s, but source of the pool has no %s address", b.Address, family, family)
}

// unixHealth checks that the probes make sense for a unix socket.
func (v *validator) unixHealth(path string, h Health) {
	for _, p := range h.Probes() {
		switch {
		case p.Host != "" || p.Type == HealthNone:
		case p.Type == HealthICMP:
			v.wrong(path+".address", "a unix socket cannot be probed by icmp; want health type tcp or none")
		case p.Port != 0:
			v.wrong(path+".address", "a unix socket has no port, but health.port is %d", p.Port)
		case p.NeedsName():
			v.wrong(path+".address", "a unix socket has no name to verify; want health.tls.server_name")
		}
	}
}
