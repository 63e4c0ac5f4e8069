package server

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/proxy"
	"github.com/rs/zerolog"
)

// limited is a server whose listener has these tables.
func limited(t *testing.T, tables string) *Server {
	t.Helper()
	return start(t, parse(t, `
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "pool"
%s
[[pool]]
name = "pool"
health = { type = "none" }
backend = [{ address = %q }]
`, tables, newEcho(t, "127.0.0.1:0").Addr()))
}

// A refusal is counted, told as an event once in a while, and foreseen by Refusal.
func TestRefusalIsToldAndForeseen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deny.txt")
	if err := os.WriteFile(file, []byte("\n192.0.2.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := limited(t, `
access = { deny = ["198.51.100.0/24"], deny_files = ["`+file+`"] }
limits = { source = { connections = 1 } }`)
	for client, want := range map[string][2]string{
		"192.0.2.9":        {"access-denied", "deny 192.0.2.0/24 (" + file + ":2)"},
		"::ffff:192.0.2.9": {"access-denied", "deny 192.0.2.0/24 (" + file + ":2)"},
		"198.51.100.9":     {"access-denied", "deny 198.51.100.0/24 (test.toml:7)"},
		"127.0.0.1":        {"", ""},
	} {
		if name, rule, err := s.Refusal("front", netip.MustParseAddr(client)); name != want[0] || rule != want[1] || err != nil {
			t.Errorf("%s: got %q, %q, %v; want %q", client, name, rule, err, want)
		}
	}
	if _, _, err := s.Refusal("back", netip.Addr{}); err == nil {
		t.Error("an unknown listener: got no error")
	}

	c := dial(t, s)
	defer c.Close()
	if err := exchange(c); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := ask(s); err == nil {
			t.Error("a second session of the source was served")
		}
	}
	want := "127.0.0.1/32 has 1 of 1 sessions"
	if name, rule, _ := s.Refusal("front", netip.MustParseAddr("127.0.0.1")); name != "limit-source-connections" || rule != want {
		t.Errorf("got %q, %q; want %q", name, rule, want)
	}
	snap := s.Snapshot()
	if n := snap.Listeners[0].Refused[proxy.LimitSourceConnections]; n != 3 || snap.Sources.Entries != 1 {
		t.Errorf("%d refused, %d sources; want 3 and 1", n, snap.Sources.Entries)
	}
	eventually(t, "the event", func() bool {
		events, _ := s.Events(0)
		for _, e := range events {
			if e.Kind == EventRefused && e.Listener == "front" && e.New == "limit-source-connections" && strings.Contains(e.Reason, "127.0.0.1") {
				return e.Refused.Count > 0 && e.Refused.ClientText() == "127.0.0.1"
			}
		}
		return false
	})
	eventually(t, "all of them in a snapshot", func() bool {
		lately := s.Snapshot().Listeners[0].Lately
		return len(lately) == 1 && lately[0].Refusal == proxy.LimitSourceConnections && lately[0].Count == 3 && lately[0].ClientText() == "127.0.0.1"
	})
}

// Of each kind of refusal the latest is kept, with its rule, as long as its listener is.
func TestRefusedLately(t *testing.T) {
	s := limited(t, `access = { deny = ["127.0.0.0/8"] }`)
	if lately := s.Snapshot().Listeners[0].Lately; len(lately) != 0 {
		t.Errorf("at first: got %+v; want none", lately)
	}
	ask(s)
	var one []Refused
	eventually(t, "it is told", func() bool {
		one = s.Snapshot().Listeners[0].Lately
		return len(one) == 1
	})
	if want := "deny 127.0.0.0/8 (test.toml:6)"; one[0].Refusal != proxy.AccessDenied || one[0].Rule != want || one[0].DryRun {
		t.Errorf("got %+v; want access-denied by %s", one[0], want)
	}
	s.lately.forget(func(l *proxy.Listener) bool { return l.Name == "front" })
	if lately := s.Snapshot().Listeners[0].Lately; len(lately) != 0 {
		t.Errorf("of a listener that is gone: got %+v; want none", lately)
	}
}

// What becomes of a client depends on the limit that it meets, and on the limit's action.
func TestExplainedOutcome(t *testing.T) {
	for _, c := range []struct {
		name, tables string
		want         Outcome
		reason       string
	}{
		{"nothing is against it", "", OutcomeServed, "picks"},
		{"access list", `access = { allow = ["127.0.0.1/32"] }`, OutcomeRefused, "kept out (access-denied: "},
		{"refuse", `limits = { connections = 1 }`, OutcomeRefused, "kept out (limit-connections: "},
		{"delay", `limits = { connections = 1, action = "delay" }`, OutcomeHeld, "held until it fits (limit-connections: "},
		{"delay of a source", `limits = { source = { connections = 1, action = "delay" } }`, OutcomeHeld, "held until it fits (limit-source-connections: "},
		{"in a dry run", `limits = { connections = 1, dry_run = true }`, OutcomeServed, "picks"},
		{"the kernel's queue", "max_connections = 1", OutcomeQueued, "kept out as yet (limit: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := limited(t, c.tables)
			hold(t, s, "tcp", s.Addr("front").String(), 1)
			client := netip.MustParseAddr("127.0.0.1")
			if c.name == "access list" {
				client = client.Next()
			}
			e, err := s.Explain("front", client)
			if err != nil || e.Outcome != c.want || !strings.Contains(e.Reason, c.reason) {
				t.Errorf("got %s, %q, %v; want %s, %q", e.Outcome, e.Reason, err, c.want, c.reason)
			}
		})
	}
}

// An explanation names the rule, and the backends that are above their rate.
func TestExplainLimits(t *testing.T) {
	s := start(t, parse(t, `
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "pool"
access = { deny = ["192.0.2.0/24"] }
[[pool]]
name = "pool"
algorithm = "first"
health = { type = "none" }
limits = { rate = 1, burst = 1 }
backend = [{ name = "a", address = %q }, { name = "b", address = %q }]
`, newEcho(t, "127.0.0.1:0").Addr(), newEcho(t, "127.0.0.1:0").Addr()))
	e, err := s.Explain("front", netip.MustParseAddr("192.0.2.9"))
	if err != nil || e.RefusedBy != "access-denied: deny 192.0.2.0/24 (test.toml:6)" {
		t.Errorf("got %+v, %v; want the rule", e, err)
	}
	var one, both *Explanation
	for quick := false; !quick; { // a machine that takes a second for this has given the tokens back
		time.Sleep(time.Second)
		began := time.Now()
		ask(s)
		one, _ = s.Explain("front", netip.MustParseAddr("127.0.0.1"))
		ask(s)
		both, _ = s.Explain("front", netip.MustParseAddr("127.0.0.1"))
		quick = time.Since(began) < time.Second
	}
	if one.Backend != "b" || !strings.HasPrefix(one.Candidates[0].Excluded, "rate: ") {
		t.Errorf("got %s, and of a %q; want b, since a is above its rate", one.Backend, one.Candidates[0].Excluded)
	}
	if both.Backend != "" || !strings.Contains(both.Reason, "held until one is below its rate") {
		t.Errorf("got %q, %q; want no backend until one is below its rate", both.Backend, both.Reason)
	}
}

// A list that has got an error stops a reload, but not what a person does meanwhile.
func TestOverridesOverABrokenList(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deny.txt")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("192.0.2.0/24\n")
	s := limited(t, `access = { deny_files = ["`+file+`"] }`)
	write("192.0.2.0/33\n")
	weight := 7
	if err := s.SetBackend(t.Context(), "pool", s.Snapshot().Pools[0].Backends[0].Name, Settings{Weight: &weight}); err != nil {
		t.Errorf("a weight: got %v; want it changed", err)
	}
	again := *s.file
	again.Listeners = slices.Clone(again.Listeners) // as read anew
	if _, err := s.Apply(t.Context(), &again); err == nil || !strings.Contains(err.Error(), file+":1: ") {
		t.Errorf("a reload: got %v; want the file and the line", err)
	}
	if name, _, _ := s.Refusal("front", netip.MustParseAddr("192.0.2.9")); name != "access-denied" {
		t.Errorf("the list of before: got %q; want it in force", name)
	}
}

// The size of the table of sources cannot change while its places are in use.
func TestSourceEntriesStay(t *testing.T) {
	s := limited(t, "limits = { source = { connections = 1 } }")
	table := s.sources.Load()
	next := *s.file
	next.Limits.SourceEntries, next.Limits.MaxConnections = 5000, 9
	changes, err := s.Apply(t.Context(), &next)
	if err != nil || len(changes) != 2 || changes[0].Path != "limits.max_connections" || changes[0].Restart || !changes[1].Restart {
		t.Errorf("got %v, %v; want max_connections changed, and source_entries to wait for a restart", changes, err)
	}
	if s.sources.Load() != table || s.gate.Limit() != 9 {
		t.Errorf("another table, or a limit of %d; want the same table, and 9", s.gate.Limit())
	}
}

// A flood is told of once in a while, with how many there were, and at the end with
// the rest.
func TestRefusalsAreToldInTurns(t *testing.T) {
	l := proxy.NewListener("front", zerolog.Nop(), proxy.Conf{})
	var told tally
	start := time.Unix(0, 0)
	for _, step := range []struct {
		name   string
		at     time.Duration
		met    uint64
		rest   bool
		counts []uint64
		event  uint64 // 0: none
	}{
		{"nothing", 0, 0, false, nil, 0},
		{"the first", time.Second, 7, false, []uint64{7}, 7},
		{"a moment later", 2 * time.Second, 100, false, nil, 0},
		{"still", 5 * time.Second, 100, false, nil, 0},
		{"after the pause", 6 * time.Second, 1, false, []uint64{201}, 0},
		{"no more", 20 * time.Second, 0, false, nil, 0},
		{"another", 21 * time.Second, 2, false, []uint64{2}, 0},
		{"after the pause of events", 61 * time.Second, 1, false, []uint64{1}, 204},
		{"once more", 67 * time.Second, 2, false, []uint64{2}, 0},
		{"the rest", 68 * time.Second, 3, true, []uint64{3}, 5},
	} {
		l.Refused[proxy.LimitRate].Add(step.met)
		var counts []uint64
		for _, n := range told.due(l, start.Add(step.at), step.rest) {
			if n.refusal != proxy.LimitRate || n.dryRun {
				t.Errorf("%s: told of %v", step.name, n)
			}
			counts = append(counts, n.count)
			if n.event != step.event {
				t.Errorf("%s: an event of %d; want of %d", step.name, n.event, step.event)
			}
		}
		if !slices.Equal(counts, step.counts) {
			t.Errorf("%s: told of %v; want %v", step.name, counts, step.counts)
		}
	}
	l.DryRun[proxy.LimitRate].Add(1)
	if due := told.due(l, start.Add(69*time.Second), false); len(due) != 1 || !due[0].dryRun {
		t.Errorf("a dry run is told of as %v; want on its own", due)
	}
}

// The process's limit is the lower one of two.
func TestProcessLimit(t *testing.T) {
	for _, c := range []struct{ fits, configured, want int }{{100, 0, 100}, {100, 50, 50}, {100, 200, 100}, {0, 50, 50}, {0, 0, 0}} {
		if got := (&budget{sessions: c.fits}).limit(c.configured); got != c.want {
			t.Errorf("%d fit, %d configured: got %d; want %d", c.fits, c.configured, got, c.want)
		}
	}
}

// rename gives the first listener another name, or its name of before.
func rename(t *testing.T, s *Server, name string) {
	t.Helper()
	next := *s.file
	next.Listeners = slices.Clone(next.Listeners)
	next.Listeners[0].Name = name
	if _, err := s.Apply(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
}

// What a listener refused just before it was removed is told all the same: the event has
// those that are in no earlier one.
func TestRefusalsOfAListenerThatIsGone(t *testing.T) {
	s := limited(t, `access = { deny = ["127.0.0.0/8"] }`)
	l := s.state.Load().listeners[0]
	all := map[*proxy.Listener]*tally{l.front: {}}
	told := func() (n uint64, rule string) {
		events, _ := s.Events(0)
		for _, e := range events {
			if e.Kind == EventRefused && e.Refused.Rule != "" {
				n, rule = n+e.Refused.Count, e.Refused.Rule
			}
		}
		return n, rule
	}
	ask(s)
	eventually(t, "the first is told", func() bool { n, _ := told(); return n == 1 })
	s.tellRefused(all, time.Now(), false) // and by this test, which takes the watcher's place
	before, _ := told()
	ask(s)
	rename(t, s, "other")
	s.seeOffDue(time.Now().Add(pickGrace))
	s.tellRefused(all, time.Now(), false)
	if n, rule := told(); n <= before || rule != "deny 127.0.0.0/8 (test.toml:6)" {
		t.Errorf("got %d told of before and %d after it was removed, the last by %q; want the second one, and its rule", before, n, rule)
	}
	if len(all) != 1 || all[l.front] != nil {
		t.Errorf("got %d listeners; want only that which is there now", len(all))
	}
}

// A listener that is configured again while sessions of it live is the one that it was, and
// what was told of it is not told again. Of one that leaves all is told, too: clients that
// are held are refused until the last one is gone.
func TestRefusalsOfAListenerThatComesBack(t *testing.T) {
	s := limited(t, "") // without limits nobody else tells
	front := s.state.Load().listeners[0].front
	hold(t, s, "tcp", s.Addr("front").String(), 1)
	told := map[*proxy.Listener]*tally{}
	look := func() { s.tellRefused(told, time.Now(), true) }
	counts := func() (n uint64) {
		events, _ := s.Events(0)
		for _, e := range events {
			if e.Kind == EventRefused && e.Listener == "front" {
				n += e.Refused.Count
			}
		}
		return n
	}
	want := func(when string, n uint64) {
		t.Helper()
		if got := counts(); got != n {
			t.Errorf("%s: got %d refusals told; want %d", when, got, n)
		}
	}
	front.Refused[proxy.LimitRate].Add(3)
	look()
	want("while it is there", 3)
	rename(t, s, "other")
	look()
	want("when it has left", 3)
	front.Refused[proxy.LimitDelay].Add(2)
	look()
	want("of clients that it held", 5)
	rename(t, s, "front")
	look()
	want("when it is back", 5)
	if s.state.Load().listeners[0].front != front {
		t.Error("another listener came back; want the one that left, since a session of it lives")
	}
}

// A listener that comes back with other limits than it had counts who is still inside.
func TestLimitsOfAListenerThatComesBack(t *testing.T) {
	s := limited(t, "")
	conns := hold(t, s, "tcp", s.Addr("front").String(), 3)
	rename(t, s, "other")
	next := *s.file
	next.Listeners = slices.Clone(next.Listeners)
	next.Listeners[0].Name = "front"
	next.Listeners[0].Limits.Connections, next.Listeners[0].Limits.Source.Connections = 3, 3
	if _, err := s.Apply(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
	if err := ask(s); err == nil {
		t.Error("a fourth session was let in; want 3 at most")
	}
	conns[0].Close()
	eventually(t, "one that ended makes room", func() bool { return ask(s) == nil })
}
