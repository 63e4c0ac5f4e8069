package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/pkg/testserver"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is the address of a backend.
func echo(t *testing.T) string {
	t.Helper()
	return testserver.StartEcho(t, "127.0.0.1:0", "").Address()
}

// rig is a running server with two backends, a and b, and its API.
type rig struct {
	*server.Server
	http *httptest.Server
}

func newRig(t *testing.T, o Options, local bool) *rig {
	t.Helper()
	text := fmt.Sprintf(`
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "pool"
[[pool]]
name = "pool"
health = { interval = "20ms", rise = 1, fall = 1 }
backend = [{ name = "a", address = %q }, { name = "b", address = %q }]
`, echo(t), echo(t))
	load := func() *config.Config {
		c, err := config.Parse("test.toml", []byte(text))
		if err == nil {
			err = c.Validate()
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s, err := server.New(load(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	select {
	case <-s.Started():
	case err := <-ran:
		t.Fatal(err)
	}
	if o.Reload == nil {
		o.Reload = func(ctx context.Context, r server.Reload) ([]config.Change, error) { return s.Reload(ctx, load(), r) }
	}
	h, err := Handler(s, o, local)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{s, httptest.NewServer(h)}
	t.Cleanup(func() {
		r.http.Close()
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(gone)
		<-ran
	})
	r.await(t, "both are up", func() bool {
		return strings.Count(r.get(t, "/api/v1/pools/pool/backends"), `"health":"up"`) == 2
	})
	return r
}

func (r *rig) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// call makes a request and answers status and body.
func (r *rig) call(t *testing.T, method, path, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, r.http.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		switch header[i] {
		case "Host":
			req.Host = header[i+1]
		case "Transfer-Encoding":
			req.ContentLength = -1
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode >= 400 && strings.HasPrefix(path, "/api/") && res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s %s: %d with content type %q; want problem details", method, path, res.StatusCode, res.Header.Get("Content-Type"))
	}
	return res.StatusCode, string(b)
}

func (r *rig) get(t *testing.T, path string) string {
	t.Helper()
	status, body := r.call(t, "GET", path, "")
	if status != http.StatusOK {
		t.Fatalf("GET %s: %d %s", path, status, body)
	}
	return body
}

func TestResources(t *testing.T) {
	r := newRig(t, Options{Version: "v1"}, false)
	var status Status
	if err := json.Unmarshal([]byte(r.get(t, "/api/v1/status")), &status); err != nil {
		t.Fatal(err)
	}
	if status.Version != "v1" || !status.Ready || status.Listeners != 1 || status.Pools != 1 {
		t.Errorf("status %+v", status)
	}
	var listeners []Listener
	if err := json.Unmarshal([]byte(r.get(t, "/api/v1/listeners")), &listeners); err != nil {
		t.Fatal(err)
	}
	if len(listeners) != 1 || listeners[0].Addresses[0] != r.Addr("front").String() {
		t.Errorf("listeners %+v", listeners)
	}
	if got := r.get(t, "/healthz") + r.get(t, "/readyz") + r.get(t, "/readyz?listener=front") + r.get(t, "/readyz?pool=pool"); got != "ok\nready\nready\nready\n" {
		t.Errorf("healthz and readyz: %q", got)
	}
	if doc := r.get(t, "/api/v1/openapi.json"); !strings.Contains(doc, `"openapi":"3.1.0"`) {
		t.Errorf("openapi.json: %.80s", doc)
	}
}

func TestChanges(t *testing.T) {
	const a, all = "/api/v1/pools/pool/backends/a", "/api/v1/pools/pool/backends"
	r := newRig(t, Options{}, false)
	third := echo(t)
	for _, step := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"drain", "PATCH", a, `{"mode":"drain"}`, 200, `"mode":"drain"`},
		{"an override shows", "GET", all, "", 200, `"override":{"mode":"drain"}`},
		{"it survives a reload", "POST", "/api/v1/reload", "", 200, `[]`},
		{"still there", "GET", all, "", 200, `"override":{"mode":"drain"}`},
		{"weight and mode at once", "PATCH", a, `{"mode":"ready","weight":7}`, 200, `"weight":7`},
		{"weight out of range", "PATCH", a, `{"weight":257}`, 422, "0..256"},
		{"no such mode", "PATCH", a, `{"mode":"off"}`, 422, "ready, drain, maintenance"},
		{"a parameter with a typing error", "POST", "/api/v1/reload?dryrun=true", "", 422, "dryrun"},
		{"no such key", "PATCH", a, `{"wieght":1}`, 422, "unexpected property"},
		{"no such backend", "PATCH", all + "/nobody", `{"weight":1}`, 404, "nobody"},
		{"no such pool", "GET", "/api/v1/pools/nowhere/backends", "", 404, "nowhere"},
		{"add", "POST", all, fmt.Sprintf(`{"address":%q,"name":"c"}`, third), 201, `"name":"c"`},
		{"add again", "POST", all, fmt.Sprintf(`{"address":%q}`, third), 409, "exists already"},
		{"add nonsense", "POST", all, `{"address":"10.0.0.1"}`, 422, "port"},
		{"add link-local", "POST", all, `{"address":"169.254.169.254:80"}`, 422, "link-local"},
		{"add ourselves", "POST", all, fmt.Sprintf(`{"address":%q}`, r.Addr("front")), 422, "own listener"},
		{"not JSON", "POST", all, `address`, 400, ""},
		{"kill", "DELETE", a + "/sessions", "", 200, `{"killed":0}`},
		{"remove", "DELETE", all + "/c?force=true", "", 204, ""},
		{"remove again", "DELETE", all + "/c", "", 404, `\"c\"`},
		{"reset", "DELETE", "/api/v1/overrides", "", 204, ""},
		{"as the file says", "GET", "/api/v1/status", "", 200, `"overrides":0`},
	} {
		t.Run(step.name, func(t *testing.T) {
			status, body := r.call(t, step.method, step.path, step.body)
			if status != step.status || !strings.Contains(body, step.want) {
				t.Errorf("%s %s: %d %s; want %d with %q", step.method, step.path, status, body, step.status, step.want)
			}
		})
	}
}

// What is kept out, and what is not.
func TestSafety(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, Options{}, false)
	guarded := newRig2(t, r, Options{TokenFile: token, Hosts: []config.HostName{"lb1.example"}}, false)
	local := newRig2(t, r, Options{}, true)
	const a = "/api/v1/pools/pool/backends/a"
	for _, test := range []struct {
		name         string
		r            *rig
		method, path string
		body         string
		header       []string
		want         int
	}{
		{"localhost", r, "GET", "/api/v1/status", "", []string{"Host", "localhost:1"}, 200},
		{"an IPv6 host", r, "GET", "/api/v1/status", "", []string{"Host", "[::1]:5480"}, 200},
		{"a name that was rebound", r, "GET", "/api/v1/status", "", []string{"Host", "evil.example"}, 421},
		{"any host on a unix socket", local, "GET", "/api/v1/status", "", []string{"Host", "limeload"}, 200},
		{"a page of another origin", r, "PATCH", a, `{"weight":1}`, []string{"Origin", "http://evil.example"}, 403},
		{"a page of another site", r, "PATCH", a, `{"weight":1}`, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a form", r, "POST", "/api/v1/pools/pool/backends", "address=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"a body of no type", r, "PATCH", a, `{"weight":1}`, []string{"Content-Type", ""}, 415},
		{"text where no body is needed", r, "POST", "/api/v1/reload", "x", []string{"Content-Type", "text/plain"}, 415},
		{"JSON with a charset", r, "PATCH", a, `{"weight":1}`, []string{"Content-Type", "application/json; charset=utf-8"}, 200},
		{"a body without end", r, "PATCH", a, `{"mode":"` + strings.Repeat("x", 2<<20) + `"}`, nil, 413},
		{"no GET changes anything", r, "GET", "/api/v1/reload", "", nil, 405},
		{"a name that was rebound, with the token", guarded, "GET", "/api/v1/status", "", []string{"Host", "evil.example", "Authorization", "Bearer s3cret"}, 421},
		{"a name that was rebound, where no token is needed", guarded, "GET", "/readyz", "", []string{"Host", "evil.example"}, 421},
		{"one of the hosts, with the token", guarded, "GET", "/api/v1/status", "", []string{"Host", "lb1.example:5480", "Authorization", "Bearer s3cret"}, 200},
		{"one of the hosts, without the token", guarded, "GET", "/api/v1/status", "", []string{"Host", "lb1.example:5480"}, 401},
		{"no token", guarded, "GET", "/api/v1/status", "", nil, 401},
		{"a wrong token", guarded, "GET", "/api/v1/status", "", []string{"Authorization", "Bearer s3cre"}, 401},
		{"the token", guarded, "GET", "/api/v1/status", "", []string{"Authorization", "Bearer s3cret"}, 200},
		{"the token, with the scheme in small letters", guarded, "GET", "/api/v1/status", "", []string{"Authorization", "bearer s3cret"}, 200},
		{"the token without a scheme", guarded, "GET", "/api/v1/status", "", []string{"Authorization", "s3cret"}, 401},
		{"health needs no token", guarded, "GET", "/healthz", "", nil, 200},
		{"readiness needs no token", guarded, "GET", "/readyz", "", nil, 200},
		{"but metrics do", guarded, "GET", "/metrics", "", nil, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			if status, body := test.r.call(t, test.method, test.path, test.body, test.header...); status != test.want {
				t.Errorf("%d %s; want %d", status, body, test.want)
			}
		})
	}
}

// newRig2 is another API of the same server.
func newRig2(t *testing.T, r *rig, o Options, local bool) *rig {
	t.Helper()
	h, err := Handler(r.Server, o, local)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &rig{r.Server, s}
}

func TestTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	for _, test := range []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"missing", "", 0, "no such file"},
		{"readable by others", "x", 0o644, "0600"},
		{"empty", "\n", 0o600, "empty"},
		{"of two lines", "old\nnew\n", 0o600, "more than one line"},
	} {
		t.Run(test.name, func(t *testing.T) {
			os.Remove(path)
			if test.mode != 0 {
				if err := os.WriteFile(path, []byte(test.content), test.mode); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := readToken(path); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v; want an error with %q", err, test.want)
			}
		})
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	ln, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o; want 0600", info.Mode().Perm())
	}
	if _, err := listenUnix(path); !errors.Is(err, ErrTaken) {
		t.Errorf("a second one: %v; want %v", err, ErrTaken)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	ln, err = listenUnix(path)
	if err != nil {
		t.Fatalf("in place of what a killed process left: %v", err)
	}
	ln.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(path); err == nil || !strings.HasSuffix(err.Error(), "address already in use: what is there is no socket") {
		t.Errorf("in place of a file: %v; want an error that says so", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file is gone")
	}
}

// What keeps the default socket away is said in words that somebody can act on.
func TestNoDefaultSocket(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	for _, test := range []struct{ name, directory, want string }{
		{"a path beyond what the system allows", long, fmt.Sprintf("admin: default socket: unix path is %d bytes long; the system allows 107", len(long+"/admin.sock"))},
		{"a directory that is not absolute", "run", `admin: default socket: unix path "run/admin.sock" is not absolute; want unix:/path`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			t.Setenv("RUNTIME_DIRECTORY", test.directory)
			ln, err := Listen(config.AdminListen{Default: true})
			if ln != nil || err == nil || err.Error() != test.want {
				t.Errorf("got %v, %v; want %s", ln, err, test.want)
			}
			if _, err := os.Lstat(test.directory); err == nil {
				t.Errorf("%s was made for nothing", test.directory)
			}
		})
	}
}
