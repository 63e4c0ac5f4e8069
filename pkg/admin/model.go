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
	StateFile  string    `json:"state_file,omitempty" doc:"Where overrides are kept over a restart; absent if they are not"`
	Ready      bool      `json:"ready" doc:"Whether every listener and pool has a usable backend"`
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
	Removed   bool              `json:"removed,omitempty" doc:"From the configuration; sessions of it still live"`
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
	Quorum   int       `json:"quorum" doc:"Usable backends below which the pool is not ready"`
	Split    string    `json:"split,omitempty" doc:"Who claims to be the primary, if several do"`
	Refusing bool      `json:"refusing,omitempty" doc:"Because of that none of them is used"`
	Held     int       `json:"held,omitempty" doc:"Clients that wait, unread, for a backend that is below its rate"`
	Backends []Backend `json:"backends"`
	Leaving  []Backend `json:"leaving,omitempty" doc:"Removed backends of which sessions still live"`
	Removed  bool      `json:"removed,omitempty" doc:"From the configuration; sessions of it still live"`
}

// Backend is one backend of a pool.
type Backend struct {
	Name           string     `json:"name"`
	Address        string     `json:"address"`
	Health         string     `json:"health" enum:"unchecked,up,down" doc:"What probes say"`
	Mode           string     `json:"mode" enum:"ready,drain,maintenance,removed" doc:"What a person says; removed while its last sessions live"`
	Usable         bool       `json:"usable"`
	Excluded       string     `json:"excluded" doc:"Why it gets no new sessions; empty if it may"`
	Breaker        string     `json:"breaker" enum:"closed,open,half-open" doc:"What its traffic says"`
	BreakerUntil   *time.Time `json:"breaker_until,omitempty" doc:"Until when its breaker is open"`
	Ejections      uint64     `json:"ejections" doc:"Times that its breaker opened"`
	Held           bool       `json:"held,omitempty" doc:"It recovered and waits for a person: mode ready lets it in"`
	Role           string     `json:"role,omitempty" enum:"primary,replica" doc:"What it told last"`
	Timeline       uint32     `json:"timeline,omitempty" doc:"PostgreSQL's"`
	LagBytes       *int64     `json:"lag_bytes,omitempty" doc:"How far the replica is behind"`
	LagSeconds     *float64   `json:"lag_seconds,omitempty"`
	ServerVersion  string     `json:"server_version,omitempty" doc:"The server's own word for its version"`
	Weight         int        `json:"weight" doc:"0..256; 0 = no new sessions"`
	Effective      float64    `json:"effective_weight" doc:"The weight as it is now: less in a slow start, or where a probe says so"`
	MaxConnections int        `json:"max_connections" doc:"0 = no limit"`
	Backup         bool       `json:"backup"`
	Active         int64      `json:"active" doc:"Live sessions and dials under way"`
	Sessions       uint64     `json:"sessions" doc:"Sessions since the start"`
	Dials          uint64     `json:"dials" doc:"Attempts to connect"`
	DialFailures   uint64     `json:"dial_failures" doc:"Those that failed by its fault"`
	BytesUp        uint64     `json:"bytes_up"`
	BytesDown      uint64     `json:"bytes_down"`
	Since          *time.Time `json:"since,omitempty" doc:"Since when its health is so"`
	Probe          string     `json:"probe,omitempty" enum:"up,down,unknown,degraded" doc:"The last probe"`
	Reason         string     `json:"reason,omitempty" doc:"What the last probe said, unless up"`
	Override       *Override  `json:"override,omitempty" doc:"What differs from the file by a person's will"`
}

// Override is what a person changed of a backend.
type Override struct {
	Mode           string `json:"mode,omitempty"`
	Weight         *int   `json:"weight,omitempty"`
	MaxConnections *int   `json:"max_connections,omitempty"`
	Added          bool   `json:"added,omitempty" doc:"The file does not have the backend"`
	Removed        bool   `json:"removed,omitempty" doc:"The file has it"`
	Persisted      bool   `json:"persisted,omitempty" doc:"It survives a restart: the state file has it"`
	Idle           bool   `json:"idle,omitempty" doc:"It is without effect: the file has no such backend"`
}

// BackendOverride is an Override with whose it is.
type BackendOverride struct {
	Pool    string `json:"pool"`
	Backend string `json:"backend"`
	Override
}

// NewBackend is a backend to add.
type NewBackend struct {
	Address        string `json:"address" doc:"host:port, [v6]:port or unix:/path" example:"10.0.0.13:5432"`
	Name           string `json:"name,omitempty" doc:"Unique in the pool; by default the address"`
	Weight         *int   `json:"weight,omitempty" doc:"0..256; by default 1"`
	MaxConnections int    `json:"max_connections,omitempty" doc:"0..10000000; 0 = no limit"`
	Backup         bool   `json:"backup,omitempty" doc:"Used only while no other is usable"`
}

// Settings change a backend; what is left out stays.
type Settings struct {
	Mode           *string `json:"mode,omitempty" enum:"ready,drain,maintenance"`
	Weight         *int    `json:"weight,omitempty" doc:"0..256"`
	MaxConnections *int    `json:"max_connections,omitempty" doc:"0..10000000; 0 = no limit"`
}

// Change is one difference that a reload made, or would make.
type Change struct {
	Key string `json:"key" example:"pool.postgres.backend.pg-1.weight"`
	Old string `json:"old"`
	New string `json:"new"`

	Restart    bool `json:"restart,omitempty" doc:"It takes effect at the next start of the process"`
	Overridden bool `json:"overridden,omitempty" doc:"It has no effect while an override lies over it"`
}

func newListener(l *server.ListenerSnapshot) Listener {
	out := Listener{
		Name: l.Name, Pool: l.Pool, Removed: l.Removed, Addresses: []string{}, Active: l.Active, Sessions: l.Sessions,
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
	out := Pool{
		Name: p.Name, Removed: p.Removed, Usable: p.Usable,
		Quorum: p.Quorum, Split: p.Split, Refusing: p.Refusing, Held: p.Held, Backends: []Backend{},
	}
	for i := range p.Leaving {
		out.Leaving = append(out.Leaving, newBackend(&p.Leaving[i]))
	}
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
		Weight: b.Weight, MaxConnections: b.MaxConnections, Backup: b.Backup, Active: b.Active,
		Sessions: b.Sessions, Dials: b.Dials, DialFailures: b.DialFailures, BytesUp: b.Up, BytesDown: b.Down,
	}
	if b.Removed {
		out.Mode = "removed"
	}
	out.judge(b)
	if c := &b.Check; c.ID != "" {
		out.Since = &c.Since
		if !c.LastAt.IsZero() {
			out.Probe, out.Reason = c.Last.Verdict.String(), c.Last.Text()
		}
	}
	return out
}

// judge fills in what was worked out about the backend, and what it told of itself.
func (out *Backend) judge(b *server.BackendSnapshot) {
	r, f := &b.Ruling, &b.Ruling.Facts
	out.Breaker, out.Ejections, out.Held = r.Breaker.String(), r.Ejections, r.Held
	if !r.Until.IsZero() {
		out.BreakerUntil = &r.Until
	}
	out.Effective = float64(b.EffectiveWeight()) / 100
	out.Role, out.Timeline, out.ServerVersion = f.Role.String(), f.Timeline, f.Version
	if f.HasLag && f.Lag.Bytes >= 0 {
		out.LagBytes = &f.Lag.Bytes
	}
	if f.HasLag && f.Lag.Time >= 0 {
		seconds := f.Lag.Time.Seconds()
		out.LagSeconds = &seconds
	}
}

func newOverride(o *server.Override) *Override {
	out := &Override{Weight: o.Weight, MaxConnections: o.MaxConnections, Added: o.Added, Removed: o.Removed, Persisted: o.Persisted, Idle: o.Idle}
	if o.Mode != balancer.Ready {
		out.Mode = o.Mode.String()
	}
	return out
}

func newChanges(changes []config.Change) []Change {
	out := make([]Change, len(changes))
	for i, c := range changes {
		out[i] = Change{c.Path, c.Old, c.New, c.Restart, c.Overridden}
	}
	return out
}
