//go:build linux

package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// operator talks to the admin API of a running program, as curl does.
type operator struct {
	t      *testing.T
	socket string
	client http.Client
}

// serveOperated is serve with an admin API on a unix socket, and who uses it.
func serveOperated(t *testing.T, engine, config string) (*limeload, *operator) {
	t.Helper()
	o := newOperator(t, filepath.Join(t.TempDir(), "admin.sock"))
	return serveWithAdmin(t, engine, "unix:"+o.socket, config), o
}

// newOperator uses the API on a unix socket.
func newOperator(t *testing.T, socket string) *operator {
	o := &operator{t: t, socket: socket}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	o.client.Transport = transport
	t.Cleanup(transport.CloseIdleConnections)
	return o
}

func (o *operator) request(method, path, body string, header ...string) *http.Response {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), method, "http://limeload/api/v1"+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := o.client.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	return res
}

// do makes a request and answers its status.
func (o *operator) do(method, path, body string) int {
	o.t.Helper()
	res := o.request(method, path, body)
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// object is a JSON object.
type object = map[string]any

// get reads a resource.
func (o *operator) get(path string) (v object) {
	o.t.Helper()
	res := o.request("GET", path, "")
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil || res.StatusCode != http.StatusOK {
		o.t.Fatalf("GET %s: %d %v %s", path, res.StatusCode, err, b)
	}
	return v
}

// sessions are those that a query lists.
func (o *operator) sessions(query string) (all []object) {
	o.t.Helper()
	for _, s := range o.get("/sessions?" + query)["sessions"].([]any) {
		all = append(all, s.(object))
	}
	return all
}

// listen reads events as they come, those after an ID, until the stream or the test ends.
func (o *operator) listen(after string) <-chan object {
	o.t.Helper()
	res := o.request("GET", "/events", "", "Accept", "text/event-stream", "Last-Event-ID", after)
	events := make(chan object, 4096)
	go func() {
		defer close(events)
		defer res.Body.Close()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var e object
				if json.Unmarshal([]byte(data), &e) == nil {
					events <- e
				}
			}
		}
	}()
	return events
}

// awaitEvent drops events up to the one that has what is wanted.
func awaitEvent(t *testing.T, events <-chan object, want object) object {
	t.Helper()
	return awaitEvents(t, events, want)[0]
}

// awaitEvents drops events until each of those wanted has come, in whatever order.
func awaitEvents(t *testing.T, events <-chan object, wanted ...object) []object {
	t.Helper()
	deadline := time.After(patience)
	found := make([]object, len(wanted))
	for slices.ContainsFunc(found, func(e object) bool { return e == nil }) {
		select {
		case e, open := <-events:
			if !open {
				t.Fatalf("the stream ended with %v, of which %v were wanted", found, wanted)
			}
			for i, want := range wanted {
				if found[i] == nil && has(e, want) {
					found[i] = e
				}
			}
		case <-deadline:
			t.Fatalf("got %v within %v; want %v", found, patience, wanted)
		}
	}
	return found
}

// has reports whether e has all that want has.
func has(e, want object) bool {
	for key, value := range want {
		if e[key] != value {
			return false
		}
	}
	return true
}

// An operator finds a client's session, sees what it moves, and cuts it; the others go on.
func TestOperatorFindsAndCutsASession(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		a := startEcho(t, "a", "127.0.0.1:0")
		l, o := serveOperated(t, engine, balanced("first", unprobed, a, ""))
		stays, goes := visit(t, l.address("front")), visit(t, l.address("front"))
		for range 3 {
			goes.chat(t)
		}
		var s object
		eventually(t, "the session that moved more stands first", func() bool {
			s = o.sessions("sort=-bytes_up")[0]
			return s["client_port"] == float64(portOf(goes.LocalAddr())) && s["bytes_down"].(float64) > s["bytes_up"].(float64)
		})
		if s["listener"] != "front" || s["backend_address"] != a.address || s["client"] != "127.0.0.1" || s["state"] != "open" {
			t.Errorf("got %v; want the session of front to a", s)
		}
		if up, down, age := s["bytes_up"].(float64), s["bytes_down"].(float64), s["age"].(float64); up <= 0 || down <= up || age <= 0 {
			t.Errorf("got %v up, %v down, age %v; want what was said, and the greeting on top", up, down, age)
		}
		path := "/sessions/" + s["id"].(string)
		if got := o.do("DELETE", path, ""); got != http.StatusNoContent {
			t.Errorf("DELETE %s: got %d; want 204", path, got)
		}
		expectReset(t, goes)
		if got := o.do("DELETE", path, ""); got != http.StatusNotFound {
			t.Errorf("DELETE %s again: got %d; want 404", path, got)
		}
		wantFields(t, l.session(goes.LocalAddr()), fields{"reason": "killed"})
		stays.chat(t)
		if left := o.sessions(""); len(left) != 1 || left[0]["client_port"] != float64(portOf(stays.LocalAddr())) {
			t.Errorf("got sessions %v; want the one that nobody cut", left)
		}
	})
}

// What explain answers is what the next client gets, through drains and outages, and it
// says why the others do not.
func TestOperatorAsksWhy(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		a, b, c := startEcho(t, "a", "127.0.0.1:0"), startEcho(t, "b", "127.0.0.1:0"), startEcho(t, "c", "127.0.0.1:0")
		l, o := serveOperated(t, engine, balanced("least-connections", probed, a, "", b, "", c, ""))
		for _, e := range []*echo{a, b, c} {
			l.await(fields{"msg": "backend up", "backend": e.name})
		}
		why := func(client string) (pick string, against map[string]string) {
			e := o.get("/explain?listener=front&client=" + client)
			against = map[string]string{}
			for _, x := range e["candidates"].([]any) {
				against[x.(object)["backend"].(string)] = x.(object)["excluded"].(string)
			}
			return e["backend"].(string), against
		}
		agree := func(when string) map[string]string {
			t.Helper()
			pick, against := why("127.0.0.1")
			v := visit(t, l.address("front"))
			s := o.sessions(fmt.Sprint("client=", v.LocalAddr()))
			if len(s) != 1 || s[0]["backend"] != pick {
				t.Errorf("%s: explained %s; got %v", when, pick, s)
			}
			return against
		}
		for range 4 {
			agree("all are up")
		}
		if got := o.do("PATCH", "/pools/pool/backends/a", `{"mode":"drain"}`); got != http.StatusOK {
			t.Errorf("drain: got %d", got)
		}
		b.stop()
		l.await(fields{"msg": "backend down", "backend": "b"})
		against := agree("one drains and one is down")
		if against["a"] != "mode is drain" || !strings.HasPrefix(against["b"], "health is down: connection refused") || against["c"] != "" {
			t.Errorf("got %v; want that a drains, b is down with the probe's words, and nothing against c", against)
		}
		c.stop()
		l.await(fields{"msg": "backend down", "backend": "c"})
		if pick, _ := why("10.1.2.3"); pick != "" {
			t.Errorf("got %s; want nobody", pick)
		}
	})
}

// The stream of events tells what happens while it happens, goes on after a pause where it
// was, and ends when the process does.
func TestOperatorListens(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		a := startEcho(t, "a", "127.0.0.1:0")
		l, o := serveOperated(t, engine, balanced("first", probed, a, ""))
		events := o.listen("")
		awaitEvents(t, events, // a probe may be faster than the start
			object{"kind": "lifetime", "new": "started"},
			object{"kind": "health", "backend": "a", "new": "up"})
		a.stop()
		awaitEvent(t, events, object{"kind": "health", "backend": "a", "old": "up", "new": "down", "reason": "connection refused"})
		o.do("PATCH", "/pools/pool/backends/a", `{"mode":"drain"}`)
		mode := awaitEvent(t, events, object{"kind": "mode", "old": "ready", "new": "drain"})
		o.do("POST", "/reload", "")
		late := o.listen(fmt.Sprint(uint64(mode["id"].(float64))))
		for _, stream := range []<-chan object{events, late} {
			awaitEvent(t, stream, object{"kind": "reload", "new": "applied"})
		}
		l.signal(syscall.SIGTERM)
		for _, stream := range []<-chan object{events, late} {
			awaitEvent(t, stream, object{"kind": "lifetime", "new": "stopping"})
		}
		if status := l.status(); status != 0 {
			t.Errorf("got status %d; want 0", status)
		}
		for _, stream := range []<-chan object{events, late} {
			for range stream { // until it ends
			}
		}
	})
}

// The history is taken while the program runs, the configuration is shown without secrets,
// and the page for people is there.
func TestOperatorLooksAround(t *testing.T) {
	t.Parallel()
	a := startEcho(t, "a", "127.0.0.1:0")
	l, o := serveOperated(t, "splice", fmt.Sprintf(`
		listener = [{ name = "front", listen = ["127.0.0.1:0"], pool = "pool" }]

		[[pool]]
		name = "pool"
		algorithm = "ip-hash"
		hash_key = "sEcReT"
		health = { type = "none" }
		backend = [{ name = "a", address = %q }]
	`, a.address))
	visit(t, l.address("front")).chat(t)
	pool := o.get("/config")["config"].(object)["pool"].([]any)[0].(object)
	if pool["hash_key"] != "(redacted)" || pool["name"] != "pool" {
		t.Errorf("got %v; want pool without its secret", pool)
	}
	if s := o.get("/status"); s["engine"] != "splice" || s["sessions"] != 1.0 || s["uptime"].(float64) <= 0 || !strings.HasSuffix(s["config_file"].(string), "limeload.toml") {
		t.Errorf("got status %v", s)
	}
	eventually(t, "a point of the history", func() bool {
		active := o.get("/history")["pools"].(object)["pool"].(object)["backends"].(object)["a"].(object)["active"].([]any)
		return len(active) > 0 && active[len(active)-1] == 1.0
	})
	if got := o.do("GET", "/docs", ""); got != http.StatusOK {
		t.Errorf("GET docs: got %d", got)
	}
}
