package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/limeload/limeload/pkg/server"
)

// as reads what a GET answers.
func as[T any](t *testing.T, r *rig, path string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.get(t, path)), &v); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return v
}

// hold opens sessions that have moved four bytes each way.
func hold(t *testing.T, r *rig, n int) (conns []net.Conn) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", r.Addr("front").String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := ping(c); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	return conns
}

func ping(c net.Conn) error {
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return err
}

func TestSingleResources(t *testing.T) {
	r := newRig(t, Options{ConfigFile: "/etc/limeload.toml"}, false)
	status := as[Status](t, r, "/api/v1/status")
	if status.Uptime <= 0 || status.Time.Before(status.Started) || status.Engine == "" || status.Loops < 1 || status.ConfigFile != "/etc/limeload.toml" {
		t.Errorf("status: got %+v; want time, uptime, engine, loops and file", status)
	}
	if l := as[Listener](t, r, "/api/v1/listeners/front"); l.Name != "front" || l.Pool != "pool" {
		t.Errorf("listener: got %+v", l)
	}
	if p := as[Pool](t, r, "/api/v1/pools/pool"); p.Name != "pool" || p.Usable != 2 || len(p.Backends) != 2 {
		t.Errorf("pool: got %+v", p)
	}
	if b := as[Backend](t, r, "/api/v1/pools/pool/backends/b"); b.Name != "b" || !b.Usable || b.Excluded != "" || b.Effective != 1 {
		t.Errorf("backend: got %+v", b)
	}
	r.call(t, "PATCH", "/api/v1/pools/pool/backends/b", `{"mode":"drain"}`)
	if b := as[Backend](t, r, "/api/v1/pools/pool/backends/b"); b.Usable || b.Excluded != "mode is drain" {
		t.Errorf("a drained backend: got usable %v, excluded %q; want the reason", b.Usable, b.Excluded)
	}
	for _, path := range []string{"listeners/x", "pools/x", "pools/pool/backends/x", "pools/x/backends/a", "history?pool=x", "explain?client=10.0.0.1&listener=x"} {
		if status, body := r.call(t, "GET", "/api/v1/"+path, ""); status != http.StatusNotFound || !strings.Contains(body, "x") {
			t.Errorf("GET %s: got %d %s; want 404 that names x", path, status, body)
		}
	}
}

func TestSessions(t *testing.T) {
	r := newRig(t, Options{}, false)
	conns := hold(t, r, 5)
	var all Sessions
	r.await(t, "what was sent back is counted", func() bool { // a moment after the client has it
		all = as[Sessions](t, r, "/api/v1/sessions")
		return !slices.ContainsFunc(all.Sessions, func(s Session) bool { return s.BytesDown == 0 })
	})
	if all.Total != 5 || len(all.Sessions) != 5 {
		t.Fatalf("got %d of %d sessions; want 5 of 5", len(all.Sessions), all.Total)
	}
	for _, s := range all.Sessions {
		if s.Listener != "front" || s.Pool != "pool" || s.Client != "127.0.0.1" || s.State != "open" ||
			s.BytesUp != 4 || s.BytesDown != 4 || s.Age <= 0 || s.ConnectTime <= 0 || s.BackendAddress == "" {
			t.Errorf("got %+v", s)
		}
	}
	second := conns[1].LocalAddr().String()
	byClient := func(a, b Session) int { return a.ClientPort - b.ClientPort }
	for _, test := range []struct {
		query      string
		total, len int
	}{
		{"limit=2", 5, 2},
		{"limit=2&offset=4", 5, 1},
		{"client=127.0.0.1", 5, 5},
		{"client=::ffff:127.0.0.1", 5, 5},
		{"client=127.0.0.0/30", 5, 5},
		{"client=10.0.0.0/8", 0, 0},
		{"client=" + second, 1, 1},
		{"client=unix", 0, 0},
		{"q=" + second, 1, 1},
		{"q=nobody", 0, 0},
		{"listener=front&pool=pool&backend=a", 3, 3},
		{"listener=back", 0, 0},
	} {
		got := as[Sessions](t, r, "/api/v1/sessions?sort=client&"+test.query)
		if got.Total != test.total || len(got.Sessions) != test.len || !slices.IsSortedFunc(got.Sessions, byClient) {
			t.Errorf("%s: got %d of %d; want %d of %d, sorted", test.query, len(got.Sessions), got.Total, test.len, test.total)
		}
	}
	for _, query := range []string{"limit=0", "limit=1001", "offset=-1", "sort=color", "client=nobody", "client=10.0.0.0/33"} {
		if status, body := r.call(t, "GET", "/api/v1/sessions?"+query, ""); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: got %d %s; want 422", query, status, body)
		}
	}
}

func TestKillASession(t *testing.T) {
	r := newRig(t, Options{}, false)
	conns := hold(t, r, 2)
	id := as[Sessions](t, r, "/api/v1/sessions?client="+conns[0].LocalAddr().String()).Sessions[0].ID
	for _, want := range []int{http.StatusNoContent, http.StatusNotFound} {
		if status, body := r.call(t, "DELETE", "/api/v1/sessions/"+id, ""); status != want {
			t.Errorf("delete %s: got %d %s; want %d", id, status, body, want)
		}
	}
	if ping(conns[0]) == nil || ping(conns[1]) != nil {
		t.Error("want the first session dead and the second one alive")
	}
	if status, body := r.call(t, "DELETE", "/api/v1/sessions/nonsense", ""); status != http.StatusNotFound {
		t.Errorf("got %d %s; want 404", status, body)
	}
}

func TestExplanation(t *testing.T) {
	r := newRig(t, Options{}, false)
	r.call(t, "PATCH", "/api/v1/pools/pool/backends/a", `{"mode":"drain"}`)
	e := as[Explanation](t, r, "/api/v1/explain?listener=front&client=10.1.2.3")
	if e.Backend != "b" || e.Algorithm != "least-connections" || e.Pool != "pool" || e.Client != "10.1.2.3" || e.Reason == "" || e.RefusedBy != "" || len(e.Candidates) != 2 {
		t.Errorf("got %+v", e)
	}
	a, b := e.Candidates[0], e.Candidates[1]
	if a.Backend != "a" || a.Usable || a.Excluded != "mode is drain" || a.Since == nil || a.Tier != "" || a.Mode != "drain" {
		t.Errorf("a: got %+v; want it drained, and since when", a)
	}
	if !b.Usable || b.Excluded != "" || b.Tier != "up" || b.Load != 1 || b.Probe != "up" || b.ProbeAt == nil {
		t.Errorf("b: got %+v; want it usable, its load and its probe", b)
	}
	if e := as[Explanation](t, r, "/api/v1/explain?client=unix"); e.Client != "unix" || e.Backend != "b" {
		t.Errorf("unix: got %+v", e)
	}
	for _, query := range []string{"", "?client=nobody"} {
		if status, body := r.call(t, "GET", "/api/v1/explain"+query, ""); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: got %d %s; want 422", query, status, body)
		}
	}
}

func TestHistory(t *testing.T) {
	r := newRig(t, Options{}, false)
	h := as[History](t, r, "/api/v1/history?pool=pool")
	a, ok := h.Pools["pool"].Backends["a"]
	if _, front := h.Listeners["front"]; !ok || !front || h.Step != 5 || len(a.Active) != len(a.ConnectMS) {
		t.Errorf("got %+v; want a and front, every 5 s", h)
	}
	h = as[History](t, r, "/api/v1/history?backends=false")
	if front, ok := h.Listeners["front"]; !ok || front.Refused == nil || len(h.Pools) != 0 {
		t.Errorf("of listeners: got %+v; want front alone", h)
	}
	b, err := json.Marshal(Means{1.5, float32(math.NaN()), 0})
	if string(b) != "[1.5,null,0]" || err != nil {
		t.Errorf("means: got %s, %v; want null for what is missing", b, err)
	}
}

func TestConfiguration(t *testing.T) {
	r := newRig(t, Options{}, false)
	r.call(t, "PATCH", "/api/v1/pools/pool/backends/a", `{"weight":42}`)
	c := as[Configuration](t, r, "/api/v1/config")
	pool := c.Config["pool"].([]any)[0].(map[string]any)
	if got := pool["backend"].([]any)[0].(map[string]any)["weight"]; got != 42.0 {
		t.Errorf("got weight %v; want that of the override, 42", got)
	}
	if !strings.Contains(c.TOML, "[[pool.backend]]") || !strings.Contains(c.TOML, "weight = 42") {
		t.Errorf("got TOML\n%s", c.TOML)
	}
}

// Every operation and type of the description is on the page, which loads nothing.
func TestDocs(t *testing.T) {
	r := newRig(t, Options{Version: "v1.2.3 <b>"}, false)
	res, err := http.Get(r.http.URL + "/api/v1/docs")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	page := string(b)
	var api struct {
		Paths      map[string]map[string]struct{ OperationID string }
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(r.get(t, "/api/v1/openapi.json")), &api); err != nil {
		t.Fatal(err)
	}
	if len(api.Paths) < 10 || len(api.Components.Schemas) < 10 {
		t.Errorf("got %d paths and %d types in the description; want more", len(api.Paths), len(api.Components.Schemas))
	}
	for path, methods := range api.Paths {
		for method, op := range methods {
			if !strings.Contains(page, strings.ToUpper(method)+" "+path) || !strings.Contains(page, fmt.Sprintf(`<section id=%q>`, op.OperationID)) {
				t.Errorf("the page lacks %s %s", method, path)
			}
			if strings.Contains(op.OperationID, "-v1-") {
				t.Errorf("%s %s has no name of its own: %s", method, path, op.OperationID)
			}
		}
	}
	for name := range api.Components.Schemas {
		if !strings.Contains(page, fmt.Sprintf(`<section id="type-%s">`, name)) {
			t.Errorf("the page lacks the type %s", name)
		}
	}
	for _, foreign := range []string{"<script", "<link", "<img", "http://", "https://", "<b>v", "@import", "url("} {
		if strings.Contains(page, foreign) {
			t.Errorf("got %s in the page", foreign)
		}
	}
	if got := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'") {
		t.Errorf("got policy %q", got)
	}
}

// FuzzClients holds that nothing that is no client is taken for one.
func FuzzClients(f *testing.F) {
	for _, text := range []string{"", "unix", "10.0.0.1", "10.0.0.0/8", "[::1]:5", "::ffff:10.0.0.1", "fe80::1%eth0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var q server.SessionQuery
		err := parseClients(text, &q)
		if err == nil && !q.Client.IsValid() && !q.Unix && text != "" {
			t.Errorf("%q is any client", text)
		}
	})
}

func TestParseClients(t *testing.T) {
	for text, want := range map[string]server.SessionQuery{
		"":                    {},
		"unix":                {Unix: true},
		"10.1.2.3":            {Client: netip.MustParsePrefix("10.1.2.3/32")},
		"10.1.2.3:99":         {Client: netip.MustParsePrefix("10.1.2.3/32"), ClientPort: 99},
		"10.1.0.0/16":         {Client: netip.MustParsePrefix("10.1.0.0/16")},
		"::ffff:10.1.0.0/112": {Client: netip.MustParsePrefix("10.1.0.0/16")},
		"2001:db8::1":         {Client: netip.MustParsePrefix("2001:db8::1/128")},
		"[2001:db8::1]:99":    {Client: netip.MustParsePrefix("2001:db8::1/128"), ClientPort: 99},
		"[fe80::1%eth0]:99":   {Client: netip.MustParsePrefix("fe80::1/128"), ClientPort: 99},
	} {
		var got server.SessionQuery
		if err := parseClients(text, &got); err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err, want)
		}
	}
	var q server.SessionQuery
	if err := parseClients(url.QueryEscape("a b"), &q); err == nil {
		t.Error("nonsense was taken for a client")
	}
}
