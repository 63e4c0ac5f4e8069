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
		Timeouts: Timeouts{HalfClose: 30 * time.Second},
		Limits:   defaultListenerLimits(),
	}
}

// DefaultPool returns a pool with every default; what is required (name and
// backends) is empty.
func DefaultPool() Pool {
	return Pool{
		Algorithm: []string{algorithmLeastConnections},
		WhenDown:  WhenDownReset,
		Connect:   Connect{Timeout: 5 * time.Second, Attempts: 3},
		Health: Health{
			Type:     HealthTCP,
			Interval: 2 * time.Second,
			Timeout:  time.Second,
			Rise:     2,
			Fall:     3,
		},
		Limits: PoolLimits{Action: ActionDelay, MaxDelay: 5 * time.Second, MaxDelayed: 1000},
	}
}

// DefaultBackend returns a backend with every default; its address and name
// are empty.
func DefaultBackend() Backend { return Backend{Weight: 1} }

// settle fills in the defaults that depend on other values: a backend's name,
// and a probe's timeout under a short interval. It runs after the file and
// again after the flags, and changes nothing that was written.
func (c *Config) settle() {
	for i := range c.Pools {
		p := &c.Pools[i]
		h := &p.Health
		if h.Interval >= leastDuration && !c.source.written(poolPath(i)+".health.timeout") {
			h.Timeout = min(h.Timeout, h.Interval)
		}
		for j := range p.Backends {
			if b := &p.Backends[j]; b.Name == "" {
				b.Name = b.Address.String()
			}
		}
	}
}
