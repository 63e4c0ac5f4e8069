package admin

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/limeload/limeload/pkg/server"
)

// Explanation says which backend a connection would get now, and why.
type Explanation struct {
	Listener   string      `json:"listener"`
	Pool       string      `json:"pool"`
	Client     string      `json:"client"`
	Backend    string      `json:"backend" doc:"The pick; empty if there is none"`
	Algorithm  string      `json:"algorithm" doc:"Which algorithm of the pool's chain picked"`
	Reason     string      `json:"reason" doc:"The answer in a sentence"`
	RefusedBy  string      `json:"refused_by" doc:"The rule or limit that would keep the client out; empty if none"`
	Outcome    string      `json:"outcome" enum:"served,refused,held,queued" doc:"What becomes of the client: held, it waits unread for a limit; queued, in the kernel, not yet accepted"`
	Candidates []Candidate `json:"candidates" doc:"Every backend of the pool"`
}

// Candidate is one backend in an Explanation.
type Candidate struct {
	Backend         string     `json:"backend"`
	Address         string     `json:"address"`
	Health          string     `json:"health" enum:"unchecked,up,down"`
	Mode            string     `json:"mode" enum:"ready,drain,maintenance"`
	Breaker         string     `json:"breaker" enum:"closed,open,half-open" doc:"What its traffic says"`
	Role            string     `json:"role,omitempty" enum:"primary,replica" doc:"What it told last"`
	Weight          int        `json:"weight"`
	EffectiveWeight float64    `json:"effective_weight" doc:"The weight that counts now"`
	Active          int64      `json:"active"`
	MaxConnections  int        `json:"max_connections" doc:"0 = no limit"`
	Load            float64    `json:"load" doc:"(active + 1) / weight; 0 at weight 0"`
	Backup          bool       `json:"backup"`
	Tier            string     `json:"tier" enum:",up,unchecked,backup-up,backup-unchecked" doc:"A tier serves while those before it have no usable backend; empty: no sessions at all"`
	Usable          bool       `json:"usable" doc:"It could have the client, if not now then when its tier serves"`
	Excluded        string     `json:"excluded" doc:"What is against it; empty if nothing"`
	Since           *time.Time `json:"since,omitempty" doc:"When that began, where it is known"`
	Probe           string     `json:"probe,omitempty" doc:"The last probe's verdict"`
	ProbeReason     string     `json:"probe_reason,omitempty" doc:"The last probe's words, unless up"`
	ProbeAt         *time.Time `json:"probe_at,omitempty" doc:"When the last probe ended"`
}

func (a *api) registerExplain(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "explain", Method: http.MethodGet, Path: "/api/v1/explain",
		Summary:     "Say which backend a connection would get now, and why",
		Description: "It opens no connection and takes nobody's turn.",
	}, a.explain)
}

func (a *api) explain(_ context.Context, in *struct {
	Listener string `query:"listener" doc:"Name of the listener; may be left out where there is only one"`
	Client   string `query:"client" required:"true" doc:"IP address of the client, or unix" example:"10.1.2.3"`
}) (*body[Explanation], error) {
	var client netip.Addr
	if in.Client != "unix" {
		var err error
		if client, err = netip.ParseAddr(in.Client); err != nil {
			return nil, huma.Error422UnprocessableEntity("client " + in.Client + ": want an IP address, or unix")
		}
	}
	e, err := a.s.Explain(in.Listener, client)
	if err != nil {
		return nil, failure(err)
	}
	out := Explanation{
		Listener: e.Listener, Pool: e.Pool, Client: in.Client, Backend: e.Backend, Algorithm: e.Algorithm,
		Reason: e.Reason, RefusedBy: e.RefusedBy, Outcome: string(e.Outcome), Candidates: make([]Candidate, len(e.Candidates)),
	}
	for i := range e.Candidates {
		out.Candidates[i] = newCandidate(&e.Candidates[i])
	}
	return &body[Explanation]{out}, nil
}

func newCandidate(c *server.Candidate) Candidate {
	out := Candidate{
		Backend: c.Name, Address: c.Address, Health: c.Health.String(), Mode: c.Mode.String(), Breaker: c.Ruling.Breaker.String(), Role: c.Ruling.Facts.Role.String(),
		Weight: c.Weight, EffectiveWeight: float64(c.State.EffectiveWeight()) / 100, Active: c.Active, MaxConnections: c.MaxConnections,
		Load: c.Load, Backup: c.Backup, Tier: c.Tier.String(), Usable: c.Usable, Excluded: c.Excluded,
		Since: optionalTime(c.Since), ProbeAt: optionalTime(c.Check.LastAt),
	}
	if out.ProbeAt != nil {
		out.Probe, out.ProbeReason = c.Check.Last.Verdict.String(), c.Check.Last.Text()
	}
	return out
}

// optionalTime is nil for the zero time.
func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
