package config

import "time"

// Keepalive is how the kernel finds a peer that is gone without a word, on both
// connections of a session.
type Keepalive struct {
	// Idle is the silence before the first probe: whole seconds, 1s..9h.
	Idle time.Duration `toml:"idle"`

	// Interval is the time between two probes: whole seconds, 1s..9h.
	Interval time.Duration `toml:"interval"`

	// Count is how many probes without an answer are the end, 1..127.
	Count int `toml:"count"`
}

// The ranges of tcp(7): more than 32767 seconds or 127 probes, Linux refuses.
const (
	mostKeepalive       = 9 * time.Hour
	mostKeepaliveProbes = 127
)

func defaultKeepalive() Keepalive {
	return Keepalive{Idle: 60 * time.Second, Interval: 10 * time.Second, Count: 6}
}

func (v *validator) keepalive(path string, k Keepalive) {
	v.wholeSeconds(path+".idle", k.Idle)
	v.wholeSeconds(path+".interval", k.Interval)
	v.inRange(path+".count", k.Count, 1, mostKeepaliveProbes)
}

func (v *validator) wholeSeconds(path string, d time.Duration) {
	if d < time.Second || d > mostKeepalive || d%time.Second != 0 {
		v.wrong(path, "%s is out of range; want whole seconds, 1s..%s", d, shortDuration(mostKeepalive))
	}
}
