package standing

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
)

// rig is a pool with its backends and a clock.
type rig struct {
	t        *testing.T
	pool     Pool
	options  Options
	members  []Member
	balancer *balancer.Pool
	now      time.Time
	last     Outcome
}

// newRig has a backend for each name; one that ends in "*" is a backup.
func newRig(t *testing.T, o Options, names ...string) *rig {
	t.Helper()
	r := &rig{t: t, options: o, now: epoch}
	var specs []balancer.Spec
	for _, name := range names {
		specs = append(specs, balancer.Spec{
			Name: strings.TrimSuffix(name, "*"), Weight: 10, MaxConnections: 200, Backup: strings.HasSuffix(name, "*"),
			NeedsProbe: o.Role != healthcheck.RoleUnknown,
		})
	}
	b, err := balancer.New(balancer.Options{}, specs)
	if err != nil {
		t.Fatal(err)
	}
	r.balancer = b
	for _, row := range b.Backends() {
		r.members = append(r.members, Member{Backend: row.Backend, Spec: row.Spec})
	}
	r.configure()
	return r
}

func (r *rig) configure() {
	r.pool.Configure(r.options, r.members, r.now)
	r.settle()
}

func (r *rig) settle() {
	r.last = r.pool.Settle(r.now)
	r.balancer.SetStandings(r.last.Standings)
}

func (r *rig) backend(name string) *balancer.Backend {
	for _, m := range r.members {
		if m.Spec.Name == name {
			return m.Backend
		}
	}
	r.t.Fatalf("no backend %s", name)
	return nil
}

func (r *rig) after(d time.Duration) { r.now = r.now.Add(d); r.settle() }

func (r *rig) up(names ...string) {
	for _, name := range names {
		r.pool.SetHealth(r.backend(name), balancer.Up, "")
		r.settle()
	}
}

func (r *rig) down(name string) {
	r.pool.Probed(r.backend(name), healthcheck.Result{Verdict: healthcheck.Down}, r.now)
	r.pool.SetHealth(r.backend(name), balancer.Down, "timeout")
	r.settle()
}

func (r *rig) tells(name string, f healthcheck.Facts) {
	r.pool.Probed(r.backend(name), healthcheck.Result{Verdict: healthcheck.Up, Facts: f}, r.now)
	r.settle()
}

func (r *rig) hear(name string, w Word, ticket uint32) {
	r.pool.Hear(r.backend(name), w, ticket, "5 in a row", r.now)
	r.settle()
}

// want checks who may have sessions, as the balancer sees it.
func (r *rig) want(what string, names ...string) {
	r.t.Helper()
	var got []string
	for _, row := range r.balancer.Backends() {
		if row.Usable {
			got = append(got, row.Name)
		}
		if words := r.pool.Ruling(row.Backend).Excluded; (words == "") != row.Usable {
			r.t.Errorf("%s: %s is usable: %v, but excluded because %q", what, row.Name, row.Usable, words)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		r.t.Errorf("%s: %v are usable; want %v", what, got, names)
	}
}

func primary(timeline uint32) healthcheck.Facts {
	return healthcheck.Facts{Role: healthcheck.RolePrimary, Timeline: timeline}
}

var replica = healthcheck.Facts{Role: healthcheck.RoleReplica, Timeline: 1}

func TestBreakerOfAPool(t *testing.T) {
	o := Options{Breaker: breakerOptions()}
	t.Run("opens, is tried, closes", func(t *testing.T) {
		r := newRig(t, o, "a", "b")
		r.up("a", "b")
		r.hear("a", ConnectsFail, 0)
		r.want("open", "b")
		if len(r.last.Opened) != 1 || r.last.Changes[0].Reason != "5 in a row" {
			t.Errorf("got %+v; want one breaker that opened, and why", r.last)
		}
		if !r.last.Next.Equal(r.now.Add(10 * time.Second)) {
			t.Errorf("next at %s; want when the trials begin", r.last.Next)
		}
		r.after(10 * time.Second)
		r.want("half-open", "a", "b")
		r.hear("a", TrialConnected, 7)
		r.after(Early - 1)
		if s := r.pool.Ruling(r.backend("a")).Breaker; s != HalfOpen {
			t.Errorf("before a second: %s; want half-open", s)
		}
		r.after(1)
		if s := r.pool.Ruling(r.backend("a")).Breaker; s != Closed {
			t.Errorf("after a second: %s; want closed", s)
		}
	})
	t.Run("a trial that ended in between tells nothing", func(t *testing.T) {
		r := newRig(t, o, "a", "b")
		r.up("a", "b")
		r.hear("a", SessionsBreak, 0)
		r.after(10 * time.Second)
		r.hear("a", TrialConnected, 7)
		r.hear("a", TrialOver, 7)
		r.after(time.Hour)
		if s := r.pool.Ruling(r.backend("a")).Breaker; s != HalfOpen {
			t.Errorf("got %s; want half-open", s)
		}
		r.hear("a", TrialFailed, 8)
		r.want("open again", "b")
	})
	t.Run("a trial of an earlier time tells nothing when it ends", func(t *testing.T) {
		r := newRig(t, o, "a", "b")
		r.up("a", "b")
		r.hear("a", ConnectsFail, 0)
		r.after(10 * time.Second)
		r.hear("a", TrialConnected, 7)
		r.after(Early)
		r.hear("a", ConnectsFail, 0)
		r.after(time.Minute)
		r.hear("a", TrialPassed, 7)
		if s := r.pool.Ruling(r.backend("a")).Breaker; s != HalfOpen {
			t.Errorf("got %s; want half-open", s)
		}
	})
	t.Run("a trial that is overtaken leaves no reason", func(t *testing.T) {
		r := newRig(t, o, "a", "b")
		r.up("a", "b")
		r.hear("a", SessionsBreak, 0)
		r.after(10 * time.Second)
		r.hear("a", TrialConnected, 7)
		r.pool.Release(r.backend("a"), r.now)
		r.hear("a", ConnectsFail, 0)
		r.after(Early)
		if got, want := r.pool.Ruling(r.backend("a")).Excluded, "breaker open: 5 in a row"; got != want {
			t.Errorf("excluded because %q; want %q", got, want)
		}
	})
	t.Run("never more than max_ejected_percent", func(t *testing.T) {
		r := newRig(t, o, "a", "b", "c", "d", "e")
		r.up("a", "b", "c", "d", "e")
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			r.hear(name, ConnectsFail, 0)
		}
		r.want("half of five", "c", "d", "e")
	})
	t.Run("those that are out anyway do not make room", func(t *testing.T) {
		r := newRig(t, o, "a", "b", "c")
		r.up("a")
		r.down("b")
		r.down("c")
		r.hear("a", ConnectsFail, 0)
		r.want("the only one that could serve", "a")
	})
	t.Run("a person closes it", func(t *testing.T) {
		r := newRig(t, o, "a", "b")
		r.up("a", "b")
		r.hear("a", ConnectsFail, 0)
		r.pool.Release(r.backend("a"), r.now)
		r.settle()
		r.want("released", "a", "b")
	})
	t.Run("a probe that began afterwards closes it", func(t *testing.T) {
		r := newRig(t, o, "a", "b")
		r.up("a", "b")
		r.hear("a", ConnectsFail, 0)
		r.now = r.now.Add(time.Second)
		r.tells("a", healthcheck.Facts{})
		r.want("probed", "a", "b")
	})
}

func TestFence(t *testing.T) {
	of := func(f Fence) Options { return Options{Role: healthcheck.RolePrimary, Fence: f} }
	two := func(t *testing.T, f Fence) *rig {
		r := newRig(t, of(f), "a", "b")
		r.want("before a probe")
		r.tells("a", primary(1))
		r.up("a")
		r.want("one primary", "a")
		return r
	}
	t.Run("the highest timeline wins", func(t *testing.T) {
		r := two(t, HighestTimeline)
		r.tells("b", primary(2))
		r.want("b is not up yet, a may not go on")
		r.up("b")
		r.want("split", "b")
		if s := r.pool.Split(); s.String() != "a (timeline 1), b (timeline 2)" || s.Refusing {
			t.Errorf("split %q, refusing %v", s.String(), s.Refusing)
		}
		r.tells("a", replica)
		r.want("a is a replica", "b")
		if s := r.pool.Split(); len(s.Claims) > 0 {
			t.Errorf("split %q; want none", s.String())
		}
	})
	t.Run("a tie is refused", func(t *testing.T) {
		r := two(t, HighestTimeline)
		r.tells("b", primary(1))
		r.up("b")
		r.want("tie")
		if len(r.last.Changes) > 0 || !r.pool.split.Refusing {
			t.Errorf("got %+v, %+v; want it told already, and refusing", r.last.Changes, r.pool.split)
		}
		r.tells("b", replica)
		r.want("over", "a")
	})
	t.Run("on_split refuse refuses the highest too", func(t *testing.T) {
		r := two(t, Refuse)
		r.tells("b", primary(2))
		r.up("b")
		r.want("split")
	})
	t.Run("one that was behind is not used because the other died", func(t *testing.T) {
		r := two(t, HighestTimeline)
		r.tells("b", primary(2))
		r.up("b")
		r.down("b")
		r.want("b died")
		r.pool.Release(r.backend("a"), r.now)
		r.settle()
		r.want("a person's word", "a")
	})
	t.Run("one that does not answer gives way", func(t *testing.T) {
		r := two(t, HighestTimeline)
		r.pool.Probed(r.backend("a"), healthcheck.Result{Verdict: healthcheck.Down}, r.now)
		r.settle()
		r.want("a missed a probe", "a")
		r.tells("b", primary(2))
		r.up("b")
		r.want("b was promoted", "b")
	})
	misses := func(r *rig, names ...string) {
		for _, name := range names {
			r.pool.Probed(r.backend(name), healthcheck.Result{Verdict: healthcheck.Down}, r.now)
		}
		r.settle()
	}
	t.Run("one that was behind stays out while both miss a probe", func(t *testing.T) {
		r := two(t, HighestTimeline)
		r.tells("b", primary(2))
		r.up("b")
		misses(r, "a", "b")
		r.want("both silent", "b")
		r.tells("a", primary(1))
		r.want("the one that is behind answers first", "b")
	})
	t.Run("a tie stays one while one of the two misses a probe", func(t *testing.T) {
		r := two(t, HighestTimeline)
		r.tells("b", primary(1))
		r.up("b")
		misses(r, "a")
		r.want("one silent")
		misses(r, "b")
		r.want("both silent")
	})
	t.Run("a demoted primary is out at its first word of it", func(t *testing.T) {
		r := two(t, HighestTimeline)
		r.pool.Probed(r.backend("a"), healthcheck.Result{Verdict: healthcheck.Down, Facts: replica}, r.now)
		r.settle()
		r.want("a is still up")
		if len(r.last.Lost) != 1 {
			t.Errorf("lost %v; want a", r.last.Lost)
		}
	})
}

func TestFailback(t *testing.T) {
	o := Options{Manual: true, Breaker: breakerOptions()}
	t.Run("a recovered one waits for a person", func(t *testing.T) {
		r := newRig(t, o, "a", "x*")
		r.up("a", "x")
		r.down("a")
		r.want("backup serves", "x")
		r.up("a")
		r.want("a is back", "x")
		r.down("x")
		r.want("no panic: a stays out")
		r.pool.Release(r.backend("a"), r.now)
		r.settle()
		r.want("ready", "a")
	})
	t.Run("so does one whose breaker was open", func(t *testing.T) {
		r := newRig(t, o, "a", "x*")
		r.up("a", "x")
		r.hear("a", ConnectsFail, 0)
		r.after(10 * time.Second)
		r.want("half-open", "x")
	})
	t.Run("no backup served: nobody waits", func(t *testing.T) {
		r := newRig(t, o, "a", "b", "x*")
		r.up("a", "b", "x")
		r.down("a")
		r.up("a")
		r.want("a is back", "a", "b", "x")
	})
	t.Run("the start is no recovery", func(t *testing.T) {
		pools := o
		pools.Role = healthcheck.RolePrimary
		r := newRig(t, pools, "a", "x*")
		r.up("x", "a")
		r.want("both are new", "a", "x")
	})
	t.Run("nor is a person's drain", func(t *testing.T) {
		r := newRig(t, o, "a", "x*")
		r.up("a", "x")
		for _, mode := range []balancer.Mode{balancer.Drain, balancer.Ready} {
			r.members[0].Mode = mode
			r.balancer.SetMode(r.backend("a"), mode)
			r.configure()
		}
		r.want("ready again", "a", "x")
	})
	t.Run("auto does not wait", func(t *testing.T) {
		r := newRig(t, Options{}, "a", "x*")
		r.up("a", "x")
		r.down("a")
		r.up("a")
		r.want("a is back", "a", "x")
	})
}

func TestSlowStart(t *testing.T) {
	r := newRig(t, Options{SlowStart: 100 * time.Second}, "a", "b")
	got := func() (int, int) {
		s := r.balancer.Backends()[0]
		return s.EffectiveWeight(), s.Limit
	}
	r.up("a", "b")
	if w, _ := got(); w != 1000 {
		t.Errorf("at the start: weight %d hundredths; want all of it", w)
	}
	r.down("a")
	r.up("a")
	for _, step := range []struct {
		after         time.Duration
		weight, limit int
	}{{0, 10, 2}, {25 * time.Second, 250, 50}, {25 * time.Second, 500, 100}, {49 * time.Second, 990, 198}, {time.Second, 1000, 200}} {
		r.after(step.after)
		if w, l := got(); w != step.weight || l != step.limit {
			t.Errorf("%s after recovery: weight %d hundredths, limit %d; want %d, %d", r.now.Sub(epoch), w, l, step.weight, step.limit)
		}
	}
	if !r.last.Next.IsZero() {
		t.Errorf("next at %s; want never", r.last.Next)
	}
}

func TestAgent(t *testing.T) {
	r := newRig(t, Options{}, "a")
	r.up("a")
	r.tells("a", healthcheck.Facts{Wish: healthcheck.WishDrain})
	r.want("drain")
	r.tells("a", healthcheck.Facts{})
	r.want("no word of it: still drain")
	r.tells("a", healthcheck.Facts{Wish: healthcheck.WishReady, Share: 50, MaxConnections: 30})
	r.want("ready", "a")
	if s := r.balancer.Backends()[0]; s.EffectiveWeight() != 500 || s.Limit != 30 {
		t.Errorf("weight %d hundredths, limit %d; want 500, 30", s.EffectiveWeight(), s.Limit)
	}
	r.tells("a", healthcheck.Facts{MaxConnections: 1000})
	if s := r.balancer.Backends()[0]; s.Limit != 200 {
		t.Errorf("limit %d; want the configured 200 at most", s.Limit)
	}
}

// Who wins, in the order of docs/health.md: each row adds an objection that is
// stronger than all before it.
func TestWhoWins(t *testing.T) {
	o := Options{Role: healthcheck.RolePrimary, Fence: HighestTimeline, Breaker: breakerOptions(), Manual: true}
	r := newRig(t, o, "a", "b", "x*")
	r.tells("a", primary(2))
	r.up("a", "b", "x")
	a := r.backend("a")
	steps := []struct {
		want Cause
		do   func()
	}{
		{NoCause, func() {}},
		{ByFence, func() { r.tells("b", primary(3)) }},
		{ByHealth, func() { r.down("a") }},
		{ByRole, func() { r.tells("a", replica) }},
		{ByBreaker, func() { r.pool.index[a].breaker.Trip(&o.Breaker, r.now); r.configure() }},
		{ByAgent, func() { r.tells("a", healthcheck.Facts{Wish: healthcheck.WishDrain}) }},
		{ByWeight, func() { r.members[0].Spec.Weight = 0; r.configure() }},
		{ByMode, func() { r.members[0].Mode = balancer.Drain; r.configure() }},
	}
	for _, step := range steps {
		step.do()
		if got := r.pool.Ruling(a); got.Cause != step.want {
			t.Errorf("got cause %d (%s); want %d", got.Cause, got.Excluded, step.want)
		}
	}
}
