//go:build linux

package main_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// More of what a person does at the dashboard: see TestDashboard.

// file is the configuration that limeload runs with.
func (s *stage) file() string { return s.cmd.Args[len(s.cmd.Args)-1] }

// open opens a backend's panel, with its actions.
func (b *tab) open(backend string) {
	b.t.Helper()
	b.click(row(backend) + " .backend button")
	b.until("the panel is open", `document.querySelector(".drawer[open]")`)
}

// legible checks the contrast of what is shown now, by day and by night.
func (b *tab) legible(what string) {
	b.t.Helper()
	for _, scheme := range []string{"dark", "light"} {
		b.theme(scheme)
		if pale := b.pale(); len(pale) > 0 {
			b.t.Errorf("%s, %s: too little contrast:\n%s", what, scheme, strings.Join(pale, "\n"))
		}
	}
}

// keepOpen are n clients of a listener that stay until they are cut.
func keepOpen(t *testing.T, at string, n int) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
}

// In maintenance a backend gets no sessions and is not probed: that it dies is no news.
func (s *stage) maintenance(t *testing.T) {
	s.clients(t, 9)
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	b.says(row("c")+" b.state", "up")
	b.open("c")
	b.click(".modes button:nth-child(3)")
	b.says(".confirm", "Put c in maintenance?")
	b.says(".confirm", "no probes")
	b.click(".confirm button.prime")
	b.says("#toast", "c is in maintenance")
	b.says(row("c")+" b.state", "maintenance")
	b.says("#events-list", "is in maintenance")
	b.until("the panel says so", `document.querySelector(".modes [aria-pressed=true]").textContent === "Maintenance"`)
	b.until("its sessions are with the others", fmt.Sprintf("%s === 0 && %s + %s >= 8", active("c"), active("a"), active("b")))
	s.backends[2].stop()
	s.backends[1].stop() // of which probes are heard
	b.says(row("b")+" b.state", "down")
	b.until("nobody has heard of c", fmt.Sprintf(`document.querySelector('%s b.state').textContent === "maintenance" && !document.querySelector("#events-list").textContent.includes("c is down")`, row("c")))
	b.legible("a panel, down, in maintenance")
	b.screenshot("maintenance")
	s.backends[2].start(t)
	b.click(".modes button:nth-child(1)")
	b.click(".confirm button.prime")
	b.says("#toast", "c is ready")
	b.says(row("c")+" b.state", "up")
	b.until("it has sessions again", active("c")+" > 0")
}

// All sessions of one backend are cut, after a question, and no others.
func (s *stage) killAll(t *testing.T) {
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	b.says(".pool .name", "3 of 3 usable")
	b.until("all are up", `document.querySelectorAll("tr.up").length === 3`)
	keepOpen(t, s.address("front"), 6)
	b.until("all have their sessions", active("a")+" === 2 && "+active("b")+" === 2 && "+active("c")+" === 2")
	b.open("b")
	kill := ".drawer .row button:nth-child(3)"
	b.click(kill)
	b.says(".confirm", "The 2 sessions that it has will be cut at once")
	b.screenshot("kill-all")
	b.click(".confirm button[type=button]")
	b.until("Cancel cuts nothing", `!document.querySelector(".confirm") && `+active("b")+" === 2")
	b.click(kill)
	b.click(".confirm button.danger")
	b.says("#toast", "2 sessions of b cut")
	b.until("only its sessions are gone", active("a")+" === 2 && "+active("b")+" === 0 && "+active("c")+" === 2")
	for range 2 {
		s.await(fields{"msg": "session", "backend": "b", "reason": "killed"})
	}
	b.says("#listeners-list", "killed")
}

// A weight is set in a dialog, and new sessions go by it.
func (s *stage) weight(t *testing.T) {
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	b.until("all are up", `document.querySelectorAll("tr.up").length === 3`)
	b.open("a")
	b.click(".drawer .row button:nth-child(1)")
	b.until("the field has the focus", `document.activeElement.name === "weight"`)
	eval[any](b, `document.activeElement.select()`)
	b.typeText("300\r")
	b.until("what is out of range is not sent", `document.querySelector(".confirm input:invalid")`)
	eval[any](b, `document.activeElement.select()`)
	b.typeText("4\r")
	b.says("#toast", "a has weight 4")
	b.says(row("a")+" .weight", "4")
	b.says(row("a")+" .tags", "by hand")
	keepOpen(t, s.address("front"), 12)
	b.until("it has four times as many", active("a")+" === 8 && "+active("b")+" === 2 && "+active("c")+" === 2")
}

// Reloads that others make are told as events, also those of a broken file.
func (s *stage) reloadsTold(t *testing.T) {
	good, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	b.says("#events-list", "c is up")
	for _, step := range []struct{ added, event, reason string }{
		{"weight = 300\n", "configuration refused", "out of range 0..256"},
		{"weight = 5\n", "configuration applied", "weight"},
	} {
		if err := os.WriteFile(s.file(), []byte(string(good)+step.added), 0o600); err != nil {
			t.Fatal(err)
		}
		s.signal(syscall.SIGHUP)
		b.says(`#events-list [data-kind="reload"]:first-child`, step.event)
		b.says(`#events-list [data-kind="reload"]:first-child .reason`, step.reason)
	}
	b.says(row("c")+" .weight", "5")
	b.screenshot("reloaded")
}

// The page outlives a network that fails: it says so, keeps what it showed, and tells
// afterwards what has happened meanwhile, and nothing twice.
func (s *stage) lostAndFound(t *testing.T) {
	w := newWire(t, strings.TrimPrefix(s.url, "http://"))
	lost := func(text string) bool { return answeredError(text) || strings.Contains(text, "net::ERR_") }
	b := openTab(t, "http://"+w.address+"/", 1440, 1000, lost)
	b.says("#link", "Live")
	b.says("#events-list", "a is up")
	w.cut()
	b.says("#link", "Connection lost, retrying")
	b.says("#notice", "limeload does not answer")
	b.says(row("a")+" b.state", "up")
	b.legible("lost")
	b.click(row("b") + " .acts button")
	b.click("dialog[open] button.prime")
	b.says("dialog[open] .problem", "does not answer")
	b.click("dialog[open] button[type=button]")
	s.backends[0].stop()
	s.await(fields{"backend": "a", "new": "down"})
	w.mend(t)
	b.says("#link", "Live")
	b.until("the notice is gone", `document.querySelector("#notice").hidden`)
	b.says(row("a")+" b.state", "down")
	b.says("#events-list", "a is down")
	b.until("no event is there twice", `(() => {
		const ids = [...document.querySelectorAll("#events-list li")].map((e) => e.dataset.id);
		return new Set(ids).size === ids.length && ids.length >= 5;
	})()`)
}

// wire is a way to an address that can be cut.
type wire struct {
	address, to string

	mu    sync.Mutex
	ln    net.Listener
	conns []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	w := &wire{address: "127.0.0.1:0", to: to}
	w.mend(t)
	t.Cleanup(w.cut)
	return w
}

// mend lets connections through.
func (w *wire) mend(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ln, w.address = ln, ln.Addr().String()
	go w.accept(ln)
}

func (w *wire) accept(ln net.Listener) {
	for {
		near, err := ln.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.to)
		if err != nil {
			near.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, near, far)
		w.mu.Unlock()
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			go func() {
				io.Copy(way[0], way[1])
				way[0].Close()
			}()
		}
	}
}

// cut ends every connection, and refuses new ones.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ln.Close()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

// Whom an access list or a limit keeps out is shown with how many there are, and which
// rule it was; a click asks why.
func refusedClients(t *testing.T) {
	a := startNamed(t, "a")
	l := serveText(t, fmt.Sprintf(`
log   = { level = "debug", format = "json" }
admin = { listen = "127.0.0.1:0" }
[[listener]]
name   = "door"
listen = ["127.0.0.1:0"]
pool   = "letters"
access = { deny = ["127.0.6.0/24"] }
[listener.limits]
connections = 2
action      = "delay"
[listener.limits.source]
connections = 1
[[listener]]
name   = "trial"
listen = ["127.0.0.1:0"]
pool   = "letters"
limits = { connections = 1, dry_run = true }
[[pool]]
name    = "letters"
health  = { type = "none" }
backend = [{ name = "a", address = %q }]
`, a.address))
	b := openTab(t, l.await(fields{"msg": "admin API"}).text("address")+"/", 1440, 1000, nil)
	b.says("#refusals-list", "No client was refused")
	b.legible("nobody is refused")

	door, trial := l.address("door"), l.address("trial")
	dialFrom(t, "127.0.1.1", door)
	b.until("one is in", active("a")+" === 1")
	turnedAway(t, "127.0.1.1", door) // a second one from there
	turnedAway(t, "127.0.6.6", door)
	dialFrom(t, "127.0.1.2", door)
	b.until("two are in", active("a")+" === 2")
	dialFrom(t, "127.0.1.3", door) // is held
	b.says(`[data-refusal="door access-denied"]`, "127.0.6.6")
	b.says(`[data-refusal="door access-denied"] .rule`, "deny 127.0.6.0/24 ("+l.cmd.Args[len(l.cmd.Args)-1]+":8)")
	b.says(`[data-refusal="door limit-source-connections"] .state`, "refused")
	b.says(`[data-refusal="door limit-connections"] .state`, "held")
	b.says("#refusals-count", "2 clients refused since the start")
	b.says("#overview", "1 held now")
	b.says("#listeners-list", "3, 1 held")
	b.says("#events-list", "refuses clients: access-denied")
	b.says("#events-list", "client 127.0.6.6: deny 127.0.6.0/24")

	keepOpen(t, trial, 2)
	b.says(`[data-refusal="trial limit-connections"] .state`, "dry run")
	b.says("#refusals-count", "2 clients refused since the start")
	b.legible("clients are refused")
	b.longScreenshot("refused")

	b.click(`[data-refusal="door access-denied"] button`)
	b.says("#why-answer .verdict", "127.0.6.6 is refused by access-denied: deny 127.0.6.0/24")
	b.until("the focus is where it is asked", `document.activeElement.id === "why-client"`)
	eval[any](b, `document.activeElement.select()`)
	b.typeText("127.0.1.9\r")
	b.says("#why-answer .verdict", "127.0.1.9 is held by limit-connections: 2 of 2 sessions")
	b.says("#why-answer", "would be picked")
	b.screenshot("why-refused")
	b.do(chromedp.EmulateViewport(390, 844))
	b.until("no wider than a phone", `document.documentElement.scrollWidth <= 390`)
	b.screenshot("refused-phone")
}

// A flood of refusals is one line among the events, whose count grows, until there was
// silence; then it is news again. The part of the page is driven by itself: in life that
// takes ten minutes.
func (s *stage) episode(t *testing.T) {
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	b.says("#link", "Live")
	eval[any](b, `import("/dashboard/views/events.js").then(({ Events }) => {
		const list = document.createElement("ol");
		document.body.append(list); // as the page's own is
		const events = new Events(list, document.createElement("p"));
		const begin = Date.parse("2026-03-01T03:00:00Z");
		const refuse = (id, minute, reason, count) => events.add({
			id, kind: "refused", listener: "door", new: reason, time: new Date(begin + minute * 60000).toISOString(),
			refused: { reason, count, client: "10.0.0." + id },
		});
		refuse(1, 0, "limit-rate", 5);
		refuse(2, 1, "limit-rate", 1000);
		refuse(3, 1, "access-denied", 1);
		events.add({ id: 4, kind: "health", pool: "p", backend: "b", new: "down", time: new Date(begin + 90000).toISOString() });
		refuse(5, 2, "limit-rate", 7);
		refuse(6, 8, "limit-rate", 2);
		window.told = [...list.children].map((e) => e.querySelector("p").textContent);
	})`)
	b.until("it is told", "window.told")
	told := eval[[]string](b, "told")
	want := []string{
		"door refuses clients: limit-rate2 clients, one of them 10.0.0.6",
		"b is down in p",
		"door refuses clients: access-deniedclient 10.0.0.3",
		"door refuses clients: limit-rate1,012 clients, up to ",
	}
	same := len(told) == len(want)
	for i := 0; same && i < len(want); i++ {
		same = strings.HasPrefix(told[i], want[i])
	}
	if !same || !strings.HasSuffix(told[3], ", the latest 10.0.0.5") {
		t.Errorf("got\n%s\nwant\n%s..., the latest 10.0.0.5", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
}

// A backend that fails whoever comes to it is out by its breaker, says until when, and
// what the breaker did is told.
func tripped(t *testing.T) {
	a, dead := startNamed(t, "a"), startNamed(t, "dead")
	dead.stop()
	l := serveText(t, fmt.Sprintf(`
log   = { level = "debug", format = "json" }
admin = { listen = "127.0.0.1:0" }
[[listener]]
name   = "front"
listen = ["127.0.0.1:0"]
pool   = "letters"
[[pool]]
name      = "letters"
algorithm = "round-robin"
health    = { type = "none" }
breaker   = { failures = 2, ejection = "1m" }
backend   = [{ name = "a", address = %q }, { name = "dead", address = %q }]
`, a.address, dead.address))
	b := openTab(t, l.await(fields{"msg": "admin API"}).text("address")+"/", 1440, 1000, nil)
	b.says(row("dead")+" b.state", "up")
	keepOpen(t, l.address("front"), 8)
	b.says(row("dead")+" b.state", "breaker open")
	b.says(row("dead")+" .words", "tried again in ")
	b.says("#events-list", "dead breaker open")
	b.says(".pool .name", "1 of 2 usable · 1 breaker open")
	b.open("dead")
	b.says(".sheet", "opened 1 time")
	b.screenshot("breaker")
}

// Whoever has no mouse gets to every control that is shown, and sees where they are.
func (s *stage) everyControl(t *testing.T) {
	keepOpen(t, s.address("front"), 2)
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	b.until("sessions are listed", `document.querySelectorAll("[data-session]").length === 2`)
	eval[any](b, `(() => {
		window.reached = new Set();
		window.unseen = [];
		document.addEventListener("focusin", ({ target }) => {
			reached.add(target);
			const look = getComputedStyle(target);
			if (look.outlineStyle === "none" || parseFloat(look.outlineWidth) < 2) unseen.push(target.outerHTML.slice(0, 80));
		});
		window.wanted = () => [...document.querySelectorAll("a[href], button:not(:disabled), input, select")].filter((e) => e.checkVisibility());
	})()`)
	const rest = `wanted().filter((e) => !reached.has(e)).map((e) => e.outerHTML.slice(0, 80))`
	for range 2 * eval[int](b, "wanted().length") {
		b.typeText(kb.Tab)
	}
	if missed := eval[[]string](b, rest); len(missed) > 0 {
		t.Errorf("Tab does not get to\n%s", strings.Join(missed, "\n"))
	}
	if unseen := eval[[]string](b, "unseen"); len(unseen) > 0 {
		t.Errorf("the focus is not seen on\n%s", strings.Join(slices.Compact(unseen), "\n"))
	}
}

// While figures change, nothing moves: the browser's own measure of that
// (layout-shift, of the Layout Instability API) stays at 0.
func (s *stage) standsStill(t *testing.T) {
	s.clients(t, 9)
	b := openTab(t, s.url+"/", 1440, 2000, nil)
	b.until("sessions are listed", `document.querySelectorAll("[data-session]").length > 0`)
	b.until("history is drawn", `document.querySelector("#overview .spark path").getAttribute("d")`)
	b.click("#sessions-hold") // its rows come and go
	eval[any](b, `(() => {
		window.shifts = [];
		new PerformanceObserver((all) => {
			for (const e of all.getEntries()) if (!e.hadRecentInput) shifts.push(...e.sources.map((s) => (s.node?.outerHTML ?? s.node?.data ?? "?").slice(0, 120)));
		}).observe({ type: "layout-shift" });
	})()`)
	const looks = `performance.getEntriesByName(location.origin + "/api/v1/pools").length`
	before := eval[int](b, looks)
	b.until("it has looked again", fmt.Sprintf("%s >= %d", looks, before+4))
	if shifts := eval[[]string](b, "shifts"); len(shifts) > 0 {
		t.Errorf("these moved:\n%s", strings.Join(shifts, "\n"))
	}
}

// turnedAway is a client that is reset, maybe before it knows that it is connected.
func turnedAway(t *testing.T, source, address string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
		return
	}
	defer c.Close()
	guard(t, c.(*net.TCPConn))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read: got %v; want %v", err, syscall.ECONNRESET)
	}
}
