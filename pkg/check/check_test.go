package check

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// prober is a function that probes.
type prober func(context.Context, healthcheck.Address) healthcheck.Result

func (p prober) Probe(ctx context.Context, a healthcheck.Address) healthcheck.Result {
	return p(ctx, a)
}

func always(v healthcheck.Verdict) prober {
	return func(_ context.Context, a healthcheck.Address) healthcheck.Result {
		return healthcheck.Result{Address: a, Verdict: v}
	}
}

// target is at 127.0.0.1:port, asked with p.
func target(port uint16, p healthcheck.Prober) Target {
	return Target{
		Address: config.Address{Network: config.TCP, Host: "127.0.0.1", Port: port},
		Health:  config.Health{Probe: config.DefaultProbe(), Timeout: 10 * time.Second}, Prober: p,
	}
}

func run(ctx context.Context, targets []Target, rounds int) (all []Outcome) {
	Run(ctx, targets, rounds, 0, func(o Outcome) { all = append(all, o) })
	return all
}

// The last target is the first to answer, and they come in their order all the same:
// all are asked at the same time.
func TestRunAsksSideBySideAndTellsInOrder(t *testing.T) {
	var targets []Target
	later := make(chan struct{})
	for i := range 20 {
		mine := later
		next := make(chan struct{})
		targets = append(targets, target(uint16(i+1), prober(func(ctx context.Context, a healthcheck.Address) healthcheck.Result {
			select {
			case <-next:
			case <-ctx.Done():
				t.Error("the targets after it are not asked")
			}
			if i > 0 {
				close(mine)
			}
			return healthcheck.Result{Address: a, Verdict: healthcheck.Up}
		})))
		if i == 19 {
			close(next)
		}
		later = next
	}
	for i, o := range run(t.Context(), targets, 1) {
		if o.Target != &targets[i] || o.Result.Address.AddrPort.Port() != uint16(i+1) || o.Round != 1 || o.At.IsZero() {
			t.Errorf("outcome %d: got %v of round %d; want target %d", i, o.Result.Address, o.Round, i+1)
		}
	}
}

func TestRunGoesRoundByRound(t *testing.T) {
	targets := []Target{target(1, always(healthcheck.Up)), target(2, always(healthcheck.Down))}
	var got []string
	for _, o := range run(t.Context(), targets, 3) {
		got = append(got, fmt.Sprintf("%d:%d", o.Round, o.Target.Address.Port))
	}
	if want := "1:1 1:2 2:1 2:2 3:1 3:2"; strings.Join(got, " ") != want {
		t.Errorf("got %v; want %s", got, want)
	}
}

func TestRunWithoutEndEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	Run(ctx, []Target{target(1, always(healthcheck.Up))}, 0, 0, func(Outcome) {
		if n++; n == 50 {
			cancel()
		}
	})
	if n != 50 {
		t.Errorf("got %d rounds; want 50", n)
	}
}

func TestRunCutShortIsUnknown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hang := prober(func(ctx context.Context, a healthcheck.Address) healthcheck.Result {
		cancel()
		<-ctx.Done()
		return healthcheck.Result{Verdict: healthcheck.Unknown, Reason: healthcheck.ReasonCanceled, Err: ctx.Err()}
	})
	all := run(ctx, []Target{target(1, hang)}, 5)
	if len(all) != 1 || all[0].Result.Verdict != healthcheck.Unknown || all[0].Why() != "canceled" {
		t.Errorf("got %+v; want one that is unknown, canceled", all)
	}
}

func TestRunBoundsWhatIsUnderWay(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	count := prober(func(context.Context, healthcheck.Address) healthcheck.Result {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		return healthcheck.Result{Verdict: healthcheck.Up}
	})
	var targets []Target
	for range 1000 {
		targets = append(targets, target(1, count))
	}
	run(t.Context(), targets, 1)
	if most > sideBySide {
		t.Errorf("got %d probes at one time; want %d at most", most, sideBySide)
	}
}

func TestVerdict(t *testing.T) {
	const up, down, unknown, degraded = healthcheck.Up, healthcheck.Down, healthcheck.Unknown, healthcheck.Degraded
	for _, tt := range []struct {
		all  []healthcheck.Verdict
		want healthcheck.Verdict
	}{
		{nil, up},
		{[]healthcheck.Verdict{up, up}, up},
		{[]healthcheck.Verdict{up, degraded}, up},
		{[]healthcheck.Verdict{up, unknown}, unknown},
		{[]healthcheck.Verdict{unknown, down, up}, down},
	} {
		var outcomes []Outcome
		for _, v := range tt.all {
			outcomes = append(outcomes, Outcome{Result: healthcheck.Result{Verdict: v}})
		}
		if got := Verdict(outcomes); got != tt.want {
			t.Errorf("%v: got %v; want %v", tt.all, got, tt.want)
		}
	}
}

func TestHostNamesAreResolved(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	h := config.Health{Probe: config.DefaultProbe(), Timeout: 10 * time.Second}
	targets, err := ParseTargets([]string{fmt.Sprintf("localhost:%d", port), fmt.Sprintf("127.0.0.1:%d", port)}, h)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"resolve connect", "connect"} {
		var got []string
		r := run(t.Context(), targets[i:i+1], 1)[0].Result
		for _, p := range r.Phases {
			got = append(got, p.Name)
		}
		if strings.Join(got, " ") != want || r.Verdict != healthcheck.Up {
			t.Errorf("%s: got %v, phases %v; want up, %s", targets[i].Name(), r.Verdict, got, want)
		}
	}

	none := target(1, always(healthcheck.Up))
	none.Address.Host = "none.invalid"
	if o := run(t.Context(), []Target{none}, 1)[0]; o.Result.Verdict != healthcheck.Down || !strings.HasPrefix(o.Why(), "dns: ") {
		t.Errorf("unknown host: got %v, %q; want down, dns: ...", o.Result.Verdict, o.Why())
	}
	// Where another host is probed, the backend's own name does not matter.
	none.Health.Host = "127.0.0.1"
	if o := run(t.Context(), []Target{none}, 1)[0]; o.Result.Verdict != healthcheck.Up {
		t.Errorf("probed elsewhere: got %v, %q; want up", o.Result.Verdict, o.Why())
	}
}

func TestNoProbeIsUnknown(t *testing.T) {
	o := run(t.Context(), []Target{target(1, nil)}, 1)[0]
	if o.Result.Verdict != healthcheck.Unknown || o.Why() != "no probe is configured (health type none)" {
		t.Errorf("got %v, %q; want unknown, and why", o.Result.Verdict, o.Why())
	}
}

func TestParseTargets(t *testing.T) {
	of := func(kind string, encrypted bool) config.Health {
		h := config.Health{Probe: config.DefaultProbe(), Timeout: time.Second}
		h.Type, h.TLS.Enabled = kind, encrypted
		return h
	}
	for _, tt := range []struct {
		text string
		h    config.Health
		name string // or
		err  string
	}{
		{"10.0.0.1:5432", of("tcp", false), "10.0.0.1:5432", ""},
		{"unix:/run/s", of("tcp", false), "unix:/run/s", ""},
		{"unix:/run/s", of("redis", true), "unix:/run/s", ""},
		{"10.0.0.1", of("icmp", false), "10.0.0.1", ""},
		{"::1", of("icmp", false), "::1", ""},
		{"db.example.org", of("icmp", false), "db.example.org", ""},
		{"10.0.0.1:5432", of("icmp", false), "10.0.0.1:5432", ""},
		{"10.0.0.1", of("tcp", false), "", `"10.0.0.1" has no port; want host:port`},
		{":5432", of("tcp", false), "", ":5432: host is missing; want host:port"},
		{"10.0.0.1:0", of("http", false), "", "10.0.0.1:0: port 0 is out of range 1..65535"},
		{"unix:/run/s", of("icmp", false), "", "unix:/run/s: icmp needs a host, not a unix socket"},
		{"unix:/run/s", of("https", true), "", "unix:/run/s: a unix socket has no name to verify; want --sni NAME"},
	} {
		got, err := ParseTargets([]string{tt.text}, tt.h)
		if err == nil && (tt.err != "" || got[0].Name() != tt.name || got[0].Prober == nil) || err != nil && err.Error() != tt.err {
			t.Errorf("%s, %s: got %v, %v; want %q, %q", tt.h.Type, tt.text, got, err, tt.name, tt.err)
		}
	}
}

func TestFromConfig(t *testing.T) {
	parse := func(text string) *config.Config {
		c, err := config.Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := parse(`
		[[pool]]
		name = "a"
		health = { type = "redis", user = "u", port = 1 }
		backend = [{ address = "10.0.0.1:6379" }, { name = "two", address = "10.0.0.2:6379", health = { user = "v", port = 2 } }]
		[[pool]]
		name = "b"
		health.type = "none"
		backend = [{ address = "10.0.0.3:6379" }]`)
	all, err := FromConfig(c, "")
	if err != nil || len(all) != 3 {
		t.Fatalf("got %v, %v; want three", all, err)
	}
	for i, want := range []string{"a 10.0.0.1:6379 u 1 true", "a two v 2 true", "b 10.0.0.3:6379  0 false"} {
		x := &all[i]
		if got := fmt.Sprint(x.Pool, " ", x.Backend, " ", x.Health.User, " ", x.Health.Port, " ", x.Prober != nil); got != want {
			t.Errorf("target %d: got %s; want %s", i, got, want)
		}
	}
	if one, err := FromConfig(c, "b"); err != nil || len(one) != 1 || one[0].Pool != "b" {
		t.Errorf("pool b: got %v, %v; want one", one, err)
	}
	if _, err := FromConfig(c, "c"); err == nil || err.Error() != `no pool "c" in the file` {
		t.Errorf("pool c: got %v; want none", err)
	}
	_, err = FromConfig(parse(`
		[[pool]]
		name = "a"
		health = { type = "tls", tls.ca_file = "/no/such/file" }
		backend = [{ address = "10.0.0.1:636" }]`), "")
	if want := "pool a: backend 10.0.0.1:636: health.tls.ca_file: open /no/such/file: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("got %v; want %s", err, want)
	}
}
