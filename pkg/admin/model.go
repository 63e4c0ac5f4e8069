package admin

import (
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/splice"
)

// Status is the process as a whole.
type Status struct {
	Version    string    `json:"version" doc:"Version, commit and Go version"`
	Time       time.Time `json:"time" doc:"Of this answer"`
	Started    time.Time `json:"started"`
	Uptime     float64   `json:"uptime" doc:"Seconds since the start"`
	Engine     string    `json:"engine" enum:"splice,copy" doc:"What moves the bytes"`
	Loops      int       `json:"loops" doc:"Loops of the engine"`
	ConfigFile string    `json:"config_file,omitempty" doc:"Where the configuration came from; absent for flags alone"`
	Ready      bool      `json:"ready" doc:"Whether every listener has a usable backend"`
	Reason     string    `json:"reason,omitempty" doc:"Why it is not ready"`
	Sessions   int       `json:"sessions" doc:"Live sessions"`
	Limit      int       `json:"limit" doc:"Most sessions at one time, by the limit of open files; 0 = none"`
	Listeners  int       `json:"listeners"`
	Pools      int       `json:"pools"`
	Overrides  int       `json:"overrides" doc:"Backends that differ from the file by a person's will"`
}

// Listener is one listener.
type Listener struct {
	Name      string            `json:"name"`
	Pool      string            `json:"pool"`
	Addresses []string          `json:"addresses" doc:"Bound addresses"`
	Active    int               `json:"active" doc:"Live sessions"`
	Sessions  uint64            `json:"sessions" doc:"Sessions since the start"`
	Retries   uint64            `json:"retries" doc:"Attempts to connect beyond each session's first"`
	BytesUp   uint64            `json:"bytes_up" doc:"To backends"`
	BytesDown uint64            `json:"bytes_down" doc:"To clients"`
	Reasons   map[string]uint64 `json:"reasons" doc:"Ended sessions by reason"`
	Refusals
}

// Pool is one pool.
type Pool struct {
	Name     string    `json:"name"`
	Usable   int       `json:"usable" doc:"Backends that may have new sessions"`
	Backends []Backend `json:"backends"`
}

// Backend is one backend of a pool.
type Backend struct {
	Name           string     `json:"name"`
	Address        string     `json:"address"`
	Health         string     `json:"health" enum:"unchecked,up,down" doc:"What probes say"`
	Mode           string     `json:"mode" enum:"ready,drain,maintenance" doc:"What a person says"`
	Usable         bool       `json:"usable"`
	Excluded       string     `json:"excluded" doc:"Why it gets no new sessions; empty if it may"`
	Weight         int        `json:"weight" doc:"0..256; 0 = no new sessions"`
	Effective      int        `json:"effective_weight" doc:"The weight that counts now"`
	MaxConnections int        `json:"max_connections" doc:"0 = no limit"`
	Backup         bool       `json:"backup"`
	Active         int64      `json:"active" doc:"Live sessions and dials under way"`
	Sessions       uint64     `json:"sessions" doc:"Sessions since the start"`
	Dials          uint64     `json:"dials" doc:"Attempts to connect"`
	DialFailures   uint64     `json:"dial_failures" doc:"Those that failed by its fault"`
	BytesUp        uint64     `json:"bytes_up"`
	BytesDown      uint64     `json:"bytes_down"`
	Since          *time.Time `json:"since,omitempty" doc:"Since when its health is so"`
	Probe          string     `json:"probe,omitempty" enum:"up,down,unknown" doc:"The last probe"`
	Reason         string     `json:"reason,omitempty" doc:"What the last probe said, unless up"`
	Override       *Override  `json:"override,omitempty" doc:"What differs from the file by a person's will"`
}

// Override is what a person changed of a backend.
type Override struct {
	Mode           string `json:"mode,omitempty"`
	Weight         *int   `json:"weight,omitempty"`
	MaxConnections *int   `json:"max_connections,omitempty"`
	Added          bool   `json:"added,omitempty"`
}

// NewBackend is a backend to add.
type NewBackend struct {
	Address        string `json:"address" doc:"host:port, [v6]:port or unix:/path" example:"10.0.0.13:5432"`
	Name           string `json:"name,omitempty" doc:"Unique in the pool; by default the address"`
	Weight         *int   `json:"weight,omitempty" doc:"0..256; by default 1"`
	MaxConnections int    `json:"max_connections,omitempty" doc:"0 = no limit"`
	Backup         bool   `json:"backup,omitempty" doc:"Used only while no other is usable"`
}

// Settings change a backend; what is left out stays.
type Settings struct {
	Mode           *string `json:"mode,omitempty" enum:"ready,drain,maintenance"`
	Weight         *int    `json:"weight,omitempty" doc:"0..256"`
	MaxConnections *int    `json:"max_connections,omitempty" doc:"0 = no limit"`
}

// Change is one difference that a reload made, or would make.
type Change struct {
	Key string `json:"key" example:"pool.postgres.backend.pg-1.weight"`
	Old string `json:"old"`
	New string `json:"new"`
}

func newListener(l *server.ListenerSnapshot) Listener {
	out := Listener{
		Name: l.Name, Pool: l.Pool, Addresses: []string{}, Active: l.Active, Sessions: l.Sessions,
		Retries: l.Retries, BytesUp: l.Up, BytesDown: l.Down, Reasons: map[string]uint64{},
		Refusals: newRefusals(l),
	}
	for _, a := range l.Addrs {
		if a.IsValid() {
			out.Addresses = append(out.Addresses, a.String())
		} else {
			out.Addresses = append(out.Addresses, "unix")
		}
	}
	for _, r := range splice.Reasons() {
		out.Reasons[r.String()] = l.Ended[r]
	}
	return out
}

func newPool(p *server.PoolSnapshot, overrides []server.Override) Pool {
	out := Pool{Name: p.Name, Usable: p.Usable, Backends: []Backend{}}
	for i := range p.Backends {
		b := newBackend(&p.Backends[i])
		for _, o := range overrides {
			if o.Pool == p.Name && o.Backend == b.Name {
				b.Override = newOverride(&o)
			}
		}
		out.Backends = append(out.Backends, b)
	}
	return out
}

func newBackend(b *server.BackendSnapshot) Backend {
	out := Backend{
		Name: b.Name, Address: b.Address, Health: b.Health.String(), Mode: b.Mode.String(), Usable: b.Usable, Excluded: b.Excluded(),
		Weight: b.Weight, Effective: b.Weight, MaxConnections: b.MaxConnections, Backup: b.Backup, Active: b.Active,
		Sessions: b.Sessions, Dials: b.Dials, DialFailures: b.DialFailures, BytesUp: b.Up, BytesDown: b.Down,
	}
	if c := &b.Check; c.ID != "" {
		out.Since = &c.Since
		if !c.LastAt.IsZero() {
			out.Probe, out.Reason = c.Last.Verdict.String(), c.Last.Text()
		}
	}
	return out
}

func newOverride(o *server.Override) *Override {
	out := &Override{Weight: o.Weight, MaxConnections: o.MaxConnections, Added: o.Added}
	if o.Mode != balancer.Ready {
		out.Mode = o.Mode.String()
	}
	return out
}

func newChanges(changes []config.Change) []Change {
	out := make([]Change, len(changes))
	for i, c := range changes {
		out[i] = Change{c.Path, c.Old, c.New}
	}
	return out
}
