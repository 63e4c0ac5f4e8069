package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/limeload/limeload/pkg/config"
)

// load is what a test starts from: a file, or with "" no file at all.
func load(t *testing.T, file string) *config.Config {
	t.Helper()
	if file == "" {
		return config.Default()
	}
	return parse(t, file)
}

func TestOverlayWithoutFile(t *testing.T) {
	got := config.Default()
	err := got.Overlay(config.Flags{
		Listen:         []string{":5432", "unix:/run/db.sock"},
		Backend:        []string{"pg-1:5432", "10.0.0.2:5432,name=two,weight=3,max=50,backup"},
		Algorithm:      new("ip-hash,random-two"),
		Health:         new("icmp"),
		HealthInterval: new("500ms"),
		ConnectTimeout: new("1s"),
		IdleTimeout:    new("1h"),
		DrainTimeout:   new("5s"),
		Engine:         new("copy"),
		Threads:        new("2"),
		Admin:          new(""),
		LogLevel:       new("debug"),
		LogFormat:      new("json"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Validate(); err != nil {
		t.Fatalf("got problems %v; want none", err)
	}

	want := config.Default()
	want.Shutdown.DrainTimeout = 5 * time.Second
	want.Engine = config.Engine{Type: "copy", Threads: 2}
	want.Admin.Listen = config.AdminListen{}
	want.Log.Level, want.Log.Format = "debug", "json"
	l := config.DefaultListener()
	l.Name, l.Pool, l.Timeouts.Idle = "default", "default", time.Hour
	l.Listen = []config.Address{address(t, ":5432"), address(t, "unix:/run/db.sock")}
	p := config.DefaultPool()
	p.Name, p.Algorithm = "default", []string{"ip-hash", "random-two"}
	p.Health.Type, p.Health.Interval, p.Health.Timeout = "icmp", 500*time.Millisecond, 500*time.Millisecond
	p.Connect.Timeout = time.Second
	p.Backends = []config.Backend{
		{Name: "pg-1:5432", Address: address(t, "pg-1:5432"), Weight: 1},
		{Name: "two", Address: address(t, "10.0.0.2:5432"), Weight: 3, MaxConnections: 50, Backup: true},
	}
	want.Listeners, want.Pools = []config.Listener{l}, []config.Pool{p}
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestOverlayFile(t *testing.T) {
	t.Run("no flags change nothing", func(t *testing.T) {
		c := parse(t, smallest)
		if err := c.Overlay(config.Flags{}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(parse(t, smallest), c, values); diff != "" {
			t.Errorf("config (-want +got):\n%s", diff)
		}
	})

	t.Run("a flag wins, also over a value that is wrong", func(t *testing.T) {
		c := parse(t, smallest+"[log]\nlevel = \"loud\"\n[shutdown]\ndrain_timeout = \"a while\"\n")
		if err := c.Overlay(config.Flags{LogLevel: new("warn"), DrainTimeout: new("9s")}); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("got problems %v; want none", err)
		}
		if c.Log.Level != "warn" || c.Shutdown.DrainTimeout != 9*time.Second {
			t.Errorf("got %q and %v; want warn and 9s", c.Log.Level, c.Shutdown.DrainTimeout)
		}
	})

	t.Run("--listen alone listens for the only pool", func(t *testing.T) {
		c := parse(t, smallest)
		if err := c.Overlay(config.Flags{Listen: []string{":15432"}, IdleTimeout: new("1m")}); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("got problems %v; want none", err)
		}
		want := config.DefaultListener()
		want.Name, want.Pool, want.Timeouts.Idle = "default", "db", time.Minute
		want.Listen = []config.Address{address(t, ":15432")}
		if diff := cmp.Diff(want, c.Listeners[1], values); diff != "" {
			t.Errorf("listener (-want +got):\n%s", diff)
		}
	})

	t.Run("--listen and --backend stand beside the file", func(t *testing.T) {
		c := parse(t, smallest)
		flags := config.Flags{Listen: []string{":1"}, Backend: []string{"pg:1"}, Algorithm: new("first")}
		if err := c.Overlay(flags); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("got problems %v; want none", err)
		}
		if got := c.Pools[0].Algorithm[0]; got != "least-connections" {
			t.Errorf("algorithm of the file's pool: got %s; want least-connections", got)
		}
		if got := c.Pool("default").Algorithm[0]; got != "first" {
			t.Errorf("algorithm of the flags' pool: got %s; want first", got)
		}
	})
}

func TestOverlayRefusesFlagsThatDoNotFit(t *testing.T) {
	some := []string{"a:1"}
	twoPools := smallest + "[[pool]]\nname = \"second\"\n"
	for _, test := range []struct {
		name  string
		file  string
		flags config.Flags
		want  string
	}{
		{"nothing at all", "", config.Flags{}, "nothing to serve: want a file, or --listen and --backend"},
		{"--listen alone without a file", "", config.Flags{Listen: some}, "--listen: needs --backend, or a file with a pool"},
		{"--backend alone without a file", "", config.Flags{Backend: some}, "--backend: needs --listen"},
		{"--backend alone with a file", smallest, config.Flags{Backend: some}, "--backend: needs --listen"},
		{"--listen alone and two pools", twoPools, config.Flags{Listen: some},
			"--listen: needs --backend, or a file with exactly one pool; limeload.toml has 2"},
		{"pool flags without their pool", smallest, config.Flags{
			Listen: some, Algorithm: new("first"), Health: new("tcp"), HealthInterval: new("1s"), ConnectTimeout: new("1s"),
		}, `--algorithm: applies only to the pool that --listen and --backend make
--health: applies only to the pool that --listen and --backend make
--health-interval: applies only to the pool that --listen and --backend make
--connect-timeout: applies only to the pool that --listen and --backend make`},
		{"--idle-timeout without a listener", smallest, config.Flags{IdleTimeout: new("1s")},
			"--idle-timeout: applies only to the listener that --listen makes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := load(t, test.file)
			err := c.Overlay(test.flags)
			if err == nil || err.Error() != test.want {
				t.Errorf("got %v\nwant %s", err, test.want)
			}
			if diff := cmp.Diff(load(t, test.file), c, values); diff != "" {
				t.Errorf("config changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidateNamesFlags(t *testing.T) {
	for _, test := range []struct {
		name  string
		file  string
		flags config.Flags
		want  string
	}{
		{"every value that is wrong", "", config.Flags{
			Listen:         []string{"5432", ":5432"},
			Backend:        []string{"pg:99999", "pg:0", "pg:1,weight=300", "pg:1,wieght=3", "pg:5"},
			Algorithm:      new("ip-hash,leastconn"),
			Health:         new("tpc"),
			HealthInterval: new("5"),
			ConnectTimeout: new("-1s"),
			IdleTimeout:    new("a day"),
			DrainTimeout:   new("-1s"),
			Engine:         new("uring"),
			Threads:        new("two"),
			Admin:          new("0.0.0.0:9077"),
			LogLevel:       new("warning"),
			LogFormat:      new("xml"),
		}, `--threads two: "two" is not a whole number
--listen 5432: "5432" has no port; want host:port
--idle-timeout "a day": "a day" is not a duration; want one such as "250ms", "5s" or "1m30s"
--health-interval 5: duration "5" has no unit; want "5s" or "5ms", for example
--backend pg:99999: port 99999 is out of range 1..65535
--backend pg:0: port 0 is out of range 1..65535
--backend pg:1,weight=300: weight: 300 is out of range 0..256
--backend pg:1,wieght=3: unknown option "wieght"; did you mean "weight"?
--log-level warning: unknown log level "warning"; did you mean "warn"?
--log-format xml: unknown log format "xml"; want one of auto, json, console
--engine uring: unknown engine "uring"; want one of auto, splice, copy
--admin 0.0.0.0:9077: 0.0.0.0:9077 can be reached from other machines; that needs admin.token_file
--drain-timeout -1s: -1s is negative; want 0s or more
--algorithm ip-hash,leastconn: unknown algorithm "leastconn"; did you mean "least-connections"?
--connect-timeout -1s: -1s is negative; want 1ms or more
--health tpc: unknown health type "tpc"; did you mean "tcp"?`},
		{"after the problems of the file", smallest + "weight = -1\n", config.Flags{Threads: new("-1")},
			`limeload.toml:11: pool[0].backend[0].weight: -1 is out of range 0..256
--threads -1: -1 is out of range 0..1024`},
		{"against the file", smallest, config.Flags{Listen: []string{"127.0.0.1:5432"}},
			"--listen 127.0.0.1:5432: 127.0.0.1:5432 collides with :5432 of listener[0].listen[0] (line 4)"},
		{"two of a name", smallest + "[[pool]]\nname = \"default\"\nbackend = [{ address = \"a:1\" }]\n",
			config.Flags{Listen: []string{":1"}, Backend: []string{"b:1", "b:1"}},
			`--backend b:1: name: "b:1" is also the name of --backend b:1
--backend: name: "default" is also the name of pool[1] (line 11)`},
		{"a listener that is its own backend", "", config.Flags{
			Listen: []string{":5432"}, Backend: []string{"localhost:5432"},
		}, "--backend localhost:5432: address: localhost:5432 leads back to --listen, which listens on :5432"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := load(t, test.file)
			if err := c.Overlay(test.flags); err != nil {
				t.Fatal(err)
			}
			err := c.Validate()
			if err == nil {
				t.Fatal("got no problem")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseBackend(t *testing.T) {
	pg := config.Address{Network: config.TCP, Host: "pg", Port: 5432}
	for in, want := range map[string]config.Backend{
		"pg:5432":           {Name: "pg:5432", Address: pg, Weight: 1},
		"pg:5432,weight=0":  {Name: "pg:5432", Address: pg},
		"pg:5432,backup":    {Name: "pg:5432", Address: pg, Weight: 1, Backup: true},
		"pg:5432,max=5":     {Name: "pg:5432", Address: pg, Weight: 1, MaxConnections: 5},
		"pg:5432,name=pg-1": {Name: "pg-1", Address: pg, Weight: 1},
		"unix:/run/a.sock":  {Name: "unix:/run/a.sock", Address: config.Address{Network: config.Unix, Path: "/run/a.sock"}, Weight: 1},
	} {
		got, err := config.ParseBackend(in)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestParseBackendErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "address is empty; want host:port, [v6]:port or unix:/path",
		"pg":                      `"pg" has no port; want host:port`,
		":5432":                   `":5432" has no host; want host:port`,
		"pg:0":                    "port 0 is out of range 1..65535",
		"pg:1,":                   `unknown option ""; want one of name, weight, max, backup`,
		"pg:1,weight":             "weight has no value; want weight=VALUE",
		"pg:1,weight=":            `weight: "" is not a whole number`,
		"pg:1,weight=1.5":         `weight: "1.5" is not a whole number`,
		"pg:1,weight=257":         "weight: 257 is out of range 0..256",
		"pg:1,max=-1":             "max: -1 is out of range 0..10000000",
		"pg:1,max=99999999999999": "max: 99999999999999 is out of range",
		"pg:1,weight=1,weight=2":  "weight is given twice",
		"pg:1,backup=true":        "backup takes no value",
		"pg:1,name=":              "name: is missing; want a name",
	} {
		if got, err := config.ParseBackend(in); err == nil || err.Error() != want {
			t.Errorf("%s: got %+v, %v; want error %s", in, got, err, want)
		}
	}
}
