package admin

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// operations are all that a client can ask for, with parameters that exist: method and path.
func operations(t *testing.T, r *rig) [][2]string {
	t.Helper()
	all := operationsOf(t, r, strings.NewReplacer("{pool}", "pool", "{backend}", "a", "{listener}", "front", "{id}", "1-1"))
	return append(all, [2]string{"GET", "/metrics"})
}

// operationsOf are those of the description, with fill applied to their paths, and the
// description itself.
func operationsOf(t *testing.T, r *rig, fill *strings.Replacer) (all [][2]string) {
	t.Helper()
	var api struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal([]byte(r.get(t, "/api/v1/openapi.json")), &api); err != nil {
		t.Fatal(err)
	}
	for path, methods := range api.Paths {
		for method := range methods {
			all = append(all, [2]string{strings.ToUpper(method), fill.Replace(path)})
		}
	}
	if len(all) < 18 {
		t.Fatalf("got %d operations; want all of them: %v", len(all), all)
	}
	return append(all, [2]string{"GET", "/api/v1/docs"}, [2]string{"GET", "/api/v1/openapi.json"})
}

// Every operation is guarded: what the guard of one keeps out, all keep out, those that
// are still to come too.
func TestSafetyOfEveryOperation(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, Options{}, false)
	guarded := newRig2(t, r, Options{TokenFile: token}, false)
	before := r.get(t, "/api/v1/config")
	for _, op := range operations(t, r) {
		method, path := op[0], op[1]
		for _, test := range []struct {
			name   string
			r      *rig
			only   bool // for what changes something
			body   string
			header []string
			want   int
		}{
			{"no token", guarded, false, "", nil, 401},
			{"a wrong token", guarded, false, "", []string{"Authorization", "Bearer s3creT"}, 401},
			{"the token of another scheme", guarded, false, "", []string{"Authorization", "Basic s3cret"}, 401},
			{"a name that was rebound", r, false, "", []string{"Host", "evil.example"}, 421},
			{"a name that was rebound, and a token", guarded, false, "", []string{"Host", "evil.example", "Authorization", "Bearer s3cret"}, 421},
			{"a page of another origin", r, true, "", []string{"Origin", "http://evil.example"}, 403},
			{"a page of another site", r, true, "", []string{"Sec-Fetch-Site", "cross-site"}, 403},
			{"a body without end", r, true, strings.Repeat("x", 2<<20), nil, 413},
			{"a body without end, in chunks", r, false, strings.Repeat("x", 2<<20), []string{"Transfer-Encoding", "chunked"}, 413},
			{"a body of no type, in chunks", r, true, "{}", []string{"Transfer-Encoding", "chunked", "Content-Type", ""}, 415},
		} {
			if test.only && method == "GET" {
				continue
			}
			if status, body := test.r.call(t, method, path, test.body, test.header...); status != test.want {
				t.Errorf("%s: %s %s: got %d %.200s; want %d", test.name, method, path, status, body, test.want)
			}
		}
	}
	if after := r.get(t, "/api/v1/config"); after != before {
		t.Errorf("something got through: the configuration was\n%s\nand is\n%s", before, after)
	}
}

// An operation that takes no body is not done for somebody who sends one and thinks that it
// says how.
func TestBodyThatNobodyWants(t *testing.T) {
	r := newRig(t, Options{}, false)
	before := r.get(t, "/api/v1/config")
	for _, op := range operations(t, r) {
		method, path := op[0], op[1]
		if method == "GET" || method == "PATCH" || method == "POST" && path != "/api/v1/reload" {
			continue
		}
		for _, header := range [][]string{nil, {"Transfer-Encoding", "chunked"}} {
			if status, body := r.call(t, method, path, `{"dry_run": true}`, header...); status != 400 || !strings.Contains(body, "takes no body") {
				t.Errorf("%s %s %v: got %d %.200s; want 400", method, path, header, status, body)
			}
		}
	}
	if after := r.get(t, "/api/v1/config"); after != before {
		t.Errorf("something got through: the configuration was\n%s\nand is\n%s", before, after)
	}
	for _, nothing := range []string{"{}", " "} {
		if status, body := r.call(t, "DELETE", "/api/v1/overrides", nothing); status != 204 {
			t.Errorf("%q: got %d %s; want 204", nothing, status, body)
		}
	}
}

// HAProxy's httpchk, say, asks so.
func TestRequestWithoutHost(t *testing.T) {
	r := newRig(t, Options{}, false)
	c, err := net.Dial("tcp", r.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /healthz HTTP/1.0\r\n\r\n")
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 200 OK") {
		t.Errorf("got %q, %v; want 200", answer, err)
	}
}

// Nothing is done for a body that does not arrive in its time, and what comes after that is
// no request of its own.
func TestBodyThatDoesNotArrive(t *testing.T) {
	s := httptest.NewUnstartedServer(guard("", hostList{any: true}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the request was served; want it refused")
	})))
	s.Config.ReadTimeout = 200 * time.Millisecond
	s.Start()
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
	answers := bufio.NewReader(c)
	res, err := http.ReadResponse(answers, nil)
	if err != nil || res.StatusCode != http.StatusRequestTimeout {
		t.Fatalf("got %v, %v; want 408", res, err)
	}
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if res, err := http.ReadResponse(answers, nil); err == nil {
		t.Errorf("the rest of the body was answered with %s; want the end", res.Status)
	}
}

// Reading changes nothing, whatever is read how often.
func TestReadingChangesNothing(t *testing.T) {
	r := newRig(t, Options{}, false)
	before, events := r.get(t, "/api/v1/config"), len(as[[]Event](t, r, "/api/v1/events"))
	for _, op := range operations(t, r) {
		if op[0] == http.MethodGet {
			for range 3 {
				r.call(t, "GET", op[1]+"?client=10.0.0.1&force=true&mode=drain", "")
			}
		}
	}
	if after := r.get(t, "/api/v1/config"); after != before {
		t.Errorf("the configuration was\n%s\nand is\n%s", before, after)
	}
	if n := len(as[[]Event](t, r, "/api/v1/events")); n != events {
		t.Errorf("got %d events; want the %d from before", n, events)
	}
}

// The mode of a credential of the service manager shows the mask of its access list.
func TestTokenFileThatIsACredential(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	if err := os.WriteFile(path, []byte("secret\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	if _, err := readToken(path); err == nil {
		t.Error("outside of the directory of credentials: got no error; want one")
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if token, err := readToken(path); err != nil || token != "secret" {
		t.Errorf("got %q, %v; want secret", token, err)
	}
}
