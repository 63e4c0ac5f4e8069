package healthcheck

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// A Prober asks one address once.
type Prober interface {
	// Probe returns when it knows the verdict, and soon after ctx ends at the
	// latest: a deadline that passes is the backend's fault (down, timeout), a
	// cancellation is nobody's (unknown). It is called from many goroutines.
	Probe(ctx context.Context, a Address) Result
}

// Address is what is probed: an IP address with a port, or the path of a unix
// socket ("@name" for an abstract one) when Path is not empty. Probers that
// know no ports ignore the port.
type Address struct {
	AddrPort netip.AddrPort
	Path     string
}

// String is the address as a configuration file writes it.
func (a Address) String() string {
	if a.Path != "" {
		return "unix:" + a.Path
	}
	return a.AddrPort.String()
}

// Verdict is the answer of one probe.
type Verdict uint8

const (
	Unknown  Verdict = iota // the prober itself could not run
	Up                      // the backend answered
	Down                    // the backend did not answer, or refused
	Degraded                // up, but it should get less than its weight: Facts.Share

	NumVerdicts = iota // how many there are
)

// String is "unknown", "up", "down" or "degraded".
func (v Verdict) String() string {
	switch v {
	case Up:
		return "up"
	case Down:
		return "down"
	case Degraded:
		return "degraded"
	}
	return "unknown"
}

// Phase is one step of a probe, such as "connect" or "echo". The step that
// failed is the last one, with the time until it failed.
type Phase struct {
	Name string
	Took time.Duration
}

// Result is the outcome of one probe.
type Result struct {
	Address Address // what was probed; zero when there was no address
	Verdict Verdict
	Reason  Reason        // empty when up
	Err     error         // nil when up; what Reason was made from
	Facts   Facts         // what the server told of itself, whatever the verdict
	Phases  []Phase       // in the order in which they happened
	Took    time.Duration // all phases together
	Warning string        // what a person should look at although it decides nothing; mostly empty
}

// Text tells a person why a probe did not come out up; it is empty when it did.
func (r Result) Text() string {
	var part *partError
	if errors.As(r.Err, &part) {
		return part.Error()
	}
	if text := r.Reason.text(); text != "" {
		if last := len(r.Phases) - 1; last > 0 && r.Phases[last].Name != "connect" {
			text += " during " + r.Phases[last].Name
		}
		return text
	}
	if r.Err != nil {
		return r.Err.Error()
	}
	return string(r.Reason)
}

// newResult is the Result of a probe with a single phase that began at start.
func newResult(ctx context.Context, a Address, phase string, start time.Time, err error) Result {
	took := time.Since(start)
	r := Result{Address: a, Err: err, Took: took, Phases: []Phase{{phase, took}}}
	r.Verdict, r.Reason = judge(ctx, err)
	return r
}

// ProbeAny asks all addresses of one backend side by side. It answers up as
// soon as one of them is, and then waits only for the other probes to notice
// that they are cancelled. No address is down with ReasonDNS; with no address
// up, one unknown among the answers makes the whole unknown, because that
// address might have been up.
func ProbeAny(ctx context.Context, p Prober, addresses []Address) Result {
	switch len(addresses) {
	case 0:
		return Result{Verdict: Down, Reason: ReasonDNS, Err: errNoAddress}
	case 1:
		return p.Probe(ctx, addresses[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan Result, len(addresses))
	for _, a := range addresses {
		go probeOne(ctx, p, a, results)
	}
	best := <-results
	for range len(addresses) - 1 {
		if best.Verdict == Up {
			cancel()
		}
		if r := <-results; outranks(r.Verdict, best.Verdict) {
			best = r
		}
	}
	return best
}

func probeOne(ctx context.Context, p Prober, a Address, results chan<- Result) {
	results <- p.Probe(ctx, a)
}

// outranks says whether verdict v of one address prevails over verdict w of
// another one of the same backend: up over degraded over unknown over down.
func outranks(v, w Verdict) bool {
	rank := [NumVerdicts]int{Up: 3, Degraded: 2, Unknown: 1, Down: 0}
	return rank[v] > rank[w]
}
