package config

import "slices"

// listeners checks the listeners, each by itself and by their names.
func (v *validator) listeners() {
	ls := v.c.Listeners
	if len(ls) == 0 {
		v.wrong("listener", "none is defined; want at least one [[listener]]")
	}
	for i, l := range ls {
		v.listener(listenerPath(i), l)
	}
	v.unique(namesOf(ls, func(l Listener) string { return l.Name }), listenerPath)
}

func (v *validator) listener(path string, l Listener) {
	v.name(path+".name", l.Name)
	if len(l.Listen) == 0 {
		v.wrong(path+".listen", `is missing; want one address or more, such as [":5432"]`)
	}
	v.inRange(path+".max_connections", l.MaxConnections, 0, maxConnections)
	v.zeroOrMore(path+".timeouts.idle", l.Timeouts.Idle)
	v.zeroOrMore(path+".timeouts.half_close", l.Timeouts.HalfClose)
	v.zeroOrMore(path+".timeouts.stall", l.Timeouts.Stall)
	v.zeroOrMore(path+".timeouts.max_lifetime", l.Timeouts.MaxLifetime)
	v.inRange(path+".timeouts.lifetime_jitter", l.Timeouts.LifetimeJitter, 0, 100)
	v.zeroOrMore(path+".user_timeout", l.UserTimeout)
	v.preset(path+".preset", l.Preset)
	v.keepalive(path+".keepalive", l.Keepalive)
	v.access(path+".access", l.Access)
	v.listenerLimits(path+".limits", l.Limits)
	v.poolOf(path+".pool", l.Pool)
}

// poolOf checks that the pool of a listener exists.
func (v *validator) poolOf(path, name string) {
	switch {
	case name == "":
		v.wrong(path, "is missing; want the name of a pool")
	case v.c.Pool(name) != nil:
	case len(v.c.Pools) == 0:
		v.wrong(path, "no pool is named %q; none is defined", name)
	default:
		pools := namesOf(v.c.Pools, func(p Pool) string { return p.Name })
		slices.Sort(pools)
		pools = slices.Compact(pools)
		v.wrong(path, "no pool is named %q%s", name, didYouMean(name, pools))
	}
}

// between checks what only shows between parts that are fine by themselves:
// who listens where, and whether a listener dials itself.
func (v *validator) between() {
	v.sharedAddresses()
	for i, l := range v.c.Listeners {
		v.ownBackend(i, l)
	}
}

// sharedAddresses checks that no address is listened on twice, by listeners or
// by the admin API.
func (v *validator) sharedAddresses() {
	type place struct {
		path string
		Address
	}
	places := []place{{"admin.listen", v.c.Admin.Listen.Address}}
	for i, l := range v.c.Listeners {
		for j, a := range l.Listen {
			places = append(places, place{index(listenerPath(i)+".listen", j), a})
		}
	}
	for i, p := range places {
		for _, q := range places[:i] {
			if p.Overlaps(q.Address) {
				v.wrong(p.path, "%s collides with %s of %s", p.Address, q.Address, v.where(q.path))
				break
			}
		}
	}
}

// ownBackend checks that no backend of a listener's pool is the listener: each
// client would come back as the next one, until no port is left.
func (v *validator) ownBackend(i int, l Listener) {
	for p, pool := range v.c.Pools {
		if pool.Name != l.Pool {
			continue
		}
		for b, backend := range pool.Backends {
			for _, a := range l.Listen {
				if backend.Address.reaches(a) {
					v.wrong(backendPath(p, b)+".address", "%s leads back to %s, which listens on %s",
						backend.Address, v.where(listenerPath(i)), a)
					break
				}
			}
		}
	}
}
