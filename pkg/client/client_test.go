package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers every request with h, on TCP.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func connect(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAddresses(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/lime")
	for _, c := range []struct{ address, base, socket string }{
		{"", "http://localhost", "/run/lime/admin.sock"},
		{"default", "http://localhost", "/run/lime/admin.sock"},
		{"unix:/tmp/a.sock", "http://localhost", "/tmp/a.sock"},
		{"10.0.0.5:5480", "http://10.0.0.5:5480", ""},
		{"[::1]:5480", "http://[::1]:5480", ""},
		{":5480", "http://localhost:5480", ""},
		{"http://10.0.0.5:5480/", "http://10.0.0.5:5480", ""},
		{"https://lime.example", "https://lime.example", ""},
	} {
		got, err := New(Options{Address: c.address})
		if err != nil {
			t.Errorf("%q: %v", c.address, err)
			continue
		}
		if got.at.base != c.base || got.at.socket != c.socket {
			t.Errorf("%q: got %q, socket %q; want %q, socket %q", c.address, got.at.base, got.at.socket, c.base, c.socket)
		}
	}
	for _, bad := range []string{"lime", "10.0.0.5", "10.0.0.5:", "unix:", "http://", "http://me:pw@host:1", "http://host:1/?x=1"} {
		if _, err := New(Options{Address: bad}); err == nil || !strings.Contains(err.Error(), "want ") {
			t.Errorf("%q: got %v; want an error that says what would be right", bad, err)
		}
	}
}

// The server's own choice of a default socket is pkg/admin's; cmd/limeload compares them.
func TestDefaultSocket(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	want := "/run/user/7/limeload/admin.sock"
	if os.Geteuid() == 0 {
		want = "/run/limeload/admin.sock"
	}
	t.Setenv("RUNTIME_DIRECTORY", "/run/lime:/run/lime-2")
	if got := DefaultSocket(); got != "/run/lime/admin.sock" {
		t.Errorf("of two directories: got %q; want the socket in the first", got)
	}
	t.Setenv("RUNTIME_DIRECTORY", "")
	if got := DefaultSocket(); got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

// A user without a server of their own means the machine's.
func TestTheSystemsSocket(t *testing.T) {
	dir := t.TempDir()
	own, system := filepath.Join(dir, "own"), filepath.Join(dir, "system")
	if got := existing(own, system); got != own {
		t.Errorf("neither exists: got %s; want the user's own", got)
	}
	for _, next := range []struct{ exists, want string }{{system, system}, {own, own}} {
		if err := os.WriteFile(next.exists, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := existing(own, system); got != next.want {
			t.Errorf("%s exists: got %s; want %s", next.exists, got, next.want)
		}
	}
}

func TestTokenFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var got string
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		fmt.Fprint(w, "{}")
	})
	c := connect(t, Options{Address: at, TokenFile: write("token", " s3cr3t\n")})
	if _, err := c.Status(t.Context()); err != nil || got != "Bearer s3cr3t" {
		t.Errorf("got %q, %v; want the file's token", got, err)
	}
	for _, path := range []string{filepath.Join(dir, "none"), write("empty", " \n"), write("two", "a\nb\n")} {
		if _, err := New(Options{TokenFile: path}); err == nil || !strings.HasPrefix(err.Error(), "token file: ") {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// A token goes to the address that was given, and nowhere else.
func TestRedirectsAreNotFollowed(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
	})
	_, err := connect(t, Options{Address: at}).Status(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Status != http.StatusFound {
		t.Errorf("got %v; want status 302", err)
	}
}

// Names are one segment each, whatever they hold.
func TestNamesAreEscaped(t *testing.T) {
	var got string
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.EscapedPath()
		fmt.Fprint(w, "{}")
	})
	if _, err := connect(t, Options{Address: at}).Backend(t.Context(), "p", "unix:/a b/c?d"); err != nil {
		t.Fatal(err)
	}
	if want := "/api/v1/pools/p/backends/unix:%2Fa%20b%2Fc%3Fd"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

func TestProblemsBecomeErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"one sentence", 409, `{"status":409,"detail":"backend a: exists already"}`, "backend a: exists already"},
		{
			"several", 422, `{"detail":"validation failed","errors":[{"message":"expected number <= 256","location":"body.weight","value":300},{"message":"x.toml:3: y"}]}`,
			"validation failed\nweight: expected number <= 256\nx.toml:3: y",
		},
		{"no details", 502, `<html>`, "AT answers 502 Bad Gateway: is that limeload's admin API?"},
		{"empty", 500, ``, "AT answers 500 Internal Server Error: is that limeload's admin API?"},
		{"no token", 401, `{"detail":"want the header"}`, "AT wants a token: give it with --token-file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			_, err := connect(t, Options{Address: at}).Status(t.Context())
			var e *Error
			if !errors.As(err, &e) || e.Status != c.status {
				t.Fatalf("got %v; want an Error with status %d", err, c.status)
			}
			if want := strings.ReplaceAll(c.want, "AT", at); err.Error() != want {
				t.Errorf("got %q; want %q", err, want)
			}
			if IsUnknown(err) {
				t.Error("it is taken for something unknown")
			}
		})
	}
}

func TestAnswersThatAreNotTheAPIs(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	if _, err := connect(t, Options{Address: at}).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "is not limeload's admin API") {
		t.Errorf("got %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := l.Addr().String()
	l.Close()
	for _, c := range []struct{ name, address, want string }{
		{"no socket", "unix:" + filepath.Join(t.TempDir(), "none"), "there is no such socket; is limeload running"},
		{"refused", refused, "connection refused; is limeload running"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := connect(t, Options{Address: c.address}).Status(t.Context())
			var u *Unreachable
			if !errors.As(err, &u) || u.Address != c.address {
				t.Fatalf("got %v; want an Unreachable with the address", err)
			}
			if want := "connect " + c.address + ": " + c.want; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %q; want %q...", err, want)
			}
		})
	}
}

// A server that hangs is given up after the timeout, and at once when the caller has
// enough.
func TestPatience(t *testing.T) {
	hang := make(chan struct{})
	at := serve(t, func(w http.ResponseWriter, r *http.Request) { <-hang })
	defer close(hang)
	_, err := connect(t, Options{Address: at, Timeout: time.Millisecond}).Status(t.Context())
	var u *Unreachable
	if !errors.As(err, &u) || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("timeout: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := connect(t, Options{Address: at}).Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v; want context.Canceled", err)
	}
}

// What is asked for arrives as the API names it; what is left out is not sent.
func TestQueries(t *testing.T) {
	var got string
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.URL.RequestURI()
		if r.Method == http.MethodPost {
			fmt.Fprint(w, "[]")
			return
		}
		fmt.Fprint(w, "{}")
	})
	c, ctx := connect(t, Options{Address: at}), t.Context()
	for _, q := range []struct {
		want string
		ask  func() error
	}{
		{"GET /api/v1/sessions", func() error { _, err := c.Sessions(ctx, SessionQuery{}); return err }},
		{
			"GET /api/v1/sessions?backend=b&client=10.0.0.0%2F8&limit=5&listener=l&offset=7&pool=p&q=x&sort=-age",
			func() error {
				_, err := c.Sessions(ctx, SessionQuery{"l", "p", "b", "10.0.0.0/8", "x", "-age", 5, 7})
				return err
			},
		},
		{"POST /api/v1/reload", func() error { _, err := c.Reload(ctx, false, false); return err }},
		{"POST /api/v1/reload?dry_run=true&reset_overrides=true", func() error { _, err := c.Reload(ctx, true, true); return err }},
		{"GET /api/v1/explain?client=10.1.2.3&listener=l", func() error { _, err := c.Explain(ctx, "l", "10.1.2.3"); return err }},
		{"GET /api/v1/explain?client=unix", func() error { _, err := c.Explain(ctx, "", "unix"); return err }},
		{"DELETE /api/v1/pools/p/backends/b", func() error { return c.RemoveBackend(ctx, "p", "b", false) }},
		{"DELETE /api/v1/pools/p/backends/b?force=true", func() error { return c.RemoveBackend(ctx, "p", "b", true) }},
	} {
		if err := q.ask(); err != nil || got != q.want {
			t.Errorf("got %s, %v; want %s", got, err, q.want)
		}
	}
}
