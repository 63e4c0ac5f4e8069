package config_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/limeload/limeload/pkg/config"
)

// values compares what a Config holds, not where it came from.
var values = cmp.Options{
	cmpopts.IgnoreUnexported(config.Config{}),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b *regexp.Regexp) bool {
		return (a == nil) == (b == nil) && (a == nil || a.String() == b.String())
	}),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("limeload.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func address(t *testing.T, s string) config.Address {
	t.Helper()
	a, err := config.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const smallest = `
[[listener]]
name   = "db"
listen = [":5432"]
pool   = "db"

[[pool]]
name = "db"
  [[pool.backend]]
  address = "10.0.0.1:5432"
`

func TestParse(t *testing.T) {
	t.Run("an empty file is all defaults", func(t *testing.T) {
		if diff := cmp.Diff(config.Default(), parse(t, ""), values); diff != "" {
			t.Errorf("config (-want +got):\n%s", diff)
		}
	})

	t.Run("the smallest file has defaults in every table", func(t *testing.T) {
		want := config.Default()
		l := config.DefaultListener()
		l.Name, l.Pool, l.Listen = "db", "db", []config.Address{address(t, ":5432")}
		b := config.DefaultBackend()
		b.Name, b.Address = "10.0.0.1:5432", address(t, "10.0.0.1:5432")
		p := config.DefaultPool()
		p.Name, p.Backends = "db", []config.Backend{b}
		want.Listeners, want.Pools = []config.Listener{l}, []config.Pool{p}

		got := parse(t, smallest)
		if diff := cmp.Diff(want, got, values); diff != "" {
			t.Errorf("config (-want +got):\n%s", diff)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("got problems %v; want none", err)
		}
	})

	t.Run("a file replaces defaults key by key", func(t *testing.T) {
		got := parse(t, `
			[[pool]]
			name = "db"
			health.fall = 7
			[pool.connect]
			timeout = "1m"
		`).Pools[0]
		want := config.DefaultPool()
		want.Name, want.Health.Fall, want.Connect.Timeout = "db", 7, time.Minute
		if diff := cmp.Diff(want, got, values); diff != "" {
			t.Errorf("pool (-want +got):\n%s", diff)
		}
	})

	t.Run("tables and inline tables read the same", func(t *testing.T) {
		got := parse(t, `
			listener = [{ name = "db", listen = [":5432"], pool = "db" }]
			pool     = [{ name = "db", backend = [{ address = "10.0.0.1:5432" }] }]
		`)
		if diff := cmp.Diff(parse(t, smallest), got, values); diff != "" {
			t.Errorf("config (-tables +inline):\n%s", diff)
		}
	})
}

func TestParseValues(t *testing.T) {
	data, err := os.ReadFile("testdata/full.toml")
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, string(data))
	want := &config.Config{
		Log:      config.Log{Level: "debug", Format: "json"},
		Engine:   config.Engine{Type: "splice", Threads: 4},
		Admin:    config.Admin{Listen: config.AdminListen{Address: address(t, "0.0.0.0:9077")}, TokenFile: "/etc/limeload/token", Hosts: []config.HostName{"lb1", "lb1.example.net"}, StateFile: "/var/lib/limeload/overrides.json"},
		Process:  config.Process{User: "limeload", Group: "limeload", Landlock: true},
		Shutdown: config.Shutdown{Delay: 5 * time.Second, DrainTimeout: 90 * time.Second},
		Health:   config.Checking{Concurrency: 64},
		Limits:   config.Limits{MaxConnections: 5000, Memory: 512 << 20, SourceEntries: 2048},
		Listeners: []config.Listener{{
			Name:           "postgres",
			Listen:         []config.Address{address(t, ":5432"), address(t, "[::1]:15432"), address(t, "unix:/run/limeload/pg.sock")},
			Pool:           "postgres",
			MaxConnections: 1000,
			Preset:         config.PresetRedis,
			UserTimeout:    90 * time.Second,
			Timeouts: config.Timeouts{
				Idle: time.Hour, Stall: 3 * time.Minute, MaxLifetime: 24 * time.Hour, LifetimeJitter: 25,
			},
			Keepalive: config.Keepalive{Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 4},
			Access: config.Access{
				Allow:      []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")},
				Deny:       []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")},
				AllowFiles: config.Files{"/etc/limeload/allow.txt"}, DenyFiles: config.Files{"/etc/limeload/deny.txt"},
				Default: config.AccessDeny, DryRun: true,
			},
			Limits: config.ListenerLimits{
				Bandwidth: config.Bandwidth{
					BandwidthUp: 1e9, BandwidthDown: 1.25e9,
					ConnectionBandwidthUp: 512 << 10, ConnectionBandwidthDown: 2.5e6,
				},
				Connections: 100, Rate: 50, Burst: 60,
				Action: config.ActionDelay, ConnectionsAction: config.ActionRefuse, RateAction: config.ActionDelay,
				MaxDelay: time.Second, MaxDelayed: 10, DryRun: true,
				Source: config.SourceLimits{
					Connections: 5, Rate: 6, Burst: 7,
					Action: config.ActionDelay, ConnectionsAction: config.ActionDelay, RateAction: config.ActionRefuse,
					PrefixV4: 24, PrefixV6: 56, DryRun: true,
				},
			},
		}},
		Pools: []config.Pool{{
			Name:      "postgres",
			Algorithm: []string{"ip-hash", "least-connections"},
			HashKey:   "between us",
			HashSlots: 257,
			WhenDown:  config.WhenDownUnlisten,
			Source:    []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::2")},
			Quorum:    2,
			SlowStart: time.Minute,
			Failback:  config.FailbackManual,
			OnSplit:   config.OnSplitFence,
			Breaker: config.Breaker{
				Failures: 7, SlowConnect: 20, Ejection: 5 * time.Second, MaxEjection: time.Minute, MaxEjectedPercent: 34,
			},
			Connect: config.Connect{Timeout: 3 * time.Second, Attempts: 5},
			Health: config.Health{
				Probe: fullProbe(), Also: fullAlso(), Interval: 3 * time.Second, Timeout: 2 * time.Second, Rise: 1, Fall: 4,
				FastInterval: 500 * time.Millisecond, DownInterval: 10 * time.Second,
				Initial: config.InitialDown, OnDown: config.OnDownKill,
			},
			Limits: config.PoolLimits{
				Rate: 20, Burst: 30, Action: config.ActionRefuse, MaxDelay: 2 * time.Second, MaxDelayed: 11, DryRun: true,
			},
			Backends: []config.Backend{
				{Name: "pg-1", Address: address(t, "10.0.0.11:5432"), Weight: 256, MaxConnections: 100, Backup: true,
					Health: config.BackendHealth{
						Host: "10.0.1.11", Port: 5433, User: "other", Password: config.Reference{File: "/etc/limeload/pg-1"},
						TLS: config.BackendTLS{ServerName: "pg-1.example.org"},
					}},
				{Name: "[2001:db8::11]:5432", Address: address(t, "[2001:db8::11]:5432")},
			},
		}},
	}
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

// fullProbe is the health section of testdata/full.toml, without its schedule.
func fullProbe() config.Probe {
	return config.Probe{
		Type: config.HealthPostgres, Host: "10.0.1.1", Port: 8008,
		User: "probe", Password: config.Reference{Env: "PROBE_PASSWORD"}, Database: "app", Query: "select 1",
		Role: config.RoleReplica, MaxLag: config.MaxLag{Bytes: 16 << 20}, LagPolicy: config.LagDown,
		TLS:  config.ProbeTLS{Enabled: true, ServerName: "pg.example.org"},
		HTTP: config.DefaultProbe().HTTP,
	}
}

// fullAlso are the probes that are added there.
func fullAlso() []config.Probe {
	of := func(kind string) config.Probe {
		p := config.DefaultProbe()
		p.Type = kind
		return p
	}
	web, talk, program, agent := of(config.HealthHTTPS), of(config.HealthSendExpect), of(config.HealthExec), of(config.HealthAgent)
	web.TLS.Enabled, web.TLS.ALPN, web.TLS.CAFile = true, []string{"http/1.1"}, "/etc/limeload/ca.pem"
	web.HTTP = config.ProbeHTTP{
		Method: "HEAD", Path: "/replica?lag=1MB", Host: "patroni",
		Headers: map[string]string{"X-Token": "file:/etc/limeload/token", "Accept": "text/plain"},
		Status:  []config.StatusRange{{First: 200, Last: 200}, {First: 300, Last: 302}, {First: 400, Last: 499}},
		Body:    "running", BodyRegexp: regexp.MustCompile("(?i)ok"),
	}
	talk.Steps = []config.Step{
		{Expect: "220", Timeout: 100 * time.Millisecond},
		{Send: "AUTH %{user}\r\n", ExpectRegexp: regexp.MustCompile(`^2\d\d`)},
		{SendHex: config.Hex{0, 0xff}, ExpectHex: config.Hex{1}},
	}
	program.Exec.Command = []string{"/usr/lib/check", "-v"}
	agent.Port, agent.Agent.Send = 9999, "state\n"
	return []config.Probe{talk, web, program, agent}
}

func TestAlgorithmIsOneNameOrAChain(t *testing.T) {
	for text, want := range map[string][]string{
		`algorithm = "ip-hash"`:            {"ip-hash"},
		`algorithm = ["ip-hash", "first"]`: {"ip-hash", "first"},
		``:                                 {"least-connections"},
	} {
		got := parse(t, "[[pool]]\n"+text).Pools[0].Algorithm
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestAdminListen(t *testing.T) {
	for text, want := range map[string]config.AdminListen{
		``:                        {Default: true},
		`listen = "default"`:      {Default: true},
		`listen = ""`:             {},
		`listen = "[::1]:9077"`:   {Address: address(t, "[::1]:9077")},
		`listen = "unix:/a.sock"`: {Address: address(t, "unix:/a.sock")},
	} {
		if got := parse(t, "[admin]\n"+text).Admin.Listen; got != want {
			t.Errorf("%s: got %+v; want %+v", text, got, want)
		}
	}
}

func TestHealthTimeoutFollowsAShortInterval(t *testing.T) {
	for _, test := range []struct {
		name, health string
		want         time.Duration
	}{
		{"neither is written", ``, time.Second},
		{"a long interval", `interval = "10s"`, time.Second},
		{"a short interval", `interval = "200ms"`, 200 * time.Millisecond},
		{"a written timeout stays", "interval = \"200ms\"\ntimeout = \"1s\"", time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := parse(t, "[[pool]]\n[pool.health]\n"+test.health).Pools[0].Health.Timeout
			if got != test.want {
				t.Errorf("got %v; want %v", got, test.want)
			}
		})
	}
}

// A short interval alone must not be a problem of a key that nobody wrote.
func TestValidateAcceptsAShortInterval(t *testing.T) {
	c := parse(t, smallest+"[pool.health]\ninterval = \"200ms\"\n")
	if err := c.Validate(); err != nil {
		t.Errorf("got %v; want no problem", err)
	}
}

func TestValidateAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"a pool that no listener uses": smallest + "[[pool]]\nname = \"spare\"\nbackend = [{ address = \"10.0.0.1:1\" }]",
		"weight 0 everywhere":          strings.Replace(smallest, "address", "weight = 0\naddress", 1),
		"backups alone":                strings.Replace(smallest, "address", "backup = true\naddress", 1),
		"a backend behind loopback":    strings.Replace(smallest, "10.0.0.1:5432", "127.0.0.1:5433", 1),
		"a host name":                  strings.Replace(smallest, "10.0.0.1:5432", "pg_1.example.org.:5432", 1),
		"port 0 to listen on":          strings.Replace(smallest, `[":5432"]`, `["127.0.0.1:0", "127.0.0.1:0"]`, 1),
		"both families of a port":      strings.Replace(smallest, `[":5432"]`, `["0.0.0.0:5432", "[::]:5432"]`, 1),
		"a unix backend":               strings.Replace(smallest, "10.0.0.1:5432", "unix:/run/pg/.s.PGSQL.5432", 1),
		"a long timeout without probes": smallest +
			"[pool.health]\ntype = \"none\"\ninterval = \"1s\"\ntimeout = \"5s\"",
		"the admin API on loopback": smallest + "[admin]\nlisten = \"localhost:9077\"",
		"the admin API off":         smallest + "[admin]\nlisten = \"\"",
		"the same server twice": smallest +
			"[[pool.backend]]\nname = \"again\"\naddress = \"10.0.0.1:5432\"",
	} {
		t.Run(name, func(t *testing.T) {
			if err := parse(t, text).Validate(); err != nil {
				t.Errorf("got %v; want no problem", err)
			}
		})
	}
}

func TestProblemsCarryTheirParts(t *testing.T) {
	c := parse(t, smallest+"  weight  = 300\n")
	var got config.Problems
	if err := c.Validate(); !errors.As(err, &got) {
		t.Fatalf("got %v; want Problems", err)
	}
	want := config.Problems{{
		File: "limeload.toml", Line: 11, Column: 3,
		Path: "pool[0].backend[0].weight", Text: "300 is out of range 0..256",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestValidateWithoutAFileNamesPathsAlone(t *testing.T) {
	got := config.Default().Validate()
	want := "listener: none is defined; want at least one [[listener]]"
	if got == nil || got.Error() != want {
		t.Errorf("got %v; want %s", got, want)
	}
}

func TestSyntaxErrorComesAlone(t *testing.T) {
	_, err := config.Parse("limeload.toml", []byte("nonsense = 1\n[log]\nlevel = 3\nformat = 4\n"))
	var got *config.SyntaxError
	if !errors.As(err, &got) {
		t.Fatalf("got %v; want a SyntaxError", err)
	}
	if want := "limeload.toml:3:1: log.level: got an integer; want a string"; got.Error() != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

// What is no TOML is told with what would be right, where that can be known.
func TestSyntaxErrorsSayWhatToWrite(t *testing.T) {
	for text, want := range map[string]string{
		"[log]\nlevel = warn":               "2:9: unexpected character U+0077 'w' at start of value; a text is written in quotes",
		"[log]\nlevel = info":               "2:12: expected newline but got U+006F 'o'; a text is written in quotes", // inf is a number
		"[shutdown]\ndelay = 5s":            "2:10: strings must be quoted",
		"\xff\xfe[\x00l\x00o\x00g\x00]\x00": "1:1: is UTF-16; want UTF-8",
		"\xfe\xff\x00[\x00l\x00o\x00g\x00]": "1:1: is UTF-16; want UTF-8",
	} {
		_, err := config.Parse("f", []byte(text))
		if want := "f:" + want; err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

// Some editors begin a file with a byte order mark, and end lines with CR LF.
func TestFilesOfOtherEditors(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll(smallest, "\n", "\r\n")
	got, err := config.Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(parse(t, smallest), got, values); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	_, err = config.Parse("f", []byte("\ufefflog = 1"))
	if want := "f:1:1: log: got an integer; want a table, written under [log]"; err == nil || err.Error() != want {
		t.Errorf("got %v; want %s", err, want)
	}
}

// Whatever the type, the message says what there is and what to write.
func TestTypeErrorsSayWhatToWrite(t *testing.T) {
	for text, want := range map[string]string{
		"log = 1":                               "1:1: log: got an integer; want a table, written under [log]",
		"[[log]]":                               "1:3: log: got an array; want a table, written under [log]",
		"[listener]":                            "1:2: listener: got a table; want an array of tables, each written under [[listener]]",
		"listener = [1]":                        "1:13: listener[0]: got an integer; want a table",
		"log.access = \"yes\"":                  "1:5: log.access: got a string; want true or false",
		"log.level = true":                      "1:5: log.level: got a boolean; want a string",
		"log.level = 2026-01-01":                "1:5: log.level: got a date or time; want a string",
		"engine.threads = 1.5":                  "1:8: engine.threads: got a float; want an integer",
		"shutdown.delay = 5":                    `1:10: shutdown.delay: got an integer; want a duration in quotes, such as "5s"`,
		"admin.listen = 9077":                   `1:7: admin.listen: got an integer; want an address in quotes, such as "10.0.0.11:5432"`,
		"[[listener]]\nlisten = 5432":           `2:1: listener[0].listen: got an integer; want an array of addresses, such as [":5432"]`,
		"[[listener]]\nlisten = [5432]":         `2:11: listener[0].listen[0]: got an integer; want an address in quotes, such as "10.0.0.11:5432"`,
		"[[pool]]\nalgorithm = 1":               "2:1: pool[0].algorithm: got an integer; want a string, or an array of strings",
		"[[pool]]\nalgorithm = [\"first\", 1]":  "2:23: pool[0].algorithm[1]: got an integer; want a string",
		"[[pool]]\nsource = \"10.0.0.2\"":       `2:1: pool[0].source: got a string; want an array of IP addresses, such as ["10.0.0.2"]`,
		"[[pool]]\nsource = [10]":               `2:11: pool[0].source[0]: got an integer; want an IP address in quotes, such as "10.0.0.2"`,
		"[[pool]]\nhealth = \"tcp\"":            "2:1: pool[0].health: got a string; want a table, written under [pool.health]",
		"[[pool]]\n[pool.backend]":              "2:7: pool[0].backend: got a table; want an array of tables, each written under [[pool.backend]]",
		"[[pool]]\n[[pool.backend]]\nname = []": "3:1: pool[0].backend[0].name: got an array; want a string",
	} {
		_, err := config.Parse("f", []byte(text))
		if want := "f:" + want; err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "limeload.toml")
	if err := os.WriteFile(file, []byte(smallest), 0o600); err != nil {
		t.Fatal(err)
	}

	t.Run("a file", func(t *testing.T) {
		got, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(parse(t, smallest), got, values); diff != "" {
			t.Errorf("config (-want +got):\n%s", diff)
		}
	})
	t.Run("a missing file is one line", func(t *testing.T) {
		missing := filepath.Join(dir, "missing.toml")
		_, err := config.Load(missing)
		if want := "open " + missing + ": no such file or directory"; err == nil || err.Error() != want {
			t.Errorf("got %v; want %s", err, want)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v; want fs.ErrNotExist", err)
		}
	})
	t.Run("a directory is one line", func(t *testing.T) {
		_, err := config.Load(dir)
		if want := "read " + dir + ": is a directory"; err == nil || err.Error() != want {
			t.Errorf("got %v; want %s", err, want)
		}
	})
	t.Run("an endless file ends", func(t *testing.T) {
		_, err := config.Load("/dev/zero")
		if want := "read /dev/zero: larger than 16 MiB"; err == nil || err.Error() != want {
			t.Errorf("got %v; want %s", err, want)
		}
	})
}

func TestPool(t *testing.T) {
	c := parse(t, smallest)
	if got := c.Pool("db"); got != &c.Pools[0] {
		t.Errorf(`Pool("db"): got %v; want the pool of that name`, got)
	}
	if got := c.Pool("other"); got != nil {
		t.Errorf(`Pool("other"): got %v; want nil`, got)
	}
}
