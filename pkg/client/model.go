package client

import "time"

// Status is the process as a whole.
type Status struct {
	Version    string    `json:"version"` // version, commit and Go version
	Time       time.Time `json:"time"`    // of the answer
	Started    time.Time `json:"started"`
	Uptime     float64   `json:"uptime"` // seconds
	Engine     string    `json:"engine"` // splice, copy
	Loops      int       `json:"loops"`
	ConfigFile string    `json:"config_file,omitempty"`
	StateFile  string    `json:"state_file,omitempty"`
	Ready      bool      `json:"ready"`
	Reason     string    `json:"reason,omitempty"` // why it is not ready
	Sessions   int       `json:"sessions"`         // live
	Limit      int       `json:"limit"`            // most live sessions; 0 = none
	Listeners  int       `json:"listeners"`
	Pools      int       `json:"pools"`
	Overrides  int       `json:"overrides"` // backends that differ from the file
}

// Listener is one listener.
type Listener struct {
	Name      string            `json:"name"`
	Pool      string            `json:"pool"`
	Removed   bool              `json:"removed,omitempty"` // from the file; sessions still live
	Addresses []string          `json:"addresses"`
	Active    int               `json:"active"`
	Sessions  uint64            `json:"sessions"`
	Retries   uint64            `json:"retries"`
	BytesUp   uint64            `json:"bytes_up"`
	BytesDown uint64            `json:"bytes_down"`
	Reasons   map[string]uint64 `json:"reasons"` // ended sessions
	Refusals
}

// Refusals are the clients that a listener did not let in, by reason.
type Refusals struct {
	Held          int               `json:"held,omitempty"` // waiting for a limit
	Refused       map[string]uint64 `json:"refused,omitempty"`
	RefusedDryRun map[string]uint64 `json:"refused_dry_run,omitempty"`
	Delayed       map[string]uint64 `json:"delayed,omitempty"`
	Lately        []Refused         `json:"refused_lately,omitempty"` // the latest that was told of, one of each kind
}

// Refused is one client that a listener did not let in, and how many there were for the
// same reason: since the start, or since the event before.
type Refused struct {
	Reason string    `json:"reason"`
	DryRun bool      `json:"dry_run,omitempty"` // it was let in all the same
	Count  uint64    `json:"count"`
	Time   time.Time `json:"time"`
	Client string    `json:"client"`         // IP address, or unix
	Rule   string    `json:"rule,omitempty"` // of the access list, and where it stands
}

// Pool is one pool with its backends.
type Pool struct {
	Name     string    `json:"name"`
	Usable   int       `json:"usable"`             // backends that may have new sessions
	Quorum   int       `json:"quorum,omitempty"`   // usable ones below which it is not ready
	Split    string    `json:"split,omitempty"`    // who claims to be the primary, if several do
	Refusing bool      `json:"refusing,omitempty"` // because of that none is used
	Removed  bool      `json:"removed,omitempty"`  // from the file; sessions still live
	Held     int       `json:"held,omitempty"`     // waiting for a backend that is below its rate
	Backends []Backend `json:"backends"`
	Leaving  []Backend `json:"leaving,omitempty"` // removed, with sessions that still live
}

// Backend is one backend of a pool.
type Backend struct {
	Name           string     `json:"name"`
	Address        string     `json:"address"`
	Health         string     `json:"health"` // unchecked, up, down
	Mode           string     `json:"mode"`   // ready, drain, maintenance; removed while its last sessions live
	Usable         bool       `json:"usable"`
	Excluded       string     `json:"excluded"` // why it gets no new sessions
	Weight         int        `json:"weight"`   // 0..256
	Effective      float64    `json:"effective_weight"`
	MaxConnections int        `json:"max_connections"` // 0 = no limit
	Backup         bool       `json:"backup"`
	Active         int64      `json:"active"`
	Sessions       uint64     `json:"sessions"`
	Dials          uint64     `json:"dials"`
	DialFailures   uint64     `json:"dial_failures"`
	BytesUp        uint64     `json:"bytes_up"`
	BytesDown      uint64     `json:"bytes_down"`
	Since          *time.Time `json:"since,omitempty"`  // since when its health is so
	Probe          string     `json:"probe,omitempty"`  // the last one: up, down, unknown
	Reason         string     `json:"reason,omitempty"` // the last probe's words, unless up
	Override       *Override  `json:"override,omitempty"`

	Breaker       string     `json:"breaker,omitempty"` // closed, open, half-open
	BreakerUntil  *time.Time `json:"breaker_until,omitempty"`
	Ejections     uint64     `json:"ejections,omitempty"` // times that its breaker opened
	Held          bool       `json:"held,omitempty"`      // it waits for a person: mode ready lets it in
	Role          string     `json:"role,omitempty"`      // primary, replica
	Timeline      uint32     `json:"timeline,omitempty"`
	LagBytes      *int64     `json:"lag_bytes,omitempty"`
	LagSeconds    *float64   `json:"lag_seconds,omitempty"`
	ServerVersion string     `json:"server_version,omitempty"`
}

// Override is what a person changed of a backend, over the file.
type Override struct {
	Mode           string `json:"mode,omitempty"`
	Weight         *int   `json:"weight,omitempty"`
	MaxConnections *int   `json:"max_connections,omitempty"`
	Added          bool   `json:"added,omitempty"`
	Removed        bool   `json:"removed,omitempty"`
	Persisted      bool   `json:"persisted,omitempty"` // it survives a restart
	Idle           bool   `json:"idle,omitempty"`      // without effect: the file has no such backend
}

// BackendOverride is an Override with whose it is.
type BackendOverride struct {
	Pool    string `json:"pool"`
	Backend string `json:"backend"`
	Override
}

// NewBackend is a backend to add.
type NewBackend struct {
	Address        string `json:"address"`
	Name           string `json:"name,omitempty"`   // by default the address
	Weight         *int   `json:"weight,omitempty"` // by default 1
	MaxConnections int    `json:"max_connections,omitempty"`
	Backup         bool   `json:"backup,omitempty"`
}

// Settings change a backend; what is nil stays.
type Settings struct {
	Mode           *string `json:"mode,omitempty"`
	Weight         *int    `json:"weight,omitempty"`
	MaxConnections *int    `json:"max_connections,omitempty"`
}

// Change is one difference that a reload made, or would make.
type Change struct {
	Key        string `json:"key"`
	Old        string `json:"old"` // empty if there was none
	New        string `json:"new"` // empty if there is none
	Restart    bool   `json:"restart,omitempty"`
	Overridden bool   `json:"overridden,omitempty"`
}

// Session is one live session.
type Session struct {
	ID             string  `json:"id"`
	Listener       string  `json:"listener"`
	Pool           string  `json:"pool"`
	Backend        string  `json:"backend"`
	Client         string  `json:"client"` // IP address, or unix
	ClientPort     int     `json:"client_port"`
	BackendAddress string  `json:"backend_address"`
	State          string  `json:"state"` // dialing, open
	Age            float64 `json:"age"`
	Idle           float64 `json:"idle"`
	ConnectTime    float64 `json:"connect_time"`
	BytesUp        uint64  `json:"bytes_up"`
	BytesDown      uint64  `json:"bytes_down"`
}

// Sessions is a page of live sessions.
type Sessions struct {
	Total    int       `json:"total"` // that match, on this page or not
	Sessions []Session `json:"sessions"`
}

// Explanation says which backend a connection would get now, and why.
type Explanation struct {
	Listener   string      `json:"listener"`
	Pool       string      `json:"pool"`
	Client     string      `json:"client"`
	Backend    string      `json:"backend"` // the pick; empty if there is none
	Algorithm  string      `json:"algorithm"`
	Reason     string      `json:"reason"`
	RefusedBy  string      `json:"refused_by"`
	Outcome    string      `json:"outcome"` // served, refused, held, queued
	Candidates []Candidate `json:"candidates"`
}

// Candidate is one backend in an Explanation.
type Candidate struct {
	Backend         string     `json:"backend"`
	Address         string     `json:"address"`
	Health          string     `json:"health"`
	Mode            string     `json:"mode"`
	Weight          int        `json:"weight"`
	EffectiveWeight float64    `json:"effective_weight"`
	Active          int64      `json:"active"`
	MaxConnections  int        `json:"max_connections"`
	Load            float64    `json:"load"` // (active + 1) / weight
	Backup          bool       `json:"backup"`
	Tier            string     `json:"tier"`
	Usable          bool       `json:"usable"`
	Excluded        string     `json:"excluded"`
	Since           *time.Time `json:"since,omitempty"`
	Probe           string     `json:"probe,omitempty"`
	ProbeReason     string     `json:"probe_reason,omitempty"`
	ProbeAt         *time.Time `json:"probe_at,omitempty"`
	Breaker         string     `json:"breaker,omitempty"`
	Role            string     `json:"role,omitempty"`
}

// Event is a change that the server tells of.
type Event struct {
	ID       uint64    `json:"id"` // from 1 on, without gaps, in each process
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"`
	Listener string    `json:"listener,omitempty"`
	Pool     string    `json:"pool,omitempty"`
	Backend  string    `json:"backend,omitempty"`
	Old      string    `json:"old,omitempty"`
	New      string    `json:"new,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Refused  *Refused  `json:"refused,omitempty"` // of kind refused
}

// History is the last ten minutes.
type History struct {
	Step      float64                    `json:"step"` // seconds from one point to the next
	End       *time.Time                 `json:"end"`  // of the newest point; nil before the first one
	Pools     map[string]PoolHistory     `json:"pools"`
	Listeners map[string]ListenerHistory `json:"listeners"`
}

// PoolHistory is one pool's part of it.
type PoolHistory struct {
	Backends map[string]BackendHistory `json:"backends"`
}

// ListenerHistory are the points of a listener, oldest first.
type ListenerHistory struct {
	Active    []float64 `json:"active"`
	Sessions  []float64 `json:"sessions"`
	BytesUp   []float64 `json:"bytes_up"`
	BytesDown []float64 `json:"bytes_down"`
	Refused   []float64 `json:"refused"`
}

// BackendHistory are the points of a backend, oldest first.
type BackendHistory struct {
	Active    []float64  `json:"active"`
	Sessions  []float64  `json:"sessions"`
	BytesUp   []float64  `json:"bytes_up"`
	BytesDown []float64  `json:"bytes_down"`
	ConnectMS []*float64 `json:"connect_ms"` // nil: no connect in the step
	Failures  []float64  `json:"failures"`
}

// Config is the effective configuration, without secrets.
type Config struct {
	Config map[string]any `json:"config"` // under the keys of the file
	TOML   string         `json:"toml"`   // as a file would have it
}
