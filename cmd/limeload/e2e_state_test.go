//go:build linux

package main_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Overrides survive a restart, even one by kill -9, where there is a state file.
func TestOverridesSurviveKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, state, socket := filepath.Join(dir, "limeload.toml"), filepath.Join(dir, "overrides.json"), filepath.Join(dir, "api.sock")
	a, b, c := startEcho(t, "a", "127.0.0.1:0"), startEcho(t, "b", "127.0.0.1:0"), startEcho(t, "c", "127.0.0.1:0")
	conf := fmt.Sprintf(`
		log = { format = "json" }
		admin = { listen = "unix:%s", state_file = %q }
		[[listener]]
		name = "front"
		listen = ["127.0.0.1:0"]
		pool = "db"
		[[pool]]
		name = "db"
		health = { interval = "20ms" }
		backend = [{ name = "a", address = %q }, { name = "b", address = %q }]
	`, socket, state, a.address, b.address)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	api := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	call := func(method, path, body string) string {
		t.Helper()
		req, err := http.NewRequest(method, "http://limeload/api/v1"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := api.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode >= 400 {
			t.Fatalf("%s %s: %s %s %v", method, path, res.Status, answer, err)
		}
		return string(answer)
	}

	l := serveFile(t, file)
	call("PATCH", "/pools/db/backends/a", `{"mode":"drain"}`)
	call("DELETE", "/pools/db/backends/b", "")
	call("POST", "/pools/db/backends", fmt.Sprintf(`{"name":"c","address":%q}`, c.address))
	if got := call("GET", "/overrides", ""); strings.Count(got, `"persisted":true`) != 3 {
		t.Errorf("overrides %s; want three that are persisted", got)
	}
	l.signal(syscall.SIGKILL)
	l.status()

	l = serveFile(t, file)
	wantFields(t, l.await(fields{"msg": "overrides recalled"}), fields{"overrides": 3, "file": state})
	l.await(fields{"msg": "backend up", "backend": "c"}) // before that it gets nobody
	for range 4 {
		v := visit(t, l.address("front"))
		if v.name != "c" {
			t.Errorf("served by %s; want c: a drains and b was removed", v.name)
		}
		v.leave(t)
	}
	call("POST", "/reload?reset_overrides=true", "")
	l.signal(syscall.SIGTERM)
	l.status()

	l = serveFile(t, file)
	wantFields(t, l.await(fields{"msg": "overrides recalled"}), fields{"overrides": 0})
}
