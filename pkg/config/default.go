package config

import "time"

// Default returns the configuration of an empty file: every default, no
// listener and no pool. Overlay can complete it; by itself it does not pass
// Validate.
func Default() *Config {
	return &Config{
		Log:      Log{Level: "info", Format: FormatAuto, Access: true},
		Engine:   Engine{Type: EngineAuto},
		Admin:    Admin{Listen: AdminListen{Default: true}},
		Shutdown: Shutdown{DrainTimeout: 30 * time.Second},
		Limits:   Limits{SourceEntries: 1 << 20},
	}
}

// DefaultListener returns a listener with every default; what is required
// (name, listen, pool) is empty.
func DefaultListener() Listener {
	return Listener{
		Timeouts:  Timeouts{HalfClose: 30 * time.Second, Stall: time.Hour, LifetimeJitter: 10},
		Keepalive: defaultKeepalive(),
		Limits:    defaultListenerLimits(),
	}
}

// DefaultPool returns a pool with every default; what is required (name and
// backends) is empty.
func DefaultPool() Pool {
	return Pool{
		Algorithm: []string{algorithmLeastConnections},
		WhenDown:  WhenDownReset,
		Failback:  FailbackAuto,
		OnSplit:   OnSplitFence,
		Connect:   Connect{Timeout: 5 * time.Second, Attempts: 3},
		Health: Health{
			Probe:    DefaultProbe(),
			Interval: 2 * time.Second,
			Timeout:  time.Second,
			Rise:     2,
			Fall:     3,
			Initial:  InitialUnchecked,
			OnDown:   OnDownKeep,
		},
		Breaker: DefaultBreaker(),
		Limits:  PoolLimits{Action: ActionDelay, MaxDelay: 5 * time.Second, MaxDelayed: 1000},
	}
}

// DefaultProbe returns a probe with every default, of type tcp.
func DefaultProbe() Probe {
	return Probe{
		Type:      HealthTCP,
		Role:      RoleAny,
		LagPolicy: LagDegrade,
		TLS:       ProbeTLS{Required: true, Verify: true, Warn: 14 * 24 * time.Hour},
		HTTP:      ProbeHTTP{Method: "GET", Path: "/", Status: []StatusRange{{200, 399}}},
	}
}

// DefaultBackend returns a backend with every default; its address and name
// are empty.
func DefaultBackend() Backend { return Backend{Weight: 1} }

// settle fills in the defaults that depend on other values: those of a listener's
// preset, a backend's name, a probe's timeout under a short interval, and that tls and
// https use TLS. It runs after the file and again after the flags, and changes nothing
// that was written.
func (c *Config) settle() {
	for i := range c.Listeners {
		c.usePreset(listenerPath(i), &c.Listeners[i])
	}
	for i := range c.Pools {
		p := &c.Pools[i]
		h := &p.Health
		if h.Interval >= leastDuration && !c.source.written(poolPath(i)+".health.timeout") {
			h.Timeout = min(h.Timeout, h.Interval)
		}
		c.settleProbe(poolPath(i)+".health", &h.Probe)
		for j := range h.Also {
			c.settleProbe(alsoPath(poolPath(i)+".health", j), &h.Also[j])
		}
		for j := range p.Backends {
			if b := &p.Backends[j]; b.Name == "" {
				b.Name = b.Address.String()
			}
		}
	}
}

func (c *Config) settleProbe(path string, p *Probe) {
	if !c.source.written(path + ".tls.enabled") {
		p.TLS.Enabled = p.Type == HealthTLS || p.Type == HealthHTTPS
	}
}
