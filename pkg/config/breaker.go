package config

import "time"

// Breaker takes a backend whose own traffic fails out of the pool for a time,
// without waiting for its probes.
type Breaker struct {
	// Enabled is false to look at no traffic.
	Enabled bool `toml:"enabled"`

	// Failures is how many connects in a row that fail, or are slow, open the
	// breaker, 0..10000; 0 is never. What is this machine's own fault does not
	// count, nor do clients that leave.
	Failures int `toml:"failures"`

	// Resets is how many sessions in a row that the backend resets within their
	// first second open it, 0..10000; 0 is never.
	Resets int `toml:"resets"`

	// SlowConnect is how many times longer than the pool's median a connect takes
	// that counts as one that failed, 0 or 2..1000; 0 is never. None below
	// LeastSlowConnect counts.
	SlowConnect int `toml:"slow_connect"`

	// Ejection is how long the breaker stays open the first time; at least 1ms.
	// It doubles with every time, and shrinks with time without trouble.
	Ejection time.Duration `toml:"ejection"`

	// MaxEjection is how long it stays open at most; at least Ejection.
	MaxEjection time.Duration `toml:"max_ejection"`

	// MaxEjectedPercent bounds how many of the pool's backends that could serve are
	// out by their breakers at one time, 0..100.
	MaxEjectedPercent int `toml:"max_ejected_percent"`

	// TrustProbe lets a good probe close the breaker early.
	TrustProbe bool `toml:"trust_probe"`
}

// LeastSlowConnect is longer than any way around the earth and back, and shorter
// than the second after which a lost SYN is sent again.
const LeastSlowConnect = 500 * time.Millisecond

// DefaultBreaker returns the settings of an empty section.
func DefaultBreaker() Breaker {
	return Breaker{
		Enabled: true, Failures: 5, Resets: 10, SlowConnect: 10,
		Ejection: 10 * time.Second, MaxEjection: 5 * time.Minute,
		MaxEjectedPercent: 50, TrustProbe: true,
	}
}

// Values of Health.Initial.
const (
	InitialUnchecked = "unchecked"
	InitialUp        = "up"
	InitialDown      = "down"
)

// Values of Health.OnDown.
const (
	OnDownKeep = "keep"
	OnDownKill = "kill"
)

// Values of Pool.Failback.
const (
	FailbackAuto   = "auto"
	FailbackManual = "manual"
)

// Values of Pool.OnSplit.
const (
	OnSplitFence  = "fence"
	OnSplitRefuse = "refuse"
)

// Initials returns the values of Health.Initial.
func Initials() []string { return []string{InitialUnchecked, InitialUp, InitialDown} }

// OnDowns returns the values of Health.OnDown.
func OnDowns() []string { return []string{OnDownKeep, OnDownKill} }

// Failbacks returns the values of Pool.Failback.
func Failbacks() []string { return []string{FailbackAuto, FailbackManual} }

// OnSplits returns the values of Pool.OnSplit.
func OnSplits() []string { return []string{OnSplitFence, OnSplitRefuse} }
