package config

import (
	"net/netip"
	"time"
)

// Limits bound the process as a whole.
type Limits struct {
	// MaxConnections bounds the sessions at one time, 0..10000000; at the
	// bound, new clients wait in the kernel's backlog. 0 is what the limit of
	// file descriptors allows.
	MaxConnections int `toml:"max_connections"`

	// Memory is what the process may have in memory as its own, as docs/limits.md
	// says; near it, new clients are refused. 0 is no ceiling, else at least 64 MiB.
	Memory Size `toml:"memory"`

	// SourceEntries is how many sources are known at one time, 1024..16777216.
	SourceEntries int `toml:"source_entries"`
}

// Access says by its address whether a client may come in.
type Access struct {
	// Allow and Deny are networks; of those that an address is in, the longest
	// decides, and one that is in both denies.
	Allow []netip.Prefix `toml:"allow"`
	Deny  []netip.Prefix `toml:"deny"`

	// AllowFiles and DenyFiles name files with more of them; see ParsePrefixes.
	AllowFiles Files `toml:"allow_files"`
	DenyFiles  Files `toml:"deny_files"`

	// Default is AccessAllow or AccessDeny, for addresses that are in none; see
	// DenyOthers for empty.
	Default string `toml:"default"`

	// DryRun only counts who would be refused.
	DryRun bool `toml:"dry_run"`
}

// Values of Access.Default.
const (
	AccessAllow = "allow"
	AccessDeny  = "deny"
)

// Files are paths, as the process may open them.
type Files []string

// IsZero tells that everybody may come in.
func (a *Access) IsZero() bool {
	return len(a.Allow)+len(a.Deny)+len(a.AllowFiles)+len(a.DenyFiles) == 0 && a.Default != AccessDeny
}

// DenyOthers is what becomes of an address that is in no network: as Default says,
// else it is denied where there are lists of whom to allow and none of whom to deny.
func (a *Access) DenyOthers() bool {
	if a.Default != "" {
		return a.Default == AccessDeny
	}
	return len(a.Allow)+len(a.AllowFiles) > 0 && len(a.Deny)+len(a.DenyFiles) == 0
}

// ListenerLimits bound what a listener takes in, from all clients together and
// from each source.
type ListenerLimits struct {
	Bandwidth

	Connections int `toml:"connections"` // at one time; 0 is no limit
	Rate        int `toml:"rate"`        // new ones per second; 0 is no limit
	Burst       int `toml:"burst"`       // 0 is Rate

	// Action is one of Actions; the others replace it for one limit, unless
	// they are empty.
	Action            string `toml:"action"`
	ConnectionsAction string `toml:"connections_action"`
	RateAction        string `toml:"rate_action"`

	// MaxDelay and MaxDelayed bound how long and how many clients are held by
	// ActionDelay, of the sources' limits as well.
	MaxDelay   time.Duration `toml:"max_delay"`
	MaxDelayed int           `toml:"max_delayed"`

	// DryRun only counts what the limits of this table would do.
	DryRun bool `toml:"dry_run"`

	Source SourceLimits `toml:"source"`
}

// SourceLimits bound each source of a listener.
type SourceLimits struct {
	Connections int `toml:"connections"`
	Rate        int `toml:"rate"`
	Burst       int `toml:"burst"`

	Action            string `toml:"action"`
	ConnectionsAction string `toml:"connections_action"`
	RateAction        string `toml:"rate_action"`

	// PrefixV4 and PrefixV6 are the leading bits of an address that make a
	// source, 1..32 and 1..128.
	PrefixV4 int `toml:"prefix_v4"`
	PrefixV6 int `toml:"prefix_v6"`

	DryRun bool `toml:"dry_run"`
}

// PoolLimits bound what each backend of a pool gets.
type PoolLimits struct {
	Rate       int           `toml:"rate"`  // new connections per second; 0 is no limit
	Burst      int           `toml:"burst"` // 0 is Rate
	Action     string        `toml:"action"`
	MaxDelay   time.Duration `toml:"max_delay"`
	MaxDelayed int           `toml:"max_delayed"`
	DryRun     bool          `toml:"dry_run"`
}

// Values of an action.
const (
	ActionRefuse = "refuse" // reset at once
	ActionDelay  = "delay"  // held until it fits
)

// Actions returns what a limit can do.
func Actions() []string { return []string{ActionRefuse, ActionDelay} }

func defaultListenerLimits() ListenerLimits {
	return ListenerLimits{
		Action: ActionRefuse, MaxDelay: 5 * time.Second, MaxDelayed: 1000,
		Source: SourceLimits{Action: ActionRefuse, PrefixV4: 32, PrefixV6: 64},
	}
}

// Where is where the value at a path such as listener[0].access.deny[2] was
// written: FILE and LINE, or the flag; file is empty for a default.
func (c *Config) Where(path string) (file string, line int) {
	p := c.source.problem(path, "")
	if p.Line == 0 && p.Path != path {
		return p.Path, 0
	}
	return p.File, p.Line
}
