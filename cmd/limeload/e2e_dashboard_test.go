//go:build linux

package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
)

// What a person does at the dashboard, in a real browser, on the real program.
func TestDashboard(t *testing.T) {
	t.Parallel()
	t.Run("loads", func(t *testing.T) { newStage(t, "").loads(t) })
	t.Run("a backend goes down and comes back", func(t *testing.T) { newStage(t, "").backendGoesDown(t) })
	t.Run("a drain by click moves sessions", func(t *testing.T) { newStage(t, "").drain(t) })
	t.Run("kill a session", func(t *testing.T) { newStage(t, "").kill(t) })
	t.Run("change weight and remove", func(t *testing.T) { newStage(t, "").change(t) })
	t.Run("errors are told in words", func(t *testing.T) { newStage(t, "").errorsInWords(t) })
	t.Run("reload", func(t *testing.T) { newStage(t, "").reload(t) })
	t.Run("why", func(t *testing.T) { newStage(t, "").why(t) })
	t.Run("keyboard", func(t *testing.T) { newStage(t, "").keyboard(t) })
	t.Run("ten thousand backends", tenThousand)
	t.Run("token", askedForToken)
	t.Run("restart", outlives)
	t.Run("maintenance by click", func(t *testing.T) { newStage(t, "").maintenance(t) })
	t.Run("kill all sessions of a backend", func(t *testing.T) { newStage(t, "").killAll(t) })
	t.Run("a new weight moves sessions", func(t *testing.T) { newStage(t, "").weight(t) })
	t.Run("reloads are told", func(t *testing.T) { newStage(t, "").reloadsTold(t) })
	t.Run("the API is lost and found", func(t *testing.T) { newStage(t, "").lostAndFound(t) })
	t.Run("refused clients", refusedClients)
	t.Run("refusals that go on are one event", func(t *testing.T) { newStage(t, "").episode(t) })
	t.Run("breaker", tripped)
	t.Run("the keyboard reaches everything", func(t *testing.T) { newStage(t, "").everyControl(t) })
	t.Run("nothing jumps", func(t *testing.T) { newStage(t, "").standsStill(t) })
}

// stage is limeload in front of three backends, with clients that come and go.
type stage struct {
	*limeload
	backends []*namedServer
	url      string
}

func newStage(t *testing.T, token string) *stage {
	t.Helper()
	s := &stage{}
	for _, name := range []string{"a", "b", "c"} {
		s.backends = append(s.backends, startNamed(t, name))
	}
	s.limeload = serveText(t, s.config("127.0.0.1:0", token))
	s.url = s.await(fields{"msg": "admin API"}).text("address")
	return s
}

func (s *stage) config(admin, token string) string {
	text := fmt.Sprintf(`
log      = { level = "debug", format = "json" }
admin    = { listen = %q, token_file = %q }
shutdown = { drain_timeout = "0s" }
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "letters"
[[pool]]
name = "letters"
health = { interval = "50ms", rise = 1, fall = 2 }
`, admin, token)
	for _, b := range s.backends {
		text += fmt.Sprintf("[[pool.backend]]\nname = %q\naddress = %q\n", b.name, b.address)
	}
	return text
}

// clients keep n sessions alive that end by themselves after a while, and are followed
// by new ones.
func (s *stage) clients(t *testing.T, n int) {
	t.Helper()
	at := s.address("front")
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for round := 0; ; round++ {
				stay := time.Duration(300+100*((i+round)%5)) * time.Millisecond
				select {
				case <-stop:
					return
				default:
					stayFor(at, stay, stop)
				}
			}
		})
	}
	t.Cleanup(func() {
		close(stop)
		all.Wait()
	})
}

func stayFor(at string, stay time.Duration, stop <-chan struct{}) {
	c, err := net.Dial("tcp", at)
	if err != nil {
		return
	}
	defer c.Close()
	bufio.NewReader(c).ReadString('\n')
	select {
	case <-stop:
	case <-time.After(stay):
	}
}

func row(name string) string { return fmt.Sprintf(`[data-backend="%s"]`, name) }

// active is a backend's number of sessions as the page shows it.
func active(name string) string {
	return fmt.Sprintf("Number(document.querySelector('%s .figure')?.textContent)", row(name))
}

func (s *stage) loads(t *testing.T) {
	s.clients(t, 12)
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	b.says("#link", "Live")
	b.says("#pools-count", "1 pool, 3 backends")
	b.says("#events-list", "a is up")
	b.until("all three have sessions", active("a")+" + "+active("b")+" + "+active("c")+" >= 10")
	b.until("history is drawn", `document.querySelector("#overview .spark path").getAttribute("d")`)
	b.until("sessions are listed", `document.querySelectorAll("[data-session]").length >= 10`)

	const sizes = `[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
		.filter((e) => !e.name.includes("/api/")).map((e) => e.encodedBodySize)`
	total := 0.0
	for _, size := range eval[[]float64](b, sizes) {
		total += size
	}
	t.Logf("the page: %.1f kB in %d files", total/1000, len(eval[[]float64](b, sizes)))
	if total > 300e3 || total < 20e3 {
		t.Errorf("the page has %.0f bytes; want all of it, and less than 300 kB", total)
	}

	for _, scheme := range []string{"light", "dark"} {
		b.theme(scheme)
		b.longScreenshot("dashboard-" + scheme)
		if pale := b.pale(); len(pale) > 0 {
			t.Errorf("%s: too little contrast:\n%s", scheme, strings.Join(pale, "\n"))
		}
	}
	if nameless := b.nameless(); len(nameless) > 0 {
		t.Errorf("controls without a name: %q", nameless)
	}
	s.phone(t)
}

// phone is the page at the width of a small one.
func (s *stage) phone(t *testing.T) {
	b := openTab(t, s.url+"/", 360, 740, nil)
	b.until("sessions are listed", `document.querySelectorAll("[data-session]").length >= 10`)
	b.longScreenshot("dashboard-phone")
	if wide := eval[int](b, "document.documentElement.scrollWidth"); wide > 360 {
		t.Errorf("the page is %d pixels wide; want at most 360", wide)
	}
	b.click(row("a") + " .backend button")
	b.until("the panel is open", `document.querySelector("dialog[open]")`)
	b.screenshot("details-phone")
	if wide := eval[int](b, `document.querySelector("dialog").scrollWidth`); wide > 360 {
		t.Errorf("the panel is %d pixels wide; want at most 360", wide)
	}
}

func (s *stage) backendGoesDown(t *testing.T) {
	s.clients(t, 6)
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	b.says(row("b")+" b.state", "up")
	b.until("news are read out", `document.querySelector("#events-list").getAttribute("aria-live") === "polite"`)
	s.backends[1].stop()
	b.says(row("b")+" b.state", "down")
	b.says(row("b")+" .words", "refused")
	b.says("#events-list li", "b is down")
	b.says(".pool .name", "2 of 3 usable")
	b.screenshot("backend-down")
	s.backends[1].start(t)
	b.says(row("b")+" b.state", "up")
	b.says("#events-list li", "b is up")
}

func (s *stage) drain(t *testing.T) {
	s.clients(t, 12)
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	b.until("a has sessions", active("a")+" > 0")
	b.click(row("a") + " .acts button")
	b.says("dialog[open]", "Drain a?")
	b.screenshot("confirm")
	b.click("dialog[open] button.prime")
	b.says("#toast", "a is being drained")
	b.says(row("a")+" b.state", "drained")
	b.until("its sessions are with the others", fmt.Sprintf("%s === 0 && %s + %s >= 10", active("a"), active("b"), active("c")))
	b.says(row("a")+" .tags", "by hand")
	b.says("#events-list", "is being drained")
	b.screenshot("drained")
	b.click(row("a") + " .acts button")
	b.click("dialog[open] button.prime")
	b.until("it has sessions again", active("a")+" > 0")
}

func (s *stage) kill(t *testing.T) {
	keep := make(chan error, 1)
	c, err := net.Dial("tcp", s.address("front"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		_, err := io.Copy(io.Discard, c)
		keep <- err
	}()
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	client := c.LocalAddr().String()
	b.says("#sessions-list tbody", client)
	b.click("#sessions-filter")
	b.typeText("nobody here")
	b.says("#sessions-list .empty", "No live session")
	b.click("#sessions-filter")
	eval[any](b, `document.querySelector("#sessions-filter").select()`)
	b.typeText(client)
	b.says("#sessions-count", "1 session found")
	b.click("[data-session] button")
	b.says("dialog[open]", client)
	b.click("dialog[open] button.danger")
	b.says("#toast", "was cut")
	b.says("#sessions-list .empty", "No live session")
	select {
	case err := <-keep:
		if err == nil {
			t.Error("the client saw an end; want a reset")
		}
	case <-time.After(patience):
		t.Error("the session lives")
	}
}

func (s *stage) change(t *testing.T) {
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	b.says(row("c")+" b.state", "up")
	b.click(row("c") + " .backend button")
	b.click(".drawer .row button:nth-child(1)")
	b.click(".confirm input")
	eval[any](b, `document.querySelector(".confirm input").select()`)
	b.typeText("7\r")
	b.says("#toast", "c has weight 7")
	b.says(row("c")+" .weight", "7")
	b.says(".undo", "1 change by hand")
	b.click(".drawer .row button:nth-child(4)")
	b.says(".confirm", "Remove c?")
	b.click(".confirm button.danger")
	b.until("c is gone", fmt.Sprintf("!document.querySelector('%s') && !document.querySelector('dialog')", row("c")))
	b.click(".undo")
	b.click("dialog[open] button.prime")
	b.says(row("c")+" .weight", "1")
}

func (s *stage) errorsInWords(t *testing.T) {
	b := openTab(t, s.url+"/", 1440, 1000, answeredError)
	b.click(".pool .add")
	b.click(`dialog [name="address"]`)
	b.typeText("169.254.169.254:80\r")
	b.says("dialog .problem", "link-local")
	b.screenshot("error")
	b.click("dialog button[type=button]")
	b.until("it is left", "!document.querySelector('dialog')")
}

// reload tells every problem of a broken file, and of a good one what it will change.
func (s *stage) reload(t *testing.T) {
	file := s.cmd.Args[len(s.cmd.Args)-1]
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := openTab(t, s.url+"/", 1440, 1000, answeredError)
	b.says(row("c")+" .weight", "1")
	write(string(good) + "weight = 300\n") // the last table is that of c
	b.click("#reload")
	b.says("dialog[open] .problem", "out of range 0..256")
	b.screenshot("reload-problems")
	b.says(row("c")+" .weight", "1")
	write(string(good) + "weight = 3\n")
	b.click("dialog[open] button.prime")
	b.says("dialog[open] .changes", "weight")
	b.screenshot("reload")
	b.click("dialog[open] button.prime")
	b.says("#toast", "Reloaded")
	b.says(row("c")+" .weight", "3")
}

// answeredError accepts the console's word of an answer that is an error: the page tells it.
func answeredError(text string) bool { return strings.Contains(text, "Failed to load resource") }

func (s *stage) why(t *testing.T) {
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	b.says("#why-listener", "front")
	s.backends[0].stop()
	b.says(row("a")+" b.state", "down")
	b.click("#why-client")
	b.typeText("10.1.2.3\r")
	b.says("#why-answer", "10.1.2.3 gets ")
	b.until("the pick is marked", `document.querySelectorAll("#why-answer .picked").length === 1`)
	b.until("it says why a is out", `[...document.querySelectorAll("#why-answer tbody tr")].some((r) => r.cells[0].textContent === "a" && r.textContent.includes("refused"))`)
	b.screenshot("why")
}

// Everything can be reached and left with the keyboard, and what the reflex of Enter
// does is harmless.
func (s *stage) keyboard(t *testing.T) {
	b := openTab(t, s.url+"/", 1440, 1000, nil)
	b.says(row("a")+" b.state", "up")
	drain := row("a") + " .acts button"
	eval[any](b, fmt.Sprintf("document.querySelector('%s').focus()", drain))
	b.typeText(kb.Enter)
	b.says("dialog[open]", "Drain a?")
	b.until("Cancel has the focus", `document.activeElement.textContent === "Cancel"`)
	b.typeText(kb.Enter)
	b.until("nothing was done", fmt.Sprintf("!document.querySelector('dialog') && document.querySelector('%s b.state').textContent === 'up'", row("a")))
	b.until("the focus is back", fmt.Sprintf("document.activeElement === document.querySelector('%s')", drain))
	b.typeText(kb.Enter)
	b.until("it is open again", `document.querySelector("dialog[open]")`)
	b.typeText(kb.Escape)
	b.until("Escape leaves", `!document.querySelector("dialog")`)
	b.typeText(kb.Tab)
	b.until("Tab goes on", `document.activeElement.textContent === "More"`)
	b.until("the focus can be seen", `getComputedStyle(document.activeElement).outlineStyle === "solid"`)
}

func askedForToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStage(t, file)
	b := openTab(t, s.url+"/", 1440, 1000, answeredError)
	b.says("dialog[open]", "wants the token")
	b.screenshot("token")
	b.typeText("wrong\r")
	b.says("dialog[open]", "did not accept that token")
	b.typeText("s3cret\r")
	b.says("#link", "Live")
	b.says("#events-list", "a is up")
	b.until("it is nowhere but in the tab's own store", `sessionStorage.length === 1 && localStorage.length === 0 && document.cookie === ""`)
	b.click("#forget")
	b.says("dialog[open]", "wants the token")
}

// A large installation: pools are closed at first, an open one shows its first hundred,
// a filter finds one of ten thousand, and a look at what has not changed touches
// nothing.
func tenThousand(t *testing.T) {
	pools, each := 100, 100
	if testing.Short() {
		pools = 20
	}
	text := "log = { level = \"debug\", format = \"json\" }\nadmin = { listen = \"127.0.0.1:0\" }\n"
	for p := range pools {
		text += fmt.Sprintf("[[listener]]\nname = \"l%d\"\nlisten = [\"127.0.0.1:0\"]\npool = \"pool-%d\"\n", p, p)
		text += fmt.Sprintf("[[pool]]\nname = \"pool-%d\"\nhealth = { type = \"none\" }\nbackend = [\n", p)
		for i := range each {
			text += fmt.Sprintf("{ name = \"b-%d-%d\", address = \"10.%d.0.%d:5432\" },\n", p, i, p, i+1)
		}
		text += "]\n"
	}
	l := serveText(t, text)
	b := openTab(t, l.await(fields{"msg": "admin API"}).text("address")+"/", 1440, 1000, nil)
	b.says("#pools-count", fmt.Sprintf("%d pools, ", pools))
	b.until("pools are closed", fmt.Sprintf("document.querySelectorAll('[data-pool]').length === %d && !document.querySelector('[data-backend]')", pools))
	b.screenshot("ten-thousand")
	b.until("rates are known", `[...document.querySelectorAll(".pool .facts")].every((f) => f.textContent.includes("0.0"))`)
	const looks = `performance.getEntriesByName(location.origin + "/api/v1/pools").length`
	eval[any](b, `new MutationObserver((all) => (window.rebuilt = (window.rebuilt ?? 0) + all.length))
		.observe(document.querySelector("#pools-list"), { childList: true, subtree: true })`)
	before := eval[int](b, looks)
	b.until("it has looked again", fmt.Sprintf("%s >= %d", looks, before+2))
	if n := eval[int](b, "window.rebuilt ?? 0"); n > 0 {
		t.Errorf("two looks at what has not changed touched %d nodes", n)
	}
	b.click(`[data-pool="pool-7"] .fold`)
	b.until("its first rows are there", `document.querySelectorAll("[data-backend]").length === 100`)
	b.click("#pools-filter")
	b.typeText("b-17-42")
	b.until("one is left", `document.querySelectorAll("[data-pool]").length === 1 && document.querySelectorAll("[data-backend]").length === 1`)
}

// The page outlives limeload: it says that it is gone, and is live again with the next
// process.
func outlives(t *testing.T) {
	s := newStage(t, "")
	b := openTab(t, s.url+"/", 1440, 1000, func(text string) bool { return answeredError(text) || strings.Contains(text, "ERR_CONNECTION_REFUSED") })
	b.says("#link", "Live")
	b.says("#events-list", "a is up")
	s.signal(syscall.SIGTERM)
	s.status()
	b.says("#link", "Connection lost, retrying")
	b.says("#notice", "tries again")
	b.screenshot("lost")
	s.backends[0].stop()
	serveText(t, s.config(strings.TrimPrefix(s.url, "http://"), ""))
	b.says("#link", "Live")
	b.says(row("a")+" b.state", "down")
	b.says("#events-list", "a is down")
	b.until("only what this process told is shown", `!document.querySelector("#events-list").textContent.includes("a is up")`)
}

// namedServer is a backend that says its name.
type namedServer struct {
	name, address string

	mu    sync.Mutex
	ln    net.Listener
	conns []net.Conn
}

func startNamed(t *testing.T, name string) *namedServer {
	t.Helper()
	s := &namedServer{name: name, address: "127.0.0.1:0"}
	s.start(t)
	t.Cleanup(s.stop)
	return s
}

func (s *namedServer) start(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ln, s.address = ln, ln.Addr().String()
	go s.accept(ln)
}

func (s *namedServer) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		go func() {
			defer c.Close()
			fmt.Fprintln(c, s.name)
			io.Copy(io.Discard, c)
		}()
	}
}

// stop ends it, and every connection, as a crash would.
func (s *namedServer) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ln.Close()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}
