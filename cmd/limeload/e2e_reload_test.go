//go:build linux

package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The storm: a reload every half a second, a quarter of them broken, while a hundred
// clients a second come and go and some stay. No client may notice.
const (
	stormReloads  = 20
	stormPace     = 500 * time.Millisecond
	stormArrivals = 10 * time.Millisecond // from one new client to the next
	stormStreams  = 8                     // clients that stay
	stormBroken   = 4                     // every which reload is broken
)

func TestReloadStorm(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		s := newStorm(t, engine)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.arrive(ctx) })
		running.Go(func() { s.scrape(ctx) })
		for range stormStreams {
			running.Go(func() { s.stream(ctx) })
		}
		for n := range stormReloads {
			next := time.After(stormPace)
			s.reload(n)
			<-next
		}
		eventually(t, "clients after the last reload", func() bool { return s.clients.Load() >= s.atReload+20 || t.Failed() })
		cancel()
		running.Wait()
		s.judge()
	})
}

// storm is a limeload that is reloaded again and again.
type storm struct {
	*limeload
	engine   string
	file     string
	backends []*echo
	api      *http.Client
	front    string // address

	broken   int // reloads that were
	atReload int64
	clients  atomic.Int64 // that came and went
	moved    atomic.Int64 // bytes of streams, one way
	scrapes  atomic.Int64
}

func newStorm(t *testing.T, engine string) *storm {
	dir := t.TempDir()
	s := &storm{engine: engine, file: filepath.Join(dir, "limeload.toml")}
	for i := range 5 {
		s.backends = append(s.backends, startEcho(t, fmt.Sprintf("b%d", i), "127.0.0.1:0"))
	}
	socket := filepath.Join(dir, "api.sock")
	s.api = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	t.Cleanup(s.api.CloseIdleConnections)
	s.write(t, s.config(-1))
	s.limeload = serveFile(t, s.file, "--watch", "--admin", "unix:"+socket)
	s.front = s.address("front")
	return s
}

// write puts another file in the place of the one there, as careful tools do.
func (s *storm) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(s.file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.file+".new", s.file); err != nil {
		t.Fatal(err)
	}
}

// config is the n-th configuration: other backends, algorithms, weights, sometimes a
// listener and a pool more. What says that it is in effect is its connect timeout.
func (s *storm) config(n int) string {
	algorithms := []string{"least-connections", "round-robin", "random-two", "ip-hash", "first"}
	var b strings.Builder
	fmt.Fprintf(&b, `
		log = { level = "info", format = "json" }
		engine = { type = %q }
		shutdown = { drain_timeout = "1h" }
		[[listener]]
		name = "front"
		listen = ["127.0.0.1:0"]
		pool = "db"
	`, s.engine)
	if n%3 == 0 {
		fmt.Fprintf(&b, "[[listener]]\nname = \"other\"\nlisten = [\"127.0.0.1:0\"]\npool = \"other\"\n")
		fmt.Fprintf(&b, "[[pool]]\nname = \"other\"\nbackend = [{ name = \"x\", address = %q }]\n", s.backends[0].address)
	}
	fmt.Fprintf(&b, "[[pool]]\nname = \"db\"\nalgorithm = %q\nconnect = { timeout = %q }\n", algorithms[(n+1)%5], s.marker(n))
	fmt.Fprintf(&b, "health = { interval = \"50ms\", rise = 1 }\n")
	for i := range 3 {
		at := (n + 1 + i) % len(s.backends)
		fmt.Fprintf(&b, "[[pool.backend]]\nname = \"b%d\"\naddress = %q\nweight = %d\n", at, s.backends[at].address, 1+n%4+1)
	}
	return b.String()
}

func (s *storm) marker(n int) string { return strconv.Itoa(5001+n) + "ms" }

// breakage spoils a configuration in one way or another; told is a word of the
// problem.
func (s *storm) breakage(n int, text string) (broken, told string) {
	switch n / stormBroken % 4 {
	case 0:
		return text + fmt.Sprintf("\n[broken_%d]\n", n), fmt.Sprintf("broken_%d", n)
	case 1:
		return text + fmt.Sprintf("\nbroken_%d = [\n", n), ".toml:"
	case 2: // an address that another process has
		return strings.Replace(text, `listen = ["127.0.0.1:0"]`, fmt.Sprintf(`listen = ["127.0.0.1:0", %q]`, s.backends[0].address), 1), "in use"
	}
	return strings.Replace(text, `pool = "db"`, fmt.Sprintf(`pool = "broken-%d"`, n), 1), fmt.Sprintf("broken-%d", n)
}

// reload makes the n-th reload, by signal, the API or the file alone in turn, and
// waits for its effect.
func (s *storm) reload(n int) {
	s.t.Helper()
	s.atReload = s.clients.Load()
	text, effect := s.config(n), fields{"msg": "changed", "key": "pool.db.connect.timeout", "new": strconv.Quote(showMS(5001 + n))}
	from := len(s.logged(fields{}))
	broken := n%stormBroken == stormBroken-1
	if broken {
		s.broken++
		text, _ = s.breakage(n, text)
		effect = fields{"msg": "reload failed, nothing changed"}
	}
	s.write(s.t, text)
	switch n % 3 {
	case 0:
		s.signal(syscall.SIGHUP)
	case 1:
		s.post(n, broken)
	}
	ln := s.awaitCount(1, from, effect)[0]
	if _, told := s.breakage(n, text); broken && !strings.Contains(ln.text("problem"), told) {
		s.t.Errorf("reload %d failed with %q; want %q in it", n, ln.text("problem"), told)
	}
}

// showMS is how the log shows so many milliseconds.
func showMS(ms int) string { return (time.Duration(ms) * time.Millisecond).String() }

func (s *storm) post(n int, broken bool) {
	s.t.Helper()
	res, err := s.api.Post("http://limeload/api/v1/reload", "application/json", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	var problem struct{ Errors []struct{ Message string } }
	switch {
	case !broken && res.StatusCode != 200:
		s.t.Errorf("reload %d: %s %s", n, res.Status, body)
	case broken && (res.StatusCode != 422 || json.Unmarshal(body, &problem) != nil || len(problem.Errors) == 0):
		s.t.Errorf("reload %d: %s %s; want 422 with the problems", n, res.Status, body)
	}
}

// arrive has clients come, each on its own: one that fails does not hold up others.
func (s *storm) arrive(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(stormArrivals)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		all.Go(func() {
			if err := s.visit(n); err != nil {
				s.t.Errorf("client %d: %v", n, err)
			}
			s.clients.Add(1)
		})
	}
}

// visit is a client that comes and goes.
func (s *storm) visit(n int) error {
	c, r, err := s.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	sent := fmt.Appendf(nil, "client %d was here", n)
	if _, err := c.Write(sent); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("got %q back; want %q", got, sent)
	}
	return err
}

// connect is a session that has been greeted.
func (s *storm) connect() (*net.TCPConn, *bufio.Reader, error) {
	c, err := net.Dial("tcp", s.front)
	if err != nil {
		return nil, nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	if _, err := r.ReadString('\n'); err != nil {
		c.Close()
		return nil, nil, fmt.Errorf("greeting: %w", err)
	}
	return c.(*net.TCPConn), r, nil
}

// stream is a client that stays, and checks every byte that comes back.
func (s *storm) stream(ctx context.Context) {
	c, r, err := s.connect()
	if err != nil {
		s.t.Errorf("stream: %v", err)
		return
	}
	defer c.Close()
	sent, got := make([]byte, 16<<10), make([]byte, 16<<10)
	seed := rand.Uint64()
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	for ctx.Err() == nil {
		c.SetDeadline(time.Now().Add(patience))
		random.Read(sent)
		if _, err = c.Write(sent); err == nil {
			_, err = io.ReadFull(r, got)
		}
		if err == nil && !bytes.Equal(got, sent) {
			err = fmt.Errorf("other bytes came back")
		}
		if err != nil {
			s.t.Errorf("stream after %d bytes: %v", s.moved.Load(), err)
			return
		}
		s.moved.Add(int64(len(sent)))
		time.Sleep(time.Millisecond) // the machine has more to do
	}
	c.CloseWrite()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		s.t.Errorf("stream's end: %d bytes more, %v", len(rest), err)
	}
}

// scrape reads the metrics all the time: no count may fall while it is there.
func (s *storm) scrape(ctx context.Context) {
	last := map[string]float64{}
	for ctx.Err() == nil {
		now, err := s.metrics()
		if err != nil {
			s.t.Errorf("scrape: %v", err)
			return
		}
		for series, v := range now {
			if v < last[series] {
				s.t.Errorf("%s fell from %v to %v", series, last[series], v)
			}
		}
		for series := range last {
			if _, there := now[series]; !there && (strings.Contains(series, `"front"`) || strings.Contains(series, `limeload_pool_`) && strings.Contains(series, `"db"`)) {
				s.t.Errorf("%s is gone", series)
			}
		}
		last = now
		s.scrapes.Add(1)
		time.Sleep(20 * time.Millisecond)
	}
}

// metrics are the counters of limeload.
func (s *storm) metrics() (map[string]float64, error) {
	res, err := s.api.Get("http://limeload/metrics")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	all := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		series, value, ok := strings.Cut(lines.Text(), "} ")
		name, _, _ := strings.Cut(series, "{")
		if !ok || !strings.HasPrefix(name, "limeload_") || !strings.HasSuffix(name, "_total") {
			continue
		}
		if _, twice := all[series]; twice {
			return nil, fmt.Errorf("%s is there twice", series)
		}
		if all[series], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, err
		}
	}
	return all, lines.Err()
}

// judge looks at the whole when all clients have left.
func (s *storm) judge() {
	t := s.t
	for _, source := range []string{"signal", "api", "watch"} {
		if len(s.logged(fields{"msg": "reloaded", "source": source})) == 0 {
			t.Errorf("no reload by %s", source)
		}
		if len(s.logged(fields{"msg": "reload failed, nothing changed", "source": source})) == 0 {
			t.Errorf("no reload by %s that failed", source)
		}
	}
	want := s.clients.Load() + stormStreams
	var counts map[string]float64
	eventually(t, "all sessions have ended", func() bool {
		var err error
		if counts, err = s.metrics(); err != nil {
			t.Fatal(err)
		}
		return counts[`limeload_listener_sessions_total{listener="front",reason="client-closed"`] == float64(want)
	})
	for series, n := range counts {
		if strings.HasPrefix(series, `limeload_listener_sessions_total{listener="front"`) && !strings.Contains(series, "client-closed") && n > 0 {
			t.Errorf("%s: %v; want none", series, n)
		}
	}
	if n := counts[`limeload_pool_sessions_total{pool="db"`]; n != float64(want) {
		t.Errorf("sessions of the pool: %v; want %d", n, want)
	}
	t.Logf("%d reloads, %d of them broken; %d clients; %d streams with %d MB each way; %d scrapes",
		stormReloads, s.broken, s.clients.Load(), stormStreams, s.moved.Load()>>20, s.scrapes.Load())
}
