package admin

import (
	"time"

	"github.com/limeload/limeload/pkg/server"
)

// Refusals are the clients that a listener did not let in, by reason; reasons that did
// not happen are left out.
type Refusals struct {
	Held          int               `json:"held" doc:"Clients that wait, unread, for a limit of the listener"`
	Refused       map[string]uint64 `json:"refused" doc:"Clients that an access list or a limit reset, by reason"`
	RefusedDryRun map[string]uint64 `json:"refused_dry_run" doc:"Clients that would have been reset or held, but for dry_run"`
	Delayed       map[string]uint64 `json:"delayed" doc:"Clients that were held, by the limit that they met first"`
	Lately        []Refused         `json:"refused_lately" doc:"One client of each kind that was refused, or would have been: the latest that was told of"`
}

// Refused is one client that a listener did not let in, and how many there were for the
// same reason.
type Refused struct {
	Reason string    `json:"reason" example:"access-denied"`
	DryRun bool      `json:"dry_run,omitempty" doc:"It was let in all the same"`
	Count  uint64    `json:"count" doc:"Of a listener: since the start; of an event: since the one before"`
	Time   time.Time `json:"time" doc:"When it was told, up to 5 s after it was refused"`
	Client string    `json:"client" doc:"IP address, or unix"`
	Rule   string    `json:"rule,omitempty" doc:"Rule of the access list that refused it, and where it stands" example:"deny 10.66.0.0/16 (limeload.toml:9)"`
}

func newRefusals(l *server.ListenerSnapshot) Refusals {
	out := Refusals{
		Held: l.Held, Refused: byReason(&l.Refused), RefusedDryRun: byReason(&l.DryRun), Delayed: byReason(&l.Delayed),
		Lately: make([]Refused, len(l.Lately)),
	}
	for i := range l.Lately {
		out.Lately[i] = newRefused(&l.Lately[i])
	}
	return out
}

func newRefused(r *server.Refused) Refused {
	return Refused{
		Reason: r.Refusal.String(), DryRun: r.DryRun, Count: r.Count, Time: r.At, Client: r.ClientText(), Rule: r.Rule,
	}
}

func byReason(counts *[server.NumRefusals]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for i, n := range counts {
		if n > 0 {
			out[server.Refusal(i).String()] = n
		}
	}
	return out
}
