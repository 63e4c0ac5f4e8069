package config

// maxStreak is the longest streak that a breaker may wait for.
const maxStreak = 10_000

// states checks who may have sessions when: all that lies between health and a pick.
func (v *validator) states(path string, p Pool) {
	v.oneOf(path+".failback", p.Failback, "value", Failbacks())
	v.oneOf(path+".on_split", p.OnSplit, "value", OnSplits())
	v.oneOf(path+".health.initial", p.Health.Initial, "value", Initials())
	v.oneOf(path+".health.on_down", p.Health.OnDown, "value", OnDowns())
	v.zeroOrMore(path+".slow_start", p.SlowStart)
	if n := len(p.Backends); n > 0 {
		v.inRange(path+".quorum", p.Quorum, 0, n)
	}
	role := p.Health.WantedRole()
	if role != RolePrimary && p.OnSplit == OnSplitRefuse {
		v.wrong(path+".on_split", "applies only to a pool whose health.role is %q", RolePrimary)
	}
	if role != RoleAny && p.Health.Initial == InitialUp {
		v.wrong(path+".health.initial", "nobody is known to be the %s before a probe; want %q or %q", role, InitialUnchecked, InitialDown)
	}
	if p.Health.Type == HealthNone && p.Health.Initial == InitialDown {
		v.wrong(path+".health.initial", "nothing would ever bring a backend up: health.type is none")
	}
	v.breaker(path+".breaker", p.Breaker)
}

func (v *validator) breaker(path string, b Breaker) {
	v.inRange(path+".failures", b.Failures, 0, maxStreak)
	v.inRange(path+".resets", b.Resets, 0, maxStreak)
	if n := b.SlowConnect; n != 0 && (n < 2 || n > 1000) {
		v.wrong(path+".slow_connect", "%d is out of range 2..1000, or 0 for never", n)
	}
	v.positive(path+".ejection", b.Ejection)
	v.positive(path+".max_ejection", b.MaxEjection)
	if b.Ejection >= leastDuration && b.MaxEjection >= leastDuration && b.MaxEjection < b.Ejection {
		v.wrong(path+".max_ejection", "%s is shorter than the ejection of %s", b.MaxEjection, b.Ejection)
	}
	v.inRange(path+".max_ejected_percent", b.MaxEjectedPercent, 0, 100)
}
