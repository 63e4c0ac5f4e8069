package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/rs/zerolog"
)

// probed makes the probers of one pool's backends, whose health section and backends
// are lines of TOML.
func probed(t *testing.T, ps *Probers, health, backends string) []healthcheck.Prober {
	t.Helper()
	c := parse(t, `
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "pool"
[[pool]]
name = "pool"
%s
%s
`, health, backends)
	var all []healthcheck.Prober
	p := &c.Pools[0]
	for i := range p.Backends {
		prober, err := ps.Prober(p, &p.Backends[i])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, prober)
	}
	return all
}

// asked probes the address, or the zero one for "".
func asked(t *testing.T, p healthcheck.Prober, address string) healthcheck.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var a healthcheck.Address
	if address != "" {
		a.AddrPort = netip.MustParseAddrPort(address)
	}
	return p.Probe(ctx, a)
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// Each prober that the configuration knows can be made.
func TestProberOfEachType(t *testing.T) {
	for _, kind := range config.HealthTypes() {
		more := map[string]string{
			config.HealthExec:       "exec.command = ['/bin/true']",
			config.HealthSendExpect: "step = [{ send = 'x', expect = 'y' }]",
			config.HealthAgent:      "port = 1",
		}[kind]
		p := probed(t, NewProbers(), fmt.Sprintf("[pool.health]\ntype = %q\n%s", kind, more), "[[pool.backend]]\naddress = '127.0.0.1:1'")
		if (p[0] == nil) != (kind == config.HealthNone) {
			t.Errorf("%s: got %v", kind, p[0])
		}
	}
}

func TestProberGoesElsewhere(t *testing.T) {
	up := portOf(newEcho(t, "127.0.0.1:0"))
	for _, tt := range []struct{ name, health, backend string }{
		{"another port", fmt.Sprintf("port = %d", up), ""},
		{"another host and port", fmt.Sprintf("host = '127.0.0.1'\nport = %d", up), ""},
		{"a host by name", fmt.Sprintf("host = 'localhost'\nport = %d", up), ""},
		{"what the backend says", "host = '127.0.0.2'\nport = 1", fmt.Sprintf("health = { host = '127.0.0.1', port = %d }", up)},
	} {
		p := probed(t, NewProbers(), "[pool.health]\n"+tt.health, "[[pool.backend]]\naddress = '127.0.0.1:1'\n"+tt.backend)
		if r := asked(t, p[0], "127.0.0.1:1"); r.Verdict != healthcheck.Up {
			t.Errorf("%s: got %v, %s; want up", tt.name, r.Verdict, r.Text())
		}
	}
	p := probed(t, NewProbers(), "[pool.health]\nhost = 'none.invalid'", "[[pool.backend]]\naddress = '127.0.0.1:1'")
	if r := asked(t, p[0], "127.0.0.1:1"); r.Verdict != healthcheck.Down || r.Reason != healthcheck.ReasonDNS {
		t.Errorf("no such host: got %v, %q; want down, dns", r.Verdict, r.Reason)
	}
}

// A name keeps its last good addresses through errors, and is not asked for at each probe.
func TestProbedHost(t *testing.T) {
	h := newProbedHost("localhost")
	ips, looked := h.addresses(t.Context())
	if len(ips) == 0 || !looked {
		t.Fatalf("first: got %v, looked up %v; want addresses", ips, looked)
	}
	if again, looked := h.addresses(t.Context()); len(again) != len(ips) || looked {
		t.Errorf("again: got %v, looked up %v; want the same at once", again, looked)
	}
	h.name, h.asked = "none.invalid", time.Now().Add(-2*resolveEvery)
	if kept, looked := h.addresses(t.Context()); len(kept) != len(ips) || !looked {
		t.Errorf("after an error: got %v, looked up %v; want the last good ones", kept, looked)
	}
}

func TestProbersAreCombined(t *testing.T) {
	up, down := newEcho(t, "127.0.0.1:0").Addr().String(), "127.0.0.1:1"
	p := probed(t, NewProbers(), `
[pool.health]
type = "tcp"
[[pool.health.also]]
type = "send-expect"
step = [{ send = "ping", expect = "ping" }]
[[pool.health.also]]
type = "send-expect"
step = [{ send = "pong", expect = "pong" }]
`, fmt.Sprintf("[[pool.backend]]\naddress = %q\n[[pool.backend]]\naddress = %q", up, down))
	r := asked(t, p[0], up)
	var phases []string
	for _, ph := range r.Phases {
		phases = append(phases, ph.Name)
	}
	want := "connect send-expect.connect send-expect.step-1 send-expect-2.connect send-expect-2.step-1"
	if got := strings.Join(phases, " "); r.Verdict != healthcheck.Up || got != want {
		t.Errorf("got %v, phases %s; want up, %s", r.Verdict, got, want)
	}
	if r := asked(t, p[1], down); r.Verdict != healthcheck.Down || r.Text() != "tcp: connection refused" {
		t.Errorf("got %v, %q; want down, tcp: connection refused", r.Verdict, r.Text())
	}
}

// What an agent has said outlives a change of the configuration; another agent begins
// anew.
func TestAgentsOutliveAChange(t *testing.T) {
	at := newEcho(t, "127.0.0.1:0").Addr().String()
	agent := func(ps *Probers, said string) healthcheck.Prober {
		health := fmt.Sprintf("[pool.health]\ntype = 'agent'\nport = %s\nagent.send = \"%s\"", at[strings.LastIndex(at, ":")+1:], said)
		return probed(t, ps, health, "[[pool.backend]]\naddress = '127.0.0.1:1'")[0]
	}
	first := NewProbers()
	if r := asked(t, agent(first, `50%\n`), at); r.Facts.Share != 50 {
		t.Fatalf("got share %d; want 50", r.Facts.Share)
	}
	second := first.next(authoritiesOnDisk)
	a, b := agent(second, `50%\n`), agent(first, `50%\n`)
	if made(a) != made(b) {
		t.Error("the same agent: got another prober; want the same")
	}
	if other := agent(second, `up\n`); made(other) == made(a) {
		t.Error("another agent: got the same prober; want another")
	}
	third := second.next(authoritiesOnDisk).next(authoritiesOnDisk)
	if r := asked(t, agent(third, `50%\n`), at); r.Facts.Share != 50 || made(agent(third, `50%\n`)) == made(a) {
		t.Error("unused for one configuration: got the same prober; want another")
	}
}

// made is the prober below those that send it elsewhere.
func made(p healthcheck.Prober) healthcheck.Prober {
	if port, ok := p.(*portProber); ok {
		return port.Prober
	}
	return p
}

// A file of certificates that cannot be read any more stops no server that runs.
func TestAuthoritiesAreKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if _, err := NewProbers().trust(file); err == nil || !strings.HasPrefix(err.Error(), "health.tls.ca_file: open ") {
		t.Errorf("missing: got %v; want an error", err)
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewProbers().trust(file); err == nil || !strings.HasSuffix(err.Error(), "no certificate in PEM") {
		t.Errorf("nonsense: got %v; want an error", err)
	}
	if err := os.WriteFile(file, certificate(t), 0o600); err != nil {
		t.Fatal(err)
	}
	first := NewProbers()
	before, err := first.trust(file)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(file)
	second := first.next(authoritiesOnDisk)
	if kept, err := second.trust(file); kept != before || err != nil || len(second.warnings) != 1 {
		t.Errorf("gone: got %v, %v, warnings %v; want what was there, and one warning", kept, err, second.warnings)
	}
	if err := os.WriteFile(file, certificate(t), 0o600); err != nil {
		t.Fatal(err)
	}
	if anew, err := second.next(authoritiesOnDisk).trust(file); anew == before || err != nil {
		t.Errorf("another one: got %v, %v; want it read anew", anew, err)
	}
}

func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestServerName(t *testing.T) {
	for _, tt := range []struct{ backend, health, want string }{
		{"address = 'db.example.org:1'", "", "db.example.org"},
		{"address = '10.0.0.1:1'", "", ""},
		{"address = 'unix:/run/s'", "tls.verify = false", "localhost"},
		{"address = '10.0.0.1:1'", "host = 'api.example.org'", "api.example.org"},
		{"address = 'db.example.org:1'", "host = '10.0.0.1'", ""},
		{"address = 'db.example.org:1'", "tls.server_name = 'pool'", "pool"},
		{"address = 'db.example.org:1'\nhealth.tls.server_name = 'own'", "tls.server_name = 'pool'", "own"},
	} {
		c := parse(t, "[[listener]]\nname = 'l'\nlisten = [':0']\npool = 'p'\n[[pool]]\nname = 'p'\n[pool.health]\ntype = 'tls'\n%s\n[[pool.backend]]\n%s", tt.health, tt.backend)
		p := &c.Pools[0]
		h := p.HealthOf(&p.Backends[0])
		m := maker{Probers: NewProbers(), backend: &p.Backends[0], probe: &h.Probe}
		if got := m.serverName(); got != tt.want {
			t.Errorf("%s, %s: got %q; want %q", tt.backend, tt.health, got, tt.want)
		}
	}
}

func TestProbeAddresses(t *testing.T) {
	h := config.DefaultPool().Health
	if got := ProbeAddresses(&h, "/run/s", nil); len(got) != 1 || got[0].Path != "/run/s" {
		t.Errorf("unix: got %v; want the socket", got)
	}
	if got := ProbeAddresses(&h, "", nil); len(got) != 0 {
		t.Errorf("an unresolved name: got %v; want none", got)
	}
	h.Host = "10.0.0.9"
	if got := ProbeAddresses(&h, "", nil); len(got) != 1 {
		t.Errorf("probed elsewhere: got %v; want one that stands for all", got)
	}
	h.Also = []config.Probe{config.DefaultProbe()}
	if got := ProbeAddresses(&h, "", nil); len(got) != 0 {
		t.Errorf("not all elsewhere: got %v; want none", got)
	}
}

func TestWarnings(t *testing.T) {
	var log strings.Builder
	s := &Server{log: zerolog.New(&log)}
	warn := s.warner("pool", "backend")
	for _, w := range []string{"", "expires in 3 days", "expires in 3 days", "", "expires in 2 days", "expires in 2 days"} {
		warn(w)
	}
	if got := strings.Count(log.String(), "\n"); got != 2 || !strings.Contains(log.String(), "expires in 2 days") {
		t.Errorf("got %q; want each warning once", log.String())
	}
}

func TestConcurrencyIsConfigured(t *testing.T) {
	c := parse(t, "[health]\nconcurrency = 1000\n[[listener]]\nname = 'l'\nlisten = [':0']\npool = 'p'\n[[pool]]\nname = 'p'\nbackend = [{ address = '10.0.0.1:1' }]")
	plain, err := divide(10000, c)
	if err != nil || plain.probes != 1000 {
		t.Fatalf("got %+v, %v; want 1000 probes", plain, err)
	}
	c.Pools[0].Health.Type = config.HealthExec
	if exec, err := divide(10000, c); err != nil || exec.sessions >= plain.sessions {
		t.Errorf("commands: got %d sessions, %v; want fewer than %d", exec.sessions, err, plain.sessions)
	}
	c.Health.Concurrency = 4096
	if _, err := divide(5000, c); err == nil {
		t.Error("more probes than files: got no error; want one")
	}
	if b, err := divide(0, c); err != nil || b.probes != 4096 {
		t.Errorf("no limit: got %+v, %v; want 4096", b, err)
	}
}
