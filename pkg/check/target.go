package check

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
)

// Target is one thing to probe.
type Target struct {
	Pool, Backend string // empty for a target of the command line
	Address       config.Address
	Health        config.Health      // how it is probed
	Prober        healthcheck.Prober // made of Health; nil asks nothing
}

// Name is the address as a person writes it.
func (t *Target) Name() string {
	if t.Address.Network == config.TCP && t.Address.Port == 0 {
		return t.Address.Host // ICMP
	}
	return t.Address.String()
}

// FromConfig lists the backends of a configuration, or of one pool of it, with exactly
// the probes that serve would make. The error is a pool that is not there, or a file of
// certificates that cannot be read.
func FromConfig(c *config.Config, pool string) ([]Target, error) {
	if pool != "" && c.Pool(pool) == nil {
		return nil, fmt.Errorf("no pool %q in the file", pool)
	}
	probers := server.NewProbers()
	var targets []Target
	for i := range c.Pools {
		p := &c.Pools[i]
		if pool != "" && p.Name != pool {
			continue
		}
		for j := range p.Backends {
			b := &p.Backends[j]
			prober, err := probers.Prober(p, b)
			if err != nil {
				return nil, err
			}
			targets = append(targets, Target{p.Name, b.Name, b.Address, p.HealthOf(b), prober})
		}
	}
	return targets, nil
}

// ParseTargets parses targets of the command line, each host:port, [v6]:port or
// unix:/path, or for ICMP a host alone. All are probed as h says, but for its port and
// host. The error is about one of the texts, or about a file of certificates.
func ParseTargets(texts []string, h config.Health) ([]Target, error) {
	probers := server.NewProbers()
	var targets []Target
	for _, text := range texts {
		a, err := parseTarget(text, &h)
		if err != nil {
			return nil, err
		}
		b := config.Backend{Name: text, Address: a}
		prober, err := probers.Prober(&config.Pool{Health: h}, &b)
		if err != nil {
			return nil, err
		}
		targets = append(targets, Target{Address: a, Health: h, Prober: prober})
	}
	return targets, nil
}

func parseTarget(text string, h *config.Health) (config.Address, error) {
	if h.Type == config.HealthICMP {
		if ip, err := netip.ParseAddr(text); err == nil {
			return config.Address{Network: config.TCP, Host: ip.String()}, nil
		}
		if _, _, err := net.SplitHostPort(text); err != nil && validHost(text) {
			return config.Address{Network: config.TCP, Host: text}, nil
		}
	}
	a, err := config.ParseAddress(text)
	switch {
	case err != nil:
		return a, err
	case a.Network == config.Unix && h.Type == config.HealthICMP:
		return a, fmt.Errorf("%s: icmp needs a host, not a unix socket", text)
	case a.Network == config.Unix && h.NeedsName():
		return a, fmt.Errorf("%s: a unix socket has no name to verify; want --sni NAME", text)
	case a.Network == config.TCP && a.Host == "":
		return a, fmt.Errorf("%s: host is missing; want host:port", text)
	case a.Network == config.TCP && a.Port == 0 && h.Type != config.HealthICMP:
		return a, fmt.Errorf("%s: port 0 is out of range 1..65535", text)
	}
	return a, nil
}

func validHost(s string) bool {
	_, err := config.ParseAddress(net.JoinHostPort(s, "1"))
	return err == nil
}
