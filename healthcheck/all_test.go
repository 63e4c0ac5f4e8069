package healthcheck

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// answer is a Prober that always answers the same.
type answer Result

func (p answer) Probe(context.Context, Address) Result { return Result(p) }

func TestAll(t *testing.T) {
	up := Part{"tcp", answer{Verdict: Up, Phases: []Phase{{"connect", 1}}}}
	down := Part{"http", answer{Verdict: Down, Reason: ReasonAnswer, Err: errors.New("status 503"), Phases: []Phase{{"http", 2}}}}
	refused := Part{"redis", answer{Verdict: Down, Reason: ReasonRefused, Err: errors.New("connect: refused")}}
	unknown := Part{"icmp", answer{Verdict: Unknown, Reason: ReasonNotPermitted, Err: errors.New("not permitted")}}
	degraded := Part{"agent", answer{Verdict: Degraded, Reason: ReasonAgent, Err: errors.New("asks for 50%"), Facts: Facts{Share: 50}}}
	for _, tt := range []struct {
		name    string
		parts   All
		verdict Verdict
		reason  Reason
		text    string
	}{
		{"all up", All{up, up}, Up, "", ""},
		{"one down", All{up, down}, Down, ReasonAnswer, "http: status 503"},
		{"the first that is down", All{refused, down}, Down, ReasonRefused, "redis: connection refused"},
		{"down over unknown", All{unknown, down}, Down, ReasonAnswer, "http: status 503"},
		{"unknown over degraded and up", All{degraded, up, unknown}, Unknown, ReasonNotPermitted, "icmp: not permitted"},
		{"degraded over up", All{up, degraded, up}, Degraded, ReasonAgent, "agent: asks for 50%"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			judged(t, tt.parts.Probe(t.Context(), somewhere), tt.verdict, tt.reason, tt.text)
		})
	}
	r := All{up, down, up}.Probe(t.Context(), somewhere)
	if want := []Phase{{"connect", 1}, {"http.http", 2}}; !slices.Equal(r.Phases, want) {
		t.Errorf("phases: got %v; want %v, and nothing after the one that is down", r.Phases, want)
	}
}

func TestAllPutsFactsTogether(t *testing.T) {
	soon, late := time.Unix(1000, 0), time.Unix(2000, 0)
	r := All{
		{"a", answer{Verdict: Up, Facts: Facts{NotAfter: late, Share: 80, Wish: WishReady}}},
		{"b", answer{Verdict: Up, Warning: "look", Facts: Facts{
			Role: RoleReplica, Timeline: 3, Lag: Lag{1, 2}, HasLag: true, Version: "17", NotAfter: soon, Share: 50, Wish: WishDrain, MaxConnections: 9,
		}}},
		{"c", answer{Verdict: Up, Warning: "there", Facts: Facts{
			Role: RolePrimary, Timeline: 4, Lag: Lag{3, 4}, HasLag: true, Version: "18", Share: 150, MaxConnections: 10,
		}}},
	}.Probe(t.Context(), somewhere)
	want := Facts{
		Role: RoleReplica, Timeline: 3, Lag: Lag{1, 2}, HasLag: true, Version: "17", NotAfter: soon, Share: 50, Wish: WishDrain, MaxConnections: 9,
	}
	if r.Facts != want || r.Warning != "look" {
		t.Errorf("got %+v, warning %q; want %+v, look", r.Facts, r.Warning, want)
	}
}

// One connection at a time: a part begins when the one before it has ended.
func TestAllAsksOneAfterTheOther(t *testing.T) {
	f := serveFake(t, says("up\n"))
	busy := proberFunc(func(ctx context.Context, a Address) Result {
		waitUntil(t, "the connection before is closed", func() bool { return f.conns.Load() == 0 })
		return NewAgent("").Probe(ctx, a)
	})
	judged(t, probe(t, All{{"a", busy}, {"b", busy}, {"c", busy}}, f.Address, patience), Up, "", "")
}

type proberFunc func(context.Context, Address) Result

func (p proberFunc) Probe(ctx context.Context, a Address) Result { return p(ctx, a) }
