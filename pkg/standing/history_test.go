package standing

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
)

// A history drives a whole pool with what chance says, and checks after each event
// what must hold whatever happened.
func TestHistory(t *testing.T) {
	options := []Options{
		{Breaker: breakerOptions(), SlowStart: 20 * time.Second},
		{Breaker: breakerOptions(), Manual: true, SlowStart: 5 * time.Second},
		{Breaker: breakerOptions(), Role: healthcheck.RolePrimary, Fence: HighestTimeline, Manual: true},
		{Breaker: breakerOptions(), Role: healthcheck.RolePrimary, Fence: Refuse},
		{Role: healthcheck.RoleReplica},
	}
	chance := seeded(t)
	for _, o := range options {
		r := newRig(t, o, "a", "b", "c", "d*", "e*")
		h := &history{rig: r, r: chance, before: map[*balancer.Backend]Ruling{}}
		h.note()
		for range 100_000 / len(options) {
			h.step()
			h.check()
			if t.Failed() {
				t.Fatalf("options %+v", o)
			}
			h.note()
		}
	}
}

type history struct {
	*rig
	r        *rand.Rand
	before   map[*balancer.Backend]Ruling
	released *balancer.Backend // by a person, in this step
	backups  bool              // they served before this step
}

func (h *history) note() {
	h.released, h.backups = nil, h.pool.backupsServe()
	for _, m := range h.members {
		h.before[m.Backend] = h.pool.Ruling(m.Backend)
	}
}

func (h *history) step() {
	h.now = h.now.Add(time.Duration(h.r.IntN(3000)) * time.Millisecond)
	i := h.r.IntN(len(h.members))
	b := h.members[i].Backend
	switch h.r.IntN(12) {
	case 0, 1:
		h.pool.SetHealth(b, balancer.Health(1+h.r.IntN(2)), "by chance")
	case 2, 3:
		h.pool.Probed(b, h.result(), h.now)
	case 4, 5:
		h.pool.Hear(b, Word(h.r.IntN(2)), 0, "by chance", h.now)
	case 6, 7:
		h.pool.Hear(b, TrialConnected+Word(h.r.IntN(4)), uint32(h.r.IntN(2)), "by chance", h.now)
	case 8:
		if h.r.IntN(10) == 0 {
			h.pool.Release(b, h.now)
			h.released = b
		}
	case 9:
		if h.r.IntN(4) == 0 {
			h.members[i].Mode = balancer.Mode(max(0, h.r.IntN(6)-3))
			h.balancer.SetMode(b, h.members[i].Mode)
			h.pool.Configure(h.options, h.members, h.now)
			h.released = b
		}
	}
	h.settle()
}

func (h *history) result() healthcheck.Result {
	return healthcheck.Result{
		Verdict: healthcheck.Verdict(h.r.IntN(healthcheck.NumVerdicts)),
		Took:    time.Duration(h.r.IntN(2000)) * time.Millisecond,
		Facts: healthcheck.Facts{
			Role: healthcheck.Role(h.r.IntN(3)), Timeline: uint32(1 + h.r.IntN(3)), Share: h.r.IntN(3) * 60,
			Wish: healthcheck.Wish(max(0, h.r.IntN(8)-4)), MaxConnections: h.r.IntN(2) * 30,
		},
	}
}

func (h *history) check() {
	ejected, primaries := 0, 0
	rows := h.balancer.Backends()
	for _, row := range rows {
		now, was := h.pool.Ruling(row.Backend), h.before[row.Backend]
		h.checkBreaker(row.Name, was, now)
		h.checkFailback(&row, was, now)
		if now.Breaker != Closed {
			ejected++
		}
		if row.Usable && now.Facts.Role == healthcheck.RolePrimary {
			primaries++
		}
		switch w := row.EffectiveWeight(); {
		case row.Usable != (now.Excluded == ""):
			h.t.Errorf("%s: usable %v, but excluded because %q", row.Name, row.Usable, now.Excluded)
		case row.Usable && (row.Health == balancer.Down || row.Mode != balancer.Ready || now.Breaker == Open):
			h.t.Errorf("%s is usable: %+v", row.Name, now)
		case row.Trial != (now.Breaker == HalfOpen && !row.Barred):
			h.t.Errorf("%s: trial %v while %s", row.Name, row.Trial, now.Breaker)
		case w < 1 || w > 1200 || row.Limit < 1 || row.Limit > 200:
			h.t.Errorf("%s: weight %d hundredths, limit %d; want 1..1200, 1..200", row.Name, w, row.Limit)
		case row.Usable && wrongRole(now.Facts.Role, h.options.Role):
			h.t.Errorf("%s is usable as a %s", row.Name, now.Facts.Role)
		}
	}
	if 2*ejected > len(rows) {
		h.t.Errorf("%d of %d are ejected; want half at most", ejected, len(rows))
	}
	if h.options.Fence != NoFence && primaries > 1 {
		h.t.Errorf("%d primaries are usable; want one at most", primaries)
	}
	if next := h.last.Next; !next.IsZero() && !next.After(h.now) {
		h.t.Errorf("next at %s, which is not after %s", next, h.now)
	}
}

func (h *history) checkBreaker(name string, was, now Ruling) {
	if was.Breaker == Closed && now.Breaker == HalfOpen {
		h.t.Errorf("%s: the breaker went from closed to half-open", name)
	}
	if opened := now.Breaker == Open && was.Breaker != Open; opened != (now.Ejections == was.Ejections+1) {
		h.t.Errorf("%s: from %s to %s with %d, then %d ejections", name, was.Breaker, now.Breaker, was.Ejections, now.Ejections)
	}
	if now.Breaker == HalfOpen && was.Breaker == Open && h.now.Before(was.Until) {
		h.t.Errorf("%s: half-open %s too early", name, was.Until.Sub(h.now))
	}
}

func (h *history) checkFailback(row *balancer.State, was, now Ruling) {
	switch {
	case now.Held && (row.Backup || !h.options.Manual):
		h.t.Errorf("%s is held", row.Name)
	case now.Held && row.Usable:
		h.t.Errorf("%s is held, and usable", row.Name)
	case now.Held && !was.Held && !h.backups:
		h.t.Errorf("%s is held, but no backup served", row.Name)
	case was.Held && !now.Held && h.released != row.Backend:
		h.t.Errorf("%s is not held any more, but nobody let it in", row.Name)
	}
}
