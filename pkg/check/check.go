// Package check probes targets on demand, without a running server.
//
// A Target is a place and the prober to ask it with; Run asks all of them side by
// side and hands out the outcomes in the targets' order, round by round. What a
// configuration file probes and how is told by its pools, so that the answer is
// the one that serve would act upon.
package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
)

// Target is one thing to probe.
type Target struct {
	Pool, Backend string // empty for a target of the command line
	Address       config.Address
	Health        config.Health // type, timeout and port are used
}

// Name is the address as a person writes it.
func (t *Target) Name() string {
	if t.Address.Network == config.TCP && t.Address.Port == 0 {
		return t.Address.Host // ICMP
	}
	return t.Address.String()
}

// Outcome is one probe of one target.
type Outcome struct {
	Target  *Target
	Round   int // from 1
	Verdict healthcheck.Verdict
	Reason  string // why it is not up, for people
	Phases  []healthcheck.Phase
	Took    time.Duration
}

// Verdict sums outcomes up: down if any is down, else unknown if any is unknown,
// else up.
func Verdict(outcomes []Outcome) healthcheck.Verdict {
	sum := healthcheck.Up
	for i := range outcomes {
		switch outcomes[i].Verdict {
		case healthcheck.Down:
			return healthcheck.Down
		case healthcheck.Unknown:
			sum = healthcheck.Unknown
		}
	}
	return sum
}

// FromConfig lists the backends of a configuration, or of one pool of it.
func FromConfig(c *config.Config, pool string) ([]Target, error) {
	if pool != "" && c.Pool(pool) == nil {
		return nil, fmt.Errorf("no pool %q in the file", pool)
	}
	var targets []Target
	for i := range c.Pools {
		p := &c.Pools[i]
		if pool != "" && p.Name != pool {
			continue
		}
		for _, b := range p.Backends {
			targets = append(targets, Target{Pool: p.Name, Backend: b.Name, Address: b.Address, Health: p.Health})
		}
	}
	return targets, nil
}

// ParseTarget parses host:port, [v6]:port or unix:/path; for ICMP a host alone is
// enough.
func ParseTarget(text string, h config.Health) (Target, error) {
	if h.Type == config.HealthICMP {
		if ip, err := netip.ParseAddr(text); err == nil {
			return Target{Address: config.Address{Network: config.TCP, Host: ip.String()}, Health: h}, nil
		}
		if _, _, err := net.SplitHostPort(text); err != nil && validHost(text) {
			return Target{Address: config.Address{Network: config.TCP, Host: text}, Health: h}, nil
		}
	}
	a, err := config.ParseAddress(text)
	switch {
	case err != nil:
		return Target{}, err
	case a.Network == config.Unix && h.Type == config.HealthICMP:
		return Target{}, fmt.Errorf("%s: icmp needs a host, not a unix socket", text)
	case a.Network == config.TCP && a.Host == "":
		return Target{}, fmt.Errorf("%s: host is missing; want host:port", text)
	case a.Network == config.TCP && a.Port == 0 && h.Type != config.HealthICMP:
		return Target{}, fmt.Errorf("%s: port 0 is out of range 1..65535", text)
	}
	return Target{Address: a, Health: h}, nil
}

func validHost(s string) bool {
	_, err := config.ParseAddress(net.JoinHostPort(s, "1"))
	return err == nil
}

// Run probes all targets side by side, rounds times, every interval, and calls
// each with every outcome: round by round, in the order of the targets. It stops
// early when ctx ends.
func Run(ctx context.Context, targets []Target, rounds int, interval time.Duration, each func(Outcome)) {
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	for round := 1; round <= rounds && ctx.Err() == nil; round++ {
		runRound(ctx, targets, round, each)
		if round == rounds {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// sideBySide bounds the probes at one time, so that a large file does not use up
// the descriptors.
const sideBySide = 256

func runRound(ctx context.Context, targets []Target, round int, each func(Outcome)) {
	slots := make(chan struct{}, sideBySide)
	done := make([]chan Outcome, len(targets))
	for i := range targets {
		done[i] = make(chan Outcome, 1)
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			o := probe(ctx, &targets[i])
			o.Round = round
			done[i] <- o
		}()
	}
	for _, c := range done {
		each(<-c)
	}
}

// probe resolves and asks one target; the timeout of its health bounds both
// together.
func probe(ctx context.Context, t *Target) Outcome {
	o := Outcome{Target: t, Verdict: healthcheck.Unknown}
	prober := server.Prober(&t.Health)
	if prober == nil {
		o.Reason = "no probe is configured (health type none)"
		return o
	}
	ctx, cancel := context.WithTimeout(ctx, t.Health.Timeout)
	defer cancel()
	start := time.Now()
	addrs, err := resolve(ctx, t.Address)
	if t.Address.Network == config.TCP && !t.Address.IP().IsValid() {
		o.Phases = append(o.Phases, healthcheck.Phase{Name: "resolve", Took: time.Since(start)})
	}
	if err != nil {
		o.Verdict, o.Reason = healthcheck.Down, reason(ctx, err)
	} else {
		r := healthcheck.ProbeAny(ctx, prober, server.ProbeAddresses(&t.Health, t.Address.Path, addrs))
		o.Verdict, o.Reason = r.Verdict, r.Text()
		o.Phases = append(o.Phases, r.Phases...)
	}
	o.Took = time.Since(start)
	return o
}

func resolve(ctx context.Context, a config.Address) ([]netip.AddrPort, error) {
	if a.Network == config.Unix {
		return nil, nil
	}
	if ip := a.IP(); ip.IsValid() {
		return []netip.AddrPort{netip.AddrPortFrom(ip, a.Port)}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", a.Host)
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip.Unmap(), a.Port)
	}
	return addrs, err
}

func reason(ctx context.Context, err error) string {
	var dns *net.DNSError
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		return "dns: timeout"
	case errors.As(err, &dns):
		return "dns: " + dns.Err
	}
	return "dns: " + err.Error()
}
