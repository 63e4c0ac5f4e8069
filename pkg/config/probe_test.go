package config

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseStatus(t *testing.T) {
	for text, want := range map[string]string{
		"200": "200", "200-200": "200", "200-399": "200-399", "2xx": "200-299", "5XX": "500-599", "100-599": "100-599",
		"": "", "-": "", "20": "", "0200": "", "600": "", "099": "", "+20": "", "xxx": "", "9xx": "", "300-200": "", "200-": "", "200-300-400": "",
	} {
		got, err := parseStatus(text)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: got %s, %v; want %q", text, got, err, want)
		}
	}
}

func FuzzStatus(f *testing.F) {
	for _, s := range []string{"200", "200-399", "2xx", "1-", "", "599-100"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseStatus(s)
		if err != nil {
			return
		}
		if r.First < 100 || r.Last > 599 || r.First > r.Last {
			t.Errorf("%q: got %v; want a range in 100..599", s, r)
		}
		if again, err := parseStatus(r.String()); again != r || err != nil {
			t.Errorf("%q: got %v, which reads back as %v, %v", s, r, again, err)
		}
	})
}

func TestParseHex(t *testing.T) {
	for text, want := range map[string][]byte{
		"": {}, "00": {0}, "00 fF": {0, 255}, "0 0ff": {0, 255}, "0\t1": {1}, "1": nil, "0x00": nil, "\x1010": nil, "gg": nil,
	} {
		got, err := parseHex(text)
		if (err == nil) != (want != nil) || !bytes.Equal(got, want) {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
}

func FuzzHex(f *testing.F) {
	f.Add("00 ff")
	f.Add("0")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHex(s)
		if err != nil {
			return
		}
		if again, err := parseHex(h.String()); !bytes.Equal(again, h) || err != nil {
			t.Errorf("%q: got %v, which reads back as %v, %v", s, h, again, err)
		}
	})
}

func TestParseMaxLag(t *testing.T) {
	for text, want := range map[string]MaxLag{
		"": {}, "1B": {Bytes: 1}, "16MB": {Bytes: 16 << 20}, "16 kB": {Bytes: 16 << 10}, "1536kB": {Bytes: 1536 << 10},
		"1024TB": {Bytes: 1 << 50}, "5000000000B": {Bytes: 5000000000}, "10s": {Time: 10 * time.Second}, "1m30s": {Time: 90 * time.Second},
	} {
		got, err := parseMaxLag(text)
		if got != want || err != nil {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err, want)
		}
		if again, err := parseMaxLag(got.String()); again != want || err != nil {
			t.Errorf("%q: written as %q, it reads %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"10", "0B", "-1MB", "MB", "1mb", "1.5MB", "1025TB", "99999999999999999999B", "1us", "-1s", "0s"} {
		if got, err := parseMaxLag(text); err == nil {
			t.Errorf("%q: got %+v; want an error", text, got)
		}
	}
}

func TestParseReference(t *testing.T) {
	for text, want := range map[string]Reference{
		"": {}, "file:/etc/pw": {File: "/etc/pw"}, "env:PG_PASSWORD": {Env: "PG_PASSWORD"},
	} {
		got, err := ParseReference(text)
		if got != want || err != nil || got.String() != text {
			t.Errorf("%q: got %+v, %v, written as %q; want %+v", text, got, err, got, want)
		}
	}
	for _, text := range []string{"hunter2", "file:hunter2", "file:", "file:/a\nhunter2", "env:", "env:hunter2=x", "Env:hunter2 "} {
		_, err := ParseReference(text)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v; want an error that does not repeat it", text, err)
		}
	}
}

func TestHealthOf(t *testing.T) {
	p := DefaultPool()
	p.Health.Type, p.Health.User, p.Health.Port = HealthPostgres, "probe", 5433
	p.Health.Password = Reference{Env: "PW"}
	p.Health.Also = []Probe{DefaultProbe()}
	if h := p.HealthOf(&Backend{}); h.User != "probe" || h.Port != 5433 || h.Host != "" || h.Password.Env != "PW" {
		t.Errorf("nothing replaced: got %+v; want the pool's", h.Probe)
	}
	h := p.HealthOf(&Backend{Health: BackendHealth{
		Host: "10.0.0.1", Port: 1, User: "other", Password: Reference{File: "/pw"}, TLS: BackendTLS{ServerName: "db"},
	}})
	if h.Host != "10.0.0.1" || h.Port != 1 || h.User != "other" || h.Password.File != "/pw" || h.TLS.ServerName != "db" {
		t.Errorf("all replaced: got %+v; want the backend's", h.Probe)
	}
	if also := h.Also[0]; also.Host != "" || also.Port != 0 {
		t.Errorf("also: got %+v; want it as it was", also)
	}
	if p.Health.Host != "" {
		t.Errorf("the pool: got host %q; want it as it was", p.Health.Host)
	}
}

func TestWantedRole(t *testing.T) {
	h := DefaultPool().Health
	if got := h.WantedRole(); got != RoleAny {
		t.Errorf("got %s; want any", got)
	}
	also := DefaultProbe()
	also.Role = RolePrimary
	h.Also = []Probe{DefaultProbe(), also}
	if got := h.WantedRole(); got != RolePrimary {
		t.Errorf("under also: got %s; want primary", got)
	}
}

// A login that every backend brings along is one.
func TestUserMayBeTheBackends(t *testing.T) {
	const text = `
[[listener]]
name = "db"
listen = [":5432"]
pool = "db"
[[pool]]
name = "db"
health = { type = "postgres", role = "primary" }
backend = [
  { name = "a", address = "10.0.0.1:5432", health = { user = "a" } },
  { name = "b", address = "10.0.0.2:5432"%s },
]`
	validate := func(more string) error {
		c, err := Parse("f", []byte(strings.Replace(text, "%s", more, 1)))
		if err != nil {
			t.Fatal(err)
		}
		return c.Validate()
	}
	if err := validate(`, health = { user = "b" }`); err != nil {
		t.Errorf("all have one: got %v; want no problem", err)
	}
	if err := validate(""); err == nil {
		t.Error("one has none: got no problem; want one")
	}
}

func TestParseProbe(t *testing.T) {
	p, err := ParseProbe([]Setting{
		{"--type https", "type", "https"},
		{"--path /x", "http.path", "/x"},
		{"--status", "http.status", []any{"204"}},
		{"--user", "user", nil},
	})
	want := DefaultProbe()
	want.Type, want.HTTP.Path, want.HTTP.Status, want.TLS.Enabled = "https", "/x", []StatusRange{{204, 204}}, true
	if err != nil || p.HTTP.Path != want.HTTP.Path || p.HTTP.Status[0] != want.HTTP.Status[0] || !p.TLS.Enabled || p.Type != want.Type {
		t.Errorf("got %+v, %v; want %+v", p, err, want)
	}
	for _, tt := range []struct {
		settings []Setting
		want     string
	}{
		{[]Setting{{"--type htp", "type", "htp"}}, `--type htp: unknown health type "htp"; did you mean "http"?`},
		{[]Setting{{"--role primary", "role", "primary"}}, "--role primary: means nothing to health type tcp; it is for postgres, mysql, redis"},
		{[]Setting{{"--type exec", "type", "exec"}, {"--command", "exec.command", nil}}, "--command: is missing; want a program and its arguments"},
		{[]Setting{{"--type http", "type", "http"}, {"--status 2", "http.status", []any{"2"}}},
			`--status 2: "2" is no status; want one such as "200", "200-399" or "2xx", out of 100..599`},
	} {
		_, err := ParseProbe(tt.settings)
		var problems Problems
		if !errors.As(err, &problems) || err.Error() != tt.want {
			t.Errorf("got %v; want %s", err, tt.want)
		}
	}
}
