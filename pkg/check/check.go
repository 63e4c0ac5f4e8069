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
	"net"
	"net/netip"
	"time"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
)

// Outcome is one probe of one target.
type Outcome struct {
	Target *Target
	Round  int                // from 1
	Result healthcheck.Result // with the phase "resolve" before the others, for a host name
	At     time.Time          // when it ended
}

// Why tells a person why it is not up; empty if it is.
func (o *Outcome) Why() string {
	if o.Result.Reason == healthcheck.ReasonDNS && o.Result.Err != nil {
		return "dns: " + o.Result.Err.Error()
	}
	return o.Result.Text()
}

// Verdict sums outcomes up: down if any is down, else unknown if any is unknown,
// else up, which a degraded one is as well.
func Verdict(outcomes []Outcome) healthcheck.Verdict {
	sum := healthcheck.Up
	for i := range outcomes {
		switch outcomes[i].Result.Verdict {
		case healthcheck.Down:
			return healthcheck.Down
		case healthcheck.Unknown:
			sum = healthcheck.Unknown
		}
	}
	return sum
}

// Run probes all targets side by side, rounds times (0 is without end), every interval,
// and calls each with every outcome: round by round, in the order of the targets. It
// ends early when ctx does; probes that are cut short by that are unknown, "canceled".
func Run(ctx context.Context, targets []Target, rounds int, interval time.Duration, each func(Outcome)) {
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	for round := 1; ctx.Err() == nil; round++ {
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
			done[i] <- Outcome{Target: &targets[i], Round: round, Result: probe(ctx, &targets[i]), At: time.Now()}
		}()
	}
	for _, c := range done {
		each(<-c)
	}
}

// errNoProbe is a target of a pool of health type none.
var errNoProbe = errors.New("no probe is configured (health type none)")

// probe resolves and asks one target; the timeout of its health bounds both together.
func probe(ctx context.Context, t *Target) healthcheck.Result {
	if t.Prober == nil {
		return healthcheck.Result{Verdict: healthcheck.Unknown, Err: errNoProbe}
	}
	ctx, cancel := context.WithTimeout(ctx, t.Health.Timeout)
	defer cancel()
	start := time.Now()
	addrs, err := resolve(ctx, t.Address)
	took := time.Since(start)
	to := server.ProbeAddresses(&t.Health, t.Address.Path, addrs)
	if err != nil && len(to) == 0 {
		return healthcheck.Result{
			Verdict: healthcheck.Down, Reason: healthcheck.ReasonDNS, Err: dnsError(ctx, err),
			Phases: []healthcheck.Phase{{Name: "resolve", Took: took}}, Took: took,
		}
	}
	r := healthcheck.ProbeAny(ctx, t.Prober, to)
	if t.Address.Network == config.TCP && !t.Address.IP().IsValid() {
		r.Phases = append([]healthcheck.Phase{{Name: "resolve", Took: took}}, r.Phases...)
		r.Took += took
	}
	return r
}

// resolve answers the addresses of a, which are none for a unix socket.
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

// dnsError is the error of a lookup without the names that are in it twice.
func dnsError(ctx context.Context, err error) error {
	var dns *net.DNSError
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		return errors.New("timeout")
	case errors.As(err, &dns):
		return errors.New(dns.Err)
	}
	return err
}
