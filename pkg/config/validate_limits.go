package config

import (
	"slices"
	"time"
)

const (
	leastMemory   = 64 << 20
	leastSources  = 1024
	mostSources   = 1 << 24
	maxLimitRate  = 1_000_000
	maxLimitBurst = 10_000_000
)

func (v *validator) limits() {
	l := v.c.Limits
	v.inRange("limits.max_connections", l.MaxConnections, 0, maxConnections)
	v.inRange("limits.source_entries", l.SourceEntries, leastSources, mostSources)
	if l.Memory < 0 || l.Memory > 0 && l.Memory < leastMemory {
		v.wrong("limits.memory", "%s is too little; want 0B, or %s or more", l.Memory, Size(leastMemory))
	}
}

// access checks the lists that are written here; files are read by who applies them.
func (v *validator) access(path string, a Access) {
	if a.Default != "" {
		v.oneOf(path+".default", a.Default, "value", []string{AccessAllow, AccessDeny})
	}
	v.filesOf(path+".allow_files", a.AllowFiles)
	v.filesOf(path+".deny_files", a.DenyFiles)
	if a.Default != "" && len(a.Allow)+len(a.Deny)+len(a.AllowFiles)+len(a.DenyFiles) == 0 {
		v.wrong(path+".default", "applies only beside lists; there are none")
	}
}

func (v *validator) filesOf(path string, files Files) {
	for i, f := range files {
		switch {
		case f == "":
			v.wrong(index(path, i), "is empty; want the path of a file")
		case slices.Contains(files[:i], f):
			v.wrong(index(path, i), "%q is there already", f)
		}
	}
}

func (v *validator) listenerLimits(path string, l ListenerLimits) {
	v.bandwidth(path, l.Bandwidth)
	v.quota(path, l.Connections, l.Rate, l.Burst)
	v.actions(path, l.Action, l.ConnectionsAction, l.RateAction)
	v.delay(path, l.MaxDelay, l.MaxDelayed)
	s := l.Source
	path += ".source"
	v.quota(path, s.Connections, s.Rate, s.Burst)
	v.actions(path, s.Action, s.ConnectionsAction, s.RateAction)
	v.inRange(path+".prefix_v4", s.PrefixV4, 1, 32)
	v.inRange(path+".prefix_v6", s.PrefixV6, 1, 128)
}

func (v *validator) poolLimits(path string, l PoolLimits) {
	v.quota(path, 0, l.Rate, l.Burst)
	v.oneOf(path+".action", l.Action, "action", Actions())
	v.delay(path, l.MaxDelay, l.MaxDelayed)
}

func (v *validator) quota(path string, connections, rate, burst int) {
	v.inRange(path+".connections", connections, 0, maxConnections)
	v.inRange(path+".rate", rate, 0, maxLimitRate)
	v.inRange(path+".burst", burst, 0, maxLimitBurst)
	if burst > 0 && rate == 0 {
		v.wrong(path+".burst", "applies only beside rate")
	}
}

func (v *validator) actions(path, all, connections, rate string) {
	v.oneOf(path+".action", all, "action", Actions())
	if connections != "" {
		v.oneOf(path+".connections_action", connections, "action", Actions())
	}
	if rate != "" {
		v.oneOf(path+".rate_action", rate, "action", Actions())
	}
}

func (v *validator) delay(path string, longest time.Duration, most int) {
	v.positive(path+".max_delay", longest)
	v.inRange(path+".max_delayed", most, 1, maxConnections)
}
