package top

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/limeload/limeload/pkg/client"
)

// sample is a frame with backends and sessions.
func sample(backends, sessions int) *frame {
	at := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	f := &frame{at: at, status: client.Status{Time: at, Started: at.Add(-time.Hour), Uptime: 3600, Ready: true, Sessions: sessions, Limit: 9340}}
	end := at
	f.history = &client.History{Step: 5, End: &end, Pools: map[string]client.PoolHistory{"pg": {Backends: map[string]client.BackendHistory{}}},
		Listeners: map[string]client.ListenerHistory{"a": {Sessions: []float64{1, 2}}, "b": {Sessions: []float64{4}}}}
	for i := range backends {
		name := fmt.Sprintf("pg-%d", i+1)
		b := client.Backend{Name: name, Address: fmt.Sprintf("10.0.0.%d:5432", i+1), Health: "up", Mode: "ready", Usable: true, Weight: 1, Active: int64(i)}
		if i == 1 {
			since := at.Add(-192 * time.Second)
			b.Health, b.Usable, b.Excluded, b.Since = "down", false, "health is down: connection refused", &since
		}
		f.rows = append(f.rows, row{client.Place{Pool: "pg", Backend: name}, b})
		f.history.Pools["pg"].Backends[name] = client.BackendHistory{Sessions: []float64{0, 1, 8}}
	}
	f.sessions.Total = sessions
	for i := range sessions {
		f.sessions.Sessions = append(f.sessions.Sessions, client.Session{
			ID: fmt.Sprintf("1-%d", i), Pool: "pg", Backend: "pg-1", Client: "10.1.2.3", ClientPort: 40000 + i, State: "open", Age: 60, Idle: 2, BytesUp: 1536, BytesDown: 40 << 20,
		})
	}
	return f
}

func shown(t *testing.T, backends, sessions int) *model {
	t.Helper()
	m := newModel(t.Context(), nil, time.Second)
	m.take(polled{frame: sample(backends, sessions)})
	return m
}

// text is the screen without colours.
func (m *model) text() string {
	var b strings.Builder
	for _, l := range m.screen() {
		b.WriteString(strings.TrimRight(l.text(), " ") + "\n")
	}
	return b.String()
}

// Who is refused, and why, stands below what is moved, also beside why it is not ready.
func TestTrouble(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after map[string]uint64
		held          int
		reason, want  string
	}{
		{"nothing", nil, nil, 0, "", ""},
		{"not ready", nil, nil, 0, "pool pg has no usable backend", "pool pg has no usable backend"},
		{"refused", map[string]uint64{"limit-rate": 10}, map[string]uint64{"limit-rate": 30, "access-denied": 4}, 0, "",
			"refused 12/s, 34 in all  access-denied 2/s  limit-rate 10/s"},
		{"not any more", map[string]uint64{"limit-rate": 3}, map[string]uint64{"limit-rate": 3}, 0, "", "refused 0/s, 3 in all"},
		{"held", nil, nil, 7, "", "7 held"},
		{"all of it", map[string]uint64{}, map[string]uint64{"limit-rate": 1500}, 2, "pool pg has no usable backend",
			"pool pg has no usable backend  2 held  refused 750/s, 1.5k in all  limit-rate 750/s"},
	} {
		m := newModel(t.Context(), nil, time.Second)
		first, second := sample(1, 0), sample(1, 0)
		first.refused, second.refused, second.held, second.status.Reason = c.before, c.after, c.held, c.reason
		second.at = first.at.Add(2 * time.Second)
		m.take(polled{frame: first})
		m.take(polled{frame: second})
		if got := strings.TrimRight(m.trouble().text(), " "); got != c.want {
			t.Errorf("%s: got %q; want %q", c.name, got, c.want)
		}
	}
}

// A backend that its breaker keeps out is not shown as well, whatever probes say.
func TestHealthOfABackend(t *testing.T) {
	for _, c := range []struct{ health, breaker, want string }{
		{"up", "closed", "up"}, {"up", "", "up"}, {"up", "open", "breaker"}, {"up", "half-open", "trying"}, {"down", "open", "down"},
	} {
		if got := healthOf(&row{Backend: client.Backend{Health: c.health, Breaker: c.breaker}}); got != c.want {
			t.Errorf("%s, breaker %s: got %s; want %s", c.health, c.breaker, got, c.want)
		}
	}
}

func press(t *testing.T, m *model, keys ...string) {
	t.Helper()
	for _, k := range keys {
		m.press(k)
	}
}

func TestScreen(t *testing.T) {
	m := shown(t, 2, 1)
	m.width, m.height = 80, 14
	press(t, m, "down")
	got := strings.Replace(m.text(), m.frame.status.Time.Local().Format(time.TimeOnly), "03:00:00", 1)
	want := `limeload  ready  1 live of 9.3k  up 1h  03:00:00
new 0/s     up 0B/s      down 0B/s                            ▂█ new, 2m

  BACKENDS 2          HEALTH    MODE  ACTIVE  NEW/S    UP/S  DOWN/S LAST MINUTE
  pg/pg-1             up        ready      0      0      0B      0B           ▂█
> pg/pg-2             down      ready      1      0      0B      0B           ▂█
  health is down: connection refused  pg/pg-2  10.0.0.2:5432  weight 1  down fo…

  SESSIONS 1 by age BACKEND           STATE       AGE    IDLE       UP     DOWN
  10.1.2.3:40000    pg/pg-1           open         1m      2s   1.5KiB    40MiB



q quit  tab switch  d drain  r ready  m maintenance  k kill  enter only  o order
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// On a narrow terminal columns give way as a whole: no number is cut.
func TestScreenOfANarrowTerminal(t *testing.T) {
	m := shown(t, 2, 1)
	for _, c := range []struct {
		width          int
		backends, last string // headings
	}{
		{80, "  BACKENDS 2          HEALTH    MODE  ACTIVE  NEW/S    UP/S  DOWN/S LAST MINUTE", "DOWN"},
		{60, "  BACKENDS 2   HEALTH    MODE  ACTIVE  NEW/S    UP/S  DOWN/S", "UP"},
		{50, "  BACKENDS 2         HEALTH    MODE  ACTIVE  NEW/S", "AGE"},
		{20, "  BACKENDS 2  ", ""},
	} {
		m.width, m.height = c.width, 14
		lines := strings.Split(m.text(), "\n")
		if got := lines[3]; strings.TrimRight(got, " ") != strings.TrimRight(c.backends, " ") {
			t.Errorf("%d wide: got %q; want %q", c.width, got, c.backends)
		}
		if got := lines[8]; c.last != "" && !strings.HasSuffix(got, " "+c.last) {
			t.Errorf("%d wide: got sessions %q; want %s last", c.width, got, c.last)
		}
	}
}

// Whatever is shown in whatever window, lines fit, the selected row is seen, and the keys are
// at the bottom.
func TestScreenFits(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	keys := []string{"up", "down", "pgup", "pgdown", "home", "end", "tab", "d", "k", "r", "x", "n"}
	for range 2000 {
		m := shown(t, r.IntN(40), r.IntN(60))
		m.width, m.height = 1+r.IntN(140), 1+r.IntN(60)
		for range r.IntN(12) {
			press(t, m, keys[r.IntN(len(keys))])
		}
		lines := m.screen()
		if len(lines) != m.height {
			t.Fatalf("seed %d: got %d lines; want %d", seed, len(lines), m.height)
		}
		for _, l := range lines {
			if n := utf8.RuneCountInString(l.text()); n > m.width {
				t.Fatalf("seed %d: got a line of %d in a width of %d: %s", seed, n, m.width, l.text())
			}
		}
		if m.height >= fixedLines+4 && m.width >= 80 && len(m.frame.rows) > 0 && !strings.Contains(m.text(), "> "+m.backend.String()) {
			t.Fatalf("seed %d: the selected backend %s is not seen:\n%s", seed, m.backend, m.text())
		}
	}
}

func TestChangesAskFirst(t *testing.T) {
	for _, c := range []struct {
		name string
		keys string
		want string // the question; "" for none
	}{
		{"drain", "down d", "pg/pg-2: mode drain? No new sessions; 1 live session goes on."},
		{"drain of an idle one", "d", "pg/pg-1: mode drain? No new sessions."},
		{"maintenance", "end m", "pg/pg-3: mode maintenance? No new sessions; 2 live sessions go on."},
		{"ready already", "r", ""},
		{"kill a session", "tab down k", "kill session 1-1 of client 10.1.2.3:40001?"},
		{"kill all of a backend", "end k", "pg/pg-3: kill 2 live sessions?"},
		{"another key is a no", "d x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := shown(t, 3, 2)
			press(t, m, strings.Fields(c.keys)...)
			switch {
			case c.want == "" && m.question != nil:
				t.Errorf("got the question %q; want none", m.question.text)
			case c.want != "" && (m.question == nil || m.question.text != c.want):
				t.Errorf("got %+v; want %q", m.question, c.want)
			}
		})
	}
}

// Only a yes acts, and a question is asked once.
func TestOnlyYesActs(t *testing.T) {
	for key, want := range map[string]bool{"y": true, "Y": true, "n": false, "d": false, "enter": false, "esc": false, "q": false} {
		m := shown(t, 1, 1)
		press(t, m, "d")
		if got := m.press(key) != nil; got != want {
			t.Errorf("%s: got action %v; want %v", key, got, want)
		}
		if m.question != nil {
			t.Errorf("%s: the question %q is still there", key, m.question.text)
		}
	}
}

// Nothing is there yet, or nothing at all: keys do no harm.
func TestKeysWithoutRows(t *testing.T) {
	api, err := client.New(client.Options{Address: "unix:/none"})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*model{newModel(t.Context(), api, time.Second), shown(t, 0, 0)} {
		for _, k := range []string{"up", "down", "d", "k", "tab", "k", "end", "r", "m"} {
			press(t, m, k)
			if m.question != nil {
				t.Errorf("%s: got the question %q", k, m.question.text)
			}
		}
		m.screen()
	}
}

// The selection is a backend, not a row: it stays when others come and go.
func TestSelectionStays(t *testing.T) {
	m := shown(t, 5, 0)
	press(t, m, "down", "down")
	f := sample(5, 0)
	f.rows = f.rows[1:]
	m.take(polled{frame: f})
	if m.backend.Backend != "pg-3" {
		t.Errorf("got %s; want pg-3", m.backend)
	}
	f = sample(2, 0)
	m.take(polled{frame: f})
	if m.backend.Backend != "pg-1" {
		t.Errorf("its backend has gone: got %s; want the first one", m.backend)
	}
}

// An answer that does not come leaves what was there, and says so.
func TestNoAnswer(t *testing.T) {
	m := shown(t, 1, 0)
	m.take(polled{err: fmt.Errorf("connect unix:/x: \x1bno")})
	for _, want := range []string{"NO ANSWER  trying again every 1s", `connect unix:/x: \x1bno`, "> pg/pg-1"} {
		if !strings.Contains(m.text(), want) {
			t.Errorf("got\n%swant %q in it", m.text(), want)
		}
	}
}

// One poll at a time; what is wanted meanwhile follows at once.
func TestPollsDoNotPile(t *testing.T) {
	m := newModel(t.Context(), nil, time.Hour)
	if m.poll() == nil || m.poll() != nil || m.poll() != nil {
		t.Fatal("want one poll and no other")
	}
	m.take(polled{frame: sample(1, 1)})
	if !m.polling || m.again {
		t.Errorf("after the answer: got polling %v, again %v; want the one that was wanted", m.polling, m.again)
	}
}

func TestRates(t *testing.T) {
	before, now := sample(3, 0), sample(3, 0)
	now.at = before.at.Add(2 * time.Second)
	now.rows[0].Sessions, now.rows[0].BytesUp, now.rows[0].BytesDown = 10, 4096, 1<<20
	now.rows[2].Sessions, before.rows[2].Sessions = 1, 5 // another one of this name
	before.rows = append(before.rows[:1], before.rows[2:]...)
	now.rows[1].Sessions = 1000 // it is new: no rate is known
	r := ratesOf(before, now)
	if want := (flow{5, 2048, 1 << 19}); r.total != want || r.backends[now.rows[0].Place] != want {
		t.Errorf("got %+v; want %+v", r, want)
	}
	now.status.Started = now.at
	if r := ratesOf(before, now); r.total != (flow{}) {
		t.Errorf("after a restart: got %+v; want none", r)
	}
	if r := ratesOf(nil, now); r.total != (flow{}) {
		t.Errorf("without a frame before: got %+v; want none", r)
	}
}

func TestQuit(t *testing.T) {
	for _, k := range []string{"q", "ctrl+c"} {
		cmd := shown(t, 1, 0).press(k)
		if cmd == nil {
			t.Errorf("%s: got nothing; want the end", k)
		} else if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Errorf("%s: got another message; want the end", k)
		}
	}
	m := shown(t, 1, 0)
	press(t, m, "d")
	if cmd := m.press("ctrl+c"); cmd == nil {
		t.Error("ctrl+c at a question: got nothing; want the end")
	}
}
