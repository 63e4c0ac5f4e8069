package admin

import "github.com/limeload/limeload/pkg/server"

// Refusals are the clients that a listener did not let in, by reason; reasons that did
// not happen are left out.
type Refusals struct {
	Held          int               `json:"held" doc:"Clients that wait, unread, for a limit of the listener"`
	Refused       map[string]uint64 `json:"refused" doc:"Clients that an access list or a limit reset, by reason"`
	RefusedDryRun map[string]uint64 `json:"refused_dry_run" doc:"Clients that would have been reset or held, but for dry_run"`
	Delayed       map[string]uint64 `json:"delayed" doc:"Clients that were held, by the limit that they met first"`
}

func newRefusals(l *server.ListenerSnapshot) Refusals {
	return Refusals{
		Held: l.Held, Refused: byReason(&l.Refused), RefusedDryRun: byReason(&l.DryRun), Delayed: byReason(&l.Delayed),
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
