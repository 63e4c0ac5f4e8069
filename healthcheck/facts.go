package healthcheck

import "time"

// Facts are what a server told of itself while it was probed. The zero value is a
// server that told nothing; each field is zero where the probe does not ask.
type Facts struct {
	// Role is what the server is among its replicas.
	Role Role

	// Timeline is PostgreSQL's timeline ID, from 1 on: each promotion begins a
	// higher one.
	Timeline uint32

	// Lag is how far a replica is behind its primary, if HasLag.
	Lag    Lag
	HasLag bool

	// Version is the server's own word for its version.
	Version string

	// NotAfter is when the server's TLS certificate expires.
	NotAfter time.Time

	// Share is the part of its weight that the server should get, in percent from 1
	// on, possibly above 100; 0 is all of it (as 100). A probe that says less than
	// 100 has the verdict Degraded.
	Share int

	// Wish is what an agent on the server asks for; it is between a person's mode and
	// the verdict.
	Wish Wish

	// MaxConnections is the limit that an agent on the server asks for; 0 is none.
	MaxConnections int
}

// Role is what a server is among its replicas.
type Role uint8

const (
	RoleUnknown Role = iota // not asked, or not told
	RolePrimary             // takes writes
	RoleReplica             // follows a primary
)

// String is "", "primary" or "replica".
func (r Role) String() string {
	switch r {
	case RolePrimary:
		return "primary"
	case RoleReplica:
		return "replica"
	}
	return ""
}

// Lag is how far a replica is behind: in bytes of the log, in time, or both. What is
// not known is -1.
type Lag struct {
	Bytes int64
	Time  time.Duration
}

// Wish is a mode that an agent asks for.
type Wish uint8

const (
	WishNone        Wish = iota // no word of it
	WishReady                   // take it back in
	WishDrain                   // no new sessions
	WishMaintenance             // the same, and it is not a fault
)

// String is "", "ready", "drain" or "maintenance".
func (w Wish) String() string {
	switch w {
	case WishReady:
		return "ready"
	case WishDrain:
		return "drain"
	case WishMaintenance:
		return "maintenance"
	}
	return ""
}
