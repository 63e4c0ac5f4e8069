package server

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
)

// ProbeAddresses is where a backend is probed that has a unix socket, or else these
// addresses. Where all probes go to hosts of their own, one address stands for all.
func ProbeAddresses(h *config.Health, unix string, addrs []netip.AddrPort) []healthcheck.Address {
	if unix != "" {
		return []healthcheck.Address{{Path: unix}}
	}
	if elsewhere(h) {
		return []healthcheck.Address{{}}
	}
	out := make([]healthcheck.Address, len(addrs))
	for i, a := range addrs {
		out[i] = healthcheck.Address{AddrPort: a}
	}
	return out
}

// elsewhere says whether no probe goes to the backend's own addresses.
func elsewhere(h *config.Health) bool {
	for _, p := range h.Probes() {
		if p.Host == "" {
			return false
		}
	}
	return true
}

// place sends a prober to where its probe wants to go.
func (ps *Probers) place(p healthcheck.Prober, c *config.Probe, backendPort uint16) healthcheck.Prober {
	if c.Host == "" && c.Port == 0 {
		return p
	}
	port := uint16(c.Port)
	if port == 0 {
		port = backendPort
	}
	if c.Host == "" {
		return &portProber{p, port}
	}
	host := again(ps, func(ps *Probers) map[string]*probedHost { return ps.hosts }, c.Host,
		func() *probedHost { return newProbedHost(c.Host) })
	return &hostProber{p, host, port}
}

// portProber probes another port of the backend.
type portProber struct {
	healthcheck.Prober
	port uint16
}

func (p *portProber) Probe(ctx context.Context, a healthcheck.Address) healthcheck.Result {
	a.AddrPort = netip.AddrPortFrom(a.AddrPort.Addr(), p.port)
	return p.Prober.Probe(ctx, a)
}

// hostProber probes another host, whatever the backend's address is.
type hostProber struct {
	healthcheck.Prober
	host *probedHost
	port uint16
}

func (p *hostProber) Probe(ctx context.Context, _ healthcheck.Address) healthcheck.Result {
	start := time.Now()
	ips, looked := p.host.addresses(ctx)
	took := time.Since(start)
	addrs := make([]healthcheck.Address, len(ips))
	for i, ip := range ips {
		addrs[i] = healthcheck.Address{AddrPort: netip.AddrPortFrom(ip, p.port)}
	}
	r := healthcheck.ProbeAny(ctx, p.Prober, addrs)
	if looked {
		r.Phases = append([]healthcheck.Phase{{Name: "resolve", Took: took}}, r.Phases...)
		r.Took += took
	}
	return r
}

// probedHost is a host that is probed in a backend's place. A name is looked up by the
// probes themselves, at most once in resolveEvery, and keeps its last good addresses
// through later errors.
type probedHost struct {
	name string

	mu    sync.Mutex // held for a lookup: others wait for its answer
	ips   []netip.Addr
	asked time.Time
	fixed bool // an address, not a name
}

func newProbedHost(host string) *probedHost {
	if ip, err := netip.ParseAddr(host); err == nil {
		return &probedHost{name: host, ips: []netip.Addr{ip}, fixed: true}
	}
	return &probedHost{name: host}
}

// addresses answers the host's addresses, and whether they were looked up for that.
func (h *probedHost) addresses(ctx context.Context) (ips []netip.Addr, looked bool) {
	if h.fixed {
		return h.ips, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.asked.IsZero() && time.Since(h.asked) < resolveEvery {
		return h.ips, false
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", h.name)
	if ctx.Err() == nil {
		h.asked = time.Now()
	}
	if err == nil {
		h.ips = unmapped(found)
	}
	return h.ips, true
}

func unmapped(ips []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, len(ips))
	for i, ip := range ips {
		out[i] = ip.Unmap()
	}
	return out
}
