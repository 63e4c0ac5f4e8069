package healthcheck

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// secret is a Secret that is known.
func secret(text string) Secret { return func() (string, error) { return text, nil } }

func addressOf(t *testing.T, hostPort string) Address {
	t.Helper()
	a, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		t.Fatal(err)
	}
	return Address{AddrPort: a}
}

// ask probes a server once, with all the time that it may need.
func ask(t *testing.T, p Prober, hostPort string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	return p.Probe(ctx, addressOf(t, hostPort))
}

// verdict is what a result should be; the text has to hold Text.
type verdict struct {
	Verdict Verdict
	Reason  Reason
	Text    string
}

func (want verdict) check(t *testing.T, r Result) {
	t.Helper()
	if r.Verdict != want.Verdict || r.Reason != want.Reason || !strings.Contains(r.Text(), want.Text) {
		t.Errorf("got %v, reason %q, text %q; want %v, %q, %q", r.Verdict, r.Reason, r.Text(), want.Verdict, want.Reason, want.Text)
	}
}

var good = verdict{Verdict: Up}

// await probes until a result is right.
func await(t *testing.T, p Prober, hostPort, what string, right func(Result) bool) Result {
	t.Helper()
	for deadline := time.Now().Add(6 * patience); ; time.Sleep(20 * time.Millisecond) {
		r := ask(t, p, hostPort)
		if right(r) {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: got %v, %s, facts %+v", what, r.Verdict, r.Text(), r.Facts)
		}
	}
}

// phasesOf are the names of a result's phases.
func phasesOf(r Result) string {
	var names []string
	for _, p := range r.Phases {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}
