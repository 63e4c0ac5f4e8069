package proxy

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Who is held comes first: a place that is free is none for a newcomer while others wait
// for it, and what is foretold is what becomes of him.
func TestRefusalSeesWhoIsHeld(t *testing.T) {
	delayed := func(q Quota) Quota {
		q.DelayConnections, q.DelayRate = true, true
		return q
	}
	hold := Hold{Longest: time.Minute, Most: 100}
	for _, c := range []struct {
		name       string
		a          Admission
		limit      string
		rule, tail string
	}{
		{"places", Admission{All: delayed(quota(3, 0, 0))}, "limit-connections", "2 of 3 sessions, 10 in line before it", ""},
		{"places of a source", Admission{Each: delayed(quota(3, 0, 0))}, "limit-source-connections", "192.0.2.1/32 has 2 of 3 sessions, 10 in line before it", ""},
		{"tokens", Admission{All: delayed(quota(0, 1, 3))}, "limit-rate", "the next session is due in 1", "s, 10 in line before it"},
		{"tokens of a source", Admission{Each: delayed(quota(0, 1, 3))}, "limit-source-rate", "192.0.2.1/32 may have its next session in 1", "s, 10 in line before it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.a.Hold = hold
			r := guarded(t, &c.a)
			inside, held := crowd(t, r, 3, one), crowd(t, r, 10, one)
			leave(inside[0])
			name, rule := r.Refusal(netip.MustParseAddr("192.0.2.1"))
			if name != c.limit || !strings.HasPrefix(rule, c.rule) || !strings.HasSuffix(rule, c.tail) {
				t.Errorf("got %s, %q; want %s, %s...%s", name, rule, c.limit, c.rule, c.tail)
			}
			late := crowd(t, r, 1, one)[0]
			if _, err := late.Dial(nil); !isWait(err) {
				t.Errorf("a newcomer got %v; want it held, as foretold", err)
			}
			for _, s := range append(append(inside[1:], held...), late) {
				leave(s)
			}
			if name, rule := r.Refusal(netip.MustParseAddr("192.0.2.1")); name != "" && !strings.Contains(c.name, "tokens") {
				t.Errorf("with nobody left: got %s, %q; want nothing in the way", name, rule)
			}
		})
	}
}
