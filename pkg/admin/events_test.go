package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/server"
)

// reader reads a stream of events.
type reader struct {
	t     *testing.T
	res   *http.Response
	lines *bufio.Scanner
	close context.CancelFunc
}

// listen opens a stream at a base URL.
func listen(t *testing.T, url string, header ...string) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", url+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", eventStream)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || got != eventStream {
		t.Fatalf("got %d with %q; want 200 with %s", res.StatusCode, got, eventStream)
	}
	return &reader{t, res, bufio.NewScanner(res.Body), cancel}
}

// message is the next one: its fields by name, a comment under "". nil is the end.
func (r *reader) message() map[string]string {
	m := map[string]string{}
	for r.lines.Scan() {
		line := r.lines.Text()
		if line == "" {
			return m
		}
		name, value, _ := strings.Cut(line, ": ")
		m[strings.TrimSuffix(name, ":")] = value
	}
	return nil
}

// event is the next message that is one.
func (r *reader) event() (e Event) {
	r.t.Helper()
	for m := r.message(); m != nil; m = r.message() {
		if m["data"] == "" {
			continue
		}
		if err := json.Unmarshal([]byte(m["data"]), &e); err != nil {
			r.t.Fatal(err)
		}
		if m["id"] != fmt.Sprint(e.ID) || m["event"] != e.Kind {
			r.t.Errorf("got id %q and event %q around %+v", m["id"], m["event"], e)
		}
		return e
	}
	r.t.Fatal("the stream ended")
	return e
}

func TestEventsArrive(t *testing.T) {
	r := newRig(t, Options{}, false)
	var kept []Event
	r.await(t, "the start, the listener and two backends are told", func() bool { // each a moment after it is so
		kept = as[[]Event](t, r, "/api/v1/events")
		return len(kept) >= 4
	})
	if kept[0].ID == 0 {
		t.Fatalf("got %+v; want those of the start", kept)
	}
	last := kept[len(kept)-1].ID
	if more := as[[]Event](t, r, fmt.Sprintf("/api/v1/events?after=%d", last)); len(more) != 0 {
		t.Errorf("after the last one: got %+v; want none", more)
	}
	all, live := listen(t, r.http.URL), listen(t, r.http.URL, "Last-Event-ID", fmt.Sprint(last))
	for _, want := range kept {
		if got := all.event(); got.ID != want.ID || got.Kind != want.Kind {
			t.Errorf("got %+v; want %+v", got, want)
		}
	}
	r.call(t, "PATCH", "/api/v1/pools/pool/backends/a", `{"mode":"drain"}`)
	for _, reader := range []*reader{all, live} {
		if e := reader.event(); e.ID != last+1 || e.Kind != "mode" || e.Pool != "pool" || e.Backend != "a" || e.Old != "ready" || e.New != "drain" {
			t.Errorf("got %+v; want that a drains", e)
		}
	}
}

// A stream lives on beyond the deadlines of a request, says so when nothing happens, and
// ends at once when the API does.
func TestStreamOutlivesDeadlines(t *testing.T) {
	const deadline = 50 * time.Millisecond
	r := newRig(t, Options{}, false)
	a := &api{s: r.Server, ping: deadline}
	mux := http.NewServeMux()
	a.register(mux)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- serve(ctx, ln, &http.Server{Handler: mux, ReadTimeout: deadline, WriteTimeout: deadline})
	}()
	events := listen(t, "http://"+ln.Addr().String())
	pings := 0
	for pings < 8 { // eight deadlines
		m := events.message()
		if m == nil {
			t.Fatalf("the stream ended after %d pings", pings)
		}
		if m[""] == "ping" {
			pings++
		}
	}
	r.call(t, "PATCH", "/api/v1/pools/pool/backends/a", `{"weight":9}`)
	for e := events.event(); e.Kind != "override"; e = events.event() {
	}
	cancel()
	for events.message() != nil {
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// There are so many streams and no more, until one of them ends.
func TestStreamsAreBounded(t *testing.T) {
	r := newRig(t, Options{}, false)
	streams := make([]*reader, maxStreams)
	for i := range streams {
		streams[i] = listen(t, r.http.URL)
		streams[i].event()
	}
	status := func() int {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", r.http.URL+"/api/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", eventStream)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	if got := status(); got != http.StatusServiceUnavailable {
		t.Errorf("one more: got %d; want 503", got)
	}
	streams[0].close()
	r.await(t, "room for one", func() bool { return status() == http.StatusOK })
}

// Where the API may have few connections, streams take half of them: an operator's
// question finds a place.
func TestStreamsLeaveRoomForQuestions(t *testing.T) {
	const connections = 4
	r := newRig(t, Options{}, false)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, ln, r.http.Config.Handler, connections, io.Discard) }()
	ask := func(header string) net.Conn {
		c := connect(t, ln.Addr())
		io.WriteString(c, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n")
		return c
	}
	status := func(c net.Conn) string {
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(line)
	}
	const accept = "Accept: " + eventStream + "\r\n"
	for range connections / 2 {
		if got := status(ask(accept)); got != "HTTP/1.1 200 OK" {
			t.Errorf("a stream: got %q; want 200", got)
		}
	}
	for range connections {
		if got := status(ask(accept)); got != "HTTP/1.1 503 Service Unavailable" {
			t.Errorf("one more stream: got %q; want 503", got)
		}
	}
	if got := status(ask("")); got != "HTTP/1.1 200 OK" {
		t.Errorf("a question: got %q; want 200", got)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// A reader that goes leaves nothing behind; TestMain looks for its goroutine.
func TestReaderGoes(t *testing.T) {
	r := newRig(t, Options{}, false)
	for range 10 {
		events := listen(t, r.http.URL)
		events.event()
		events.close()
	}
}

// A reader that takes nothing is cut when its patience is over, and holds up nobody.
func TestSlowReader(t *testing.T) {
	r := newRig(t, Options{}, false)
	w := &blocked{header: http.Header{}, deadline: make(chan struct{}, 1)}
	req, err := http.NewRequest("GET", "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		(&api{s: r.Server, ping: time.Hour}).stream(w, req, 0)
	}()
	<-w.deadline // every write has one
	r.call(t, "PATCH", "/api/v1/pools/pool/backends/a", `{"weight":9}`)
	if events, _ := r.Events(0); events[len(events)-1].Kind != server.EventOverride {
		t.Error("the change was held up")
	}
	<-ended
}

// blocked is a connection whose reader takes nothing: a write fails at its deadline,
// which is when the test says.
type blocked struct {
	header   http.Header
	deadline chan struct{}
	until    time.Time
}

func (b *blocked) Header() http.Header         { return b.header }
func (b *blocked) WriteHeader(int)             {}
func (b *blocked) Write(p []byte) (int, error) { return len(p), nil }
func (b *blocked) SetWriteDeadline(at time.Time) error {
	b.until = at
	return nil
}
func (b *blocked) FlushError() error {
	if time.Until(b.until) > 0 {
		b.deadline <- struct{}{}
	}
	return context.DeadlineExceeded
}
