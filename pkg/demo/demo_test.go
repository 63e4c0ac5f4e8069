package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// screen is a running demo as a person sits before it.
type screen struct {
	t         *testing.T
	lines     chan string // what was printed and not looked at yet
	typed     io.Writer
	dashboard string
}

func start(t *testing.T) *screen {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	keyboard, typed := io.Pipe()
	seen, printed := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{Version: "v1", In: keyboard, Out: printed})
		printed.Close()
	}()
	s := &screen{t: t, lines: make(chan string, 1000), typed: typed}
	go s.read(seen)
	t.Cleanup(func() {
		cancel()
		typed.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	s.dashboard = strings.Fields(s.says("dashboard  "))[1]
	s.says("Ctrl-C ends the demo")
	return s
}

func (s *screen) read(seen io.Reader) {
	defer close(s.lines)
	for lines := bufio.NewScanner(seen); lines.Scan(); {
		s.lines <- lines.Text()
	}
}

// says waits for a line with text, and answers it.
func (s *screen) says(text string) string {
	s.t.Helper()
	for line := range s.lines {
		if strings.Contains(line, text) {
			return line
		}
	}
	s.t.Fatalf("the demo ended before it said %q", text)
	return ""
}

func (s *screen) get(path string) string {
	s.t.Helper()
	r, err := http.Get(s.dashboard + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s %v", path, r.StatusCode, b, err)
	}
	return string(b)
}

// active are the live sessions by backend.
func (s *screen) active() map[string]int {
	s.t.Helper()
	var backends []struct {
		Name   string
		Active int
	}
	if err := json.Unmarshal([]byte(s.get("api/v1/pools/limes/backends")), &backends); err != nil {
		s.t.Fatal(err)
	}
	active := map[string]int{}
	for _, b := range backends {
		active[b.Name] = b.Active
	}
	return active
}

func (s *screen) until(what string, ok func(active map[string]int) bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(s.active()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("never: %s; active %v", what, s.active())
		}
	}
}

func all(active map[string]int) bool {
	return active[names[0]] > 0 && active[names[1]] > 0 && active[names[2]] > 0
}

// A person stops the second backend, sees its sessions move, starts it, and sees it
// return.
func TestStopAndStart(t *testing.T) {
	s := start(t)
	if page := s.get(""); !strings.Contains(page, "<title>limeload</title>") {
		t.Errorf("the dashboard's URL shows %.200s", page)
	}
	s.until("all three are busy", all)
	io.WriteString(s.typed, "2\n")
	s.says("you stopped " + names[1])
	s.says(names[1] + " is down")
	s.until("its sessions are with the others", func(active map[string]int) bool {
		return active[names[1]] == 0 && active[names[0]]+active[names[2]] >= longSessions/3
	})
	io.WriteString(s.typed, "nobody\n")
	s.says("is no backend")
	io.WriteString(s.typed, names[1]+"\n")
	s.says("you started " + names[1])
	s.says(names[1] + " is up")
	s.until("all three are busy again", all)
}

// A drain at the dashboard is told on the terminal too.
func TestDrain(t *testing.T) {
	s := start(t)
	r, err := http.NewRequest("PATCH", s.dashboard+"api/v1/pools/limes/backends/"+names[0], strings.NewReader(`{"mode":"drain"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	s.says(names[0] + " is in drain")
}

// Two demos run beside each other: the second one takes any ports.
func TestTwo(t *testing.T) {
	one, two := start(t), start(t)
	if one.dashboard == two.dashboard {
		t.Errorf("both dashboards are at %s", one.dashboard)
	}
}

// Somebody whom the access list does not let in shows what that looks like.
func TestStrangerIsRefused(t *testing.T) {
	s := start(t)
	for deadline := time.Now().Add(time.Minute); !strings.Contains(s.get("api/v1/listeners"), `"client":"127.66.0.7","rule":"deny 127.66.0.7/32`); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never refused: %s", s.get("api/v1/listeners"))
		}
	}
}
