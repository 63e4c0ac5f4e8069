//go:build linux

package main_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/limeload/limeload/pkg/testserver"
)

// probedPool is a pool of one backend, which a probe of some type finds to be up.
type probedPool struct {
	kind, address string
	settings      string // more of its health table
}

// allProbes are probes of every type that needs another server than one that accepts:
// real ones, of the kinds that are installed.
func allProbes(t *testing.T) []probedPool {
	t.Helper()
	site := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	plain, secure := httptest.NewServer(site), httptest.NewTLSServer(site)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}
	if err := os.WriteFile(authority, pem.EncodeToMemory(&block), 0o644); err != nil {
		t.Fatal(err)
	}
	tls := fmt.Sprintf(`, tls = { ca_file = %q, server_name = "example.com" }`, authority)
	return []probedPool{
		{"exec", hostOf(t, plain), `, exec = { command = ["/bin/sh", "-c", "echo fine"] }`},
		{"http", hostOf(t, plain), ""},
		{"https", hostOf(t, secure), tls},
		{"tls", hostOf(t, secure), tls},
		{"postgres", testserver.StartPostgres(t).Address(), ""},
		{"mysql", testserver.StartMariaDB(t).Address(), ""},
		{"redis", testserver.StartRedis(t).Address(), ""},
	}
}

func hostOf(t *testing.T, s *httptest.Server) string {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// pools is their configuration.
func pools(probes []probedPool) string {
	var b strings.Builder
	for _, p := range probes {
		fmt.Fprintf(&b, `
[[pool]]
name    = "by-%s"
backend = [{ address = %q }]
health  = { type = %q, interval = "500ms", timeout = "500ms"%s }
`, p.kind, p.address, p.kind, p.settings)
	}
	return b.String()
}

// awaitProbes waits until each of them has found its backend up.
func awaitProbes(l *limeload, probes []probedPool) {
	for _, p := range probes {
		l.await(fields{"msg": "backend up", "pool": "by-" + p.kind})
	}
}
