package main

import (
	"encoding/json"
	"io"
	"time"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/check"
)

// outcomeJSON is what scripts read: fields are added, never renamed. What a server did
// not tell is left away.
type outcomeJSON struct {
	Target  string      `json:"target"`
	Pool    string      `json:"pool"`
	Backend string      `json:"backend"`
	Round   int         `json:"round"`
	State   string      `json:"state"`
	Reason  string      `json:"reason"`
	Took    float64     `json:"took_ms"`
	Phases  []phaseJSON `json:"phases"`

	Code           string     `json:"code,omitempty"` // the machine's word for reason
	Warning        string     `json:"warning,omitempty"`
	Time           *time.Time `json:"time,omitempty"`    // with --watch: when it ended
	Address        string     `json:"address,omitempty"` // that answered, where it is another than target
	Role           string     `json:"role,omitempty"`
	LagBytes       *int64     `json:"lag_bytes,omitempty"`
	LagSeconds     *float64   `json:"lag_seconds,omitempty"`
	Timeline       uint32     `json:"timeline,omitempty"`
	Version        string     `json:"version,omitempty"`
	Expires        *time.Time `json:"certificate_expires,omitempty"`
	Days           *int       `json:"certificate_days,omitempty"`
	Share          int        `json:"share,omitempty"` // in percent
	Wish           string     `json:"wish,omitempty"`
	MaxConnections int        `json:"max_connections,omitempty"`
}

type phaseJSON struct {
	Name string  `json:"name"`
	Took float64 `json:"ms"`
}

func newOutcomeJSON(o *check.Outcome) outcomeJSON {
	r := &o.Result
	row := outcomeJSON{
		Target: o.Target.Name(), Pool: o.Target.Pool, Backend: o.Target.Backend, Round: o.Round,
		State: r.Verdict.String(), Reason: o.Why(), Took: float64(r.Took) / 1e6, Phases: []phaseJSON{},
		Code: string(r.Reason), Warning: r.Warning,
	}
	for _, p := range r.Phases {
		row.Phases = append(row.Phases, phaseJSON{p.Name, float64(p.Took) / 1e6})
	}
	if r.Address != (healthcheck.Address{}) && r.Address.String() != row.Target && r.Address.AddrPort.Port() != 0 {
		row.Address = r.Address.String()
	}
	row.tell(&r.Facts, o.At)
	return row
}

// tell adds what the server said of itself.
func (row *outcomeJSON) tell(f *healthcheck.Facts, at time.Time) {
	row.Role, row.Timeline, row.Version = f.Role.String(), f.Timeline, f.Version
	row.Share, row.Wish, row.MaxConnections = f.Share, f.Wish.String(), f.MaxConnections
	if f.HasLag && f.Lag.Bytes >= 0 {
		row.LagBytes = &f.Lag.Bytes
	}
	if seconds := f.Lag.Time.Seconds(); f.HasLag && seconds >= 0 {
		row.LagSeconds = &seconds
	}
	if !f.NotAfter.IsZero() {
		days, expires := daysLeft(f, at), f.NotAfter.UTC()
		row.Days, row.Expires = &days, &expires
	}
}

// printJSON prints one array.
func printJSON(w io.Writer, outcomes []check.Outcome) {
	rows := make([]outcomeJSON, len(outcomes))
	for i := range outcomes {
		rows[i] = newOutcomeJSON(&outcomes[i])
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(rows)
}

// jsonLinePrinter prints an object a line, as outcomes come.
func jsonLinePrinter(w io.Writer) func(*check.Outcome) {
	e := json.NewEncoder(w)
	return func(o *check.Outcome) {
		row := newOutcomeJSON(o)
		at := o.At.UTC()
		row.Time = &at
		e.Encode(row)
	}
}
