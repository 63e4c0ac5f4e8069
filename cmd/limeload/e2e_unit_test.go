//go:build linux

package main_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const units = "../../packaging/systemd"

// exposure is the figure of systemd-analyze security that docs/security.md tells; 0 is
// the least exposed, 10 the most.
const exposure = "1.4"

// A systemd reads the units, and finds nothing to complain of.
func TestUnitsAreValid(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	out := output(t, analyze, "verify", unit(t), filepath.Join(units, "limeload.socket"))
	if strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify: got\n%s\nwant silence", out)
	}
}

func TestUnitExposesNoMoreThanTheDocumentationSays(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	out := output(t, analyze, "security", "--offline=yes", "--no-pager", unit(t))
	got := regexp.MustCompile(`exposure level for limeload.service: ([0-9.]+)`).FindStringSubmatch(out)
	if got == nil || got[1] != exposure {
		t.Errorf("exposure: got %q; want %s\n%s", got, exposure, out)
	}
	if doc := read(t, "docs/security.md"); !strings.Contains(doc, "exposure level of **"+exposure+"**") {
		t.Errorf("docs/security.md does not tell the exposure level of %s", exposure)
	}
}

// unit is the service unit, with a program that exists.
func unit(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "limeload.service")
	text := strings.ReplaceAll(read(t, "packaging/systemd/limeload.service"), "/usr/bin/limeload", "/bin/true")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// read is a file below the module's root.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// setting answers the words of a key of the unit, over all its lines.
func setting(t *testing.T, key string) (words []string) {
	t.Helper()
	for line := range strings.Lines(read(t, "packaging/systemd/limeload.service")) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			words = append(words, value)
		}
	}
	if words == nil {
		t.Fatalf("limeload.service has no %s", key)
	}
	return words
}

// The filter of system calls, the address families and the ban of memory that is written
// and executed are held against what the program does: its whole life under strace, with
// traffic in all modes, probes of all types, limits and an access list, reloads, the admin
// API and its page, and a drain.
func TestUnitPermitsWhatTheProgramDoes(t *testing.T) {
	strace, analyze := tool(t, "strace"), tool(t, "systemd-analyze")
	probes := allProbes(t)
	for _, engine := range []string{"splice", "copy"} {
		t.Run(engine, func(t *testing.T) {
			calls := traceLife(t, strace, engine, probes)
			allowed := filterOf(t, analyze)
			for _, name := range calls.names() {
				if !allowed[name] {
					t.Errorf("the filter forbids %s", name)
				}
			}
			families := strings.Fields(setting(t, "RestrictAddressFamilies")[0])
			for _, family := range calls.families() {
				if !slices.Contains(families, family) {
					t.Errorf("RestrictAddressFamilies forbids %s", family)
				}
			}
			if bytes.Contains(calls, []byte("PROT_WRITE|PROT_EXEC")) {
				t.Error("MemoryDenyWriteExecute forbids a mapping that is made")
			}
			if names := calls.names(); engine == "splice" && !slices.Contains(names, "splice") || len(names) < 40 {
				t.Errorf("calls: got %q; want more of them", names)
			}
		})
	}
}

// trace is what strace wrote.
type trace []byte

func (tr trace) names() []string    { return tr.all(`(?m)^\d+ +([a-z_0-9]+)\(`) }
func (tr trace) families() []string { return tr.all(`socket\((AF_[A-Z0-9]+)`) }

// all answers what a group of the expression matched, each once.
func (tr trace) all(expr string) (found []string) {
	for _, m := range regexp.MustCompile(expr).FindAllSubmatch(tr, -1) {
		found = append(found, string(m[1]))
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// filterOf answers the system calls that the unit permits, asking systemd what is in its
// groups.
func filterOf(t *testing.T, analyze string) map[string]bool {
	t.Helper()
	allowed := map[string]bool{}
	for _, line := range setting(t, "SystemCallFilter") {
		words, forbidden := strings.CutPrefix(line, "~")
		for _, word := range strings.Fields(words) {
			for _, call := range group(t, analyze, word) {
				allowed[call] = !forbidden
			}
		}
	}
	return allowed
}

// group is a system call, or those of a group and of the groups in it.
func group(t *testing.T, analyze, word string) (calls []string) {
	if !strings.HasPrefix(word, "@") {
		return []string{word}
	}
	out := output(t, analyze, "syscall-filter", "--no-pager", word)
	for _, line := range strings.Split(out, "\n")[1:] {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			calls = append(calls, group(t, analyze, line)...)
		}
	}
	return calls
}

// traceLife runs limeload under strace through all that it does, and answers its calls.
// Those of the start by the Go runtime and the loader are among them.
func traceLife(t *testing.T, strace, engine string, probes []probedPool) trace {
	m := newManager(t)
	m.watchdog = patience
	file := filepath.Join(t.TempDir(), "trace")
	m.wrapper = []string{strace, "-f", "-qq", "-s", "0", "-o", file}
	tcp := listen(t, "127.0.0.1:0")
	m.sockets, m.names = []net.Listener{tcp}, "db"
	backend, gone := startEcho(t, "b", "127.0.0.1:0"), refusing(t)
	strangers := filepath.Join(m.dir, "strangers.txt")
	writeFile(t, strangers, "192.0.2.0/24\n")
	config := onePool(tcp.Addr().String(), backend.address) + fmt.Sprintf(`
[process]
landlock = true
[shutdown]
drain_timeout = "100ms"
[[listener]]
name   = "local"
listen = ["127.0.0.1:0", "unix:%s"]
pool   = "probed"
access = { deny_files = [%q] }
limits = { rate = 1000, burst = 1, action = "delay", source = { connections = 100, rate = 1000 } }
[[pool]]
name    = "probed"
backend = [{ address = "localhost:%s" }, { address = %q }]
health  = { type = "tcp", interval = "50ms" }
[[pool]]
name    = "pinged"
backend = [{ address = "127.0.0.1:1" }]
health  = { type = "icmp", interval = "50ms" }
`, filepath.Join(m.dir, "db.sock"), strangers, backend.address[strings.LastIndex(backend.address, ":")+1:], gone) + pools(probes)
	l := m.start(engine, config)
	m.hears("READY=1")
	m.hears("WATCHDOG=1")
	l.await(fields{"msg": "backend up", "pool": "pinged"})
	l.await(fields{"msg": "backend down", "pool": "probed"})
	awaitProbes(l, probes)

	useAll(t, m, tcp.Addr().String(), l.address("local"))
	m.write(strings.Replace(fmt.Sprintf(prelude, engine, "default")+config, "127.0.0.1:0", "127.0.0.2:0", 1))
	askAdmin(t, m, "POST", "/api/v1/reload")
	m.hears("RELOADING=1")
	m.hears("READY=1")
	writeFile(t, strangers, "192.0.2.0/24\n198.51.100.0/24\n")
	l.await(fields{"msg": "access list changed", "listener": "local"})
	askAdmin(t, m, "GET", "/metrics")
	askAdmin(t, m, "GET", "/")
	visit(t, tcp.Addr().String()) // stays, and is cut by the drain
	m.end(l)
	l.await(fields{"msg": "session", "reason": "drained"})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// useAll moves small and large amounts, over TCP and a unix socket, and resets.
func useAll(t *testing.T, m *manager, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		visit(t, address).leave(t)
		v := visit(t, address)
		const size = 8 << 20
		go io.CopyN(v, zeros{}, size)
		if n, err := io.CopyN(io.Discard, v.from, size); err != nil {
			t.Errorf("bulk: got %d bytes, %v; want %d", n, err, size)
		}
		reset(t, v.TCPConn)
	}
	c, err := net.Dial("unix", filepath.Join(m.dir, "db.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if name, err := bufio.NewReader(c).ReadString('\n'); name != "b\n" {
		t.Errorf("unix client: got %q, %v; want b", name, err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// askAdmin asks the admin API on its socket; the answer must be good.
func askAdmin(t *testing.T, m *manager, method, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(m.dir, "admin.sock"))
		},
	}}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode/100 != 2 {
		t.Errorf("%s %s: got %s: %s", method, path, answer.Status, body)
	}
	return string(body)
}
