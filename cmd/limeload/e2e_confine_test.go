//go:build linux

package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asRoot skips what only root can try. The directories of tests are root's alone: others
// get in here.
func asRoot(t *testing.T, m *manager) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for dir := m.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// threads answers, for each thread of a process, what its status says under a name
// (proc_pid_status(5)), words apart by one space.
func threads(t *testing.T, pid int, name string) (values []string) {
	t.Helper()
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for line := range strings.Lines(string(b)) {
			if value, ok := strings.CutPrefix(line, name+":"); ok {
				values = append(values, strings.Join(strings.Fields(value), " "))
			}
		}
	}
	if len(values) < 3 {
		t.Fatalf("threads of process %d: got %q; want several", pid, values)
	}
	return values
}

// After the start no thread is root, none is in a group of root's, none has a capability
// but those that the configuration needs, and none can get more; and all works.
func TestPrivilegesAreDropped(t *testing.T) {
	const netBindService, netRaw = 1 << 10, 1 << 13
	for _, tt := range []struct {
		name         string
		listen       string
		health       string
		capabilities uint64
	}{
		{"with nothing left", "127.0.0.1:0", "none", 0},
		{"for low ports", fmt.Sprintf("127.0.77.%d:1", os.Getpid()%200+1), "none", netBindService},
		{"for ICMP probes", "127.0.0.1:0", "icmp", netRaw},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newManager(t)
			asRoot(t, m)
			backend := startEcho(t, "b", "127.0.0.1:0")
			config := strings.Replace(onePool(tt.listen, backend.address), `"none"`, `"`+tt.health+`"`, 1)
			l := m.start("splice", config, "--user", "nobody", "--group", "65533")
			m.hears("READY=1")
			for name, want := range map[string]string{
				"Uid": "65534 65534 65534 65534", "Gid": "65533 65533 65533 65533", "Groups": "",
				"CapEff": fmt.Sprintf("%016x", tt.capabilities), "CapPrm": fmt.Sprintf("%016x", tt.capabilities),
				"CapBnd": fmt.Sprintf("%016x", tt.capabilities), "CapInh": fmt.Sprintf("%016x", 0), "NoNewPrivs": "1",
			} {
				for _, got := range threads(t, l.cmd.Process.Pid, name) {
					if got != want {
						t.Errorf("%s of a thread: got %q; want %q", name, got, want)
					}
				}
			}
			visit(t, l.address("db")).leave(t)

			moved := strings.Replace(config, `name   = "db"`, `name   = "moved"`, 1) // binds the low port again
			m.write(fmt.Sprintf(prelude, "splice", "default") + moved)
			askAdmin(t, m, "POST", "/api/v1/reload")
			visit(t, l.address("moved")).leave(t)
		})
	}
}

// What root made is the user's: it is gone after the end.
func TestSocketsBelongToTheUser(t *testing.T) {
	m := newManager(t)
	asRoot(t, m)
	backend := startEcho(t, "b", "127.0.0.1:0")
	path := filepath.Join(m.dir, "db.sock")
	l := m.start("splice", onePool("unix:"+path, backend.address)+"[process]\nuser = \"nobody\"\n")
	m.hears("READY=1")
	admin := filepath.Join(m.dir, "admin.sock")
	for _, file := range []string{path, admin} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 65534 {
			t.Errorf("%s: got owner %d; want nobody", file, uid)
		}
	}
	l.signal(syscall.SIGTERM)
	l.status()
	for _, file := range []string{path, admin} {
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s: is left after the end", file)
		}
	}
}

// A start that could not keep its promise is no start.
func TestUserThatCannotBe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		as     uint32 // who starts it
		secret bool   // the configuration is root's alone
		flags  []string
		want   string
	}{
		{"unknown", 0, false, []string{"--user", "nobody-knows"}, "limeload: process.user: user nobody-knows: is unknown here"},
		{"unknown group", 0, false, []string{"--user", "nobody", "--group", "nobody-knows"}, "limeload: process.user: group nobody-knows: is unknown here"},
		{"a number without a group", 0, false, []string{"--user", "54321"}, "limeload: process.user: user 54321: has no entry and so no group of its own; want a group too"},
		{"root", 0, false, []string{"--user", "root"}, "limeload: process.user: become user root: is root; want one without its power"},
		{"group alone", 0, false, []string{"--group", "nogroup"}, "limeload: --group nogroup: goes with process.user, which is missing"},
		{"not root", 65534, false, []string{"--user", "daemon"}, "limeload: process.user: become user daemon: this process runs as user 65534, and only root can change that"},
		{"a file that a reload could not read", 0, true, []string{"--user", "nobody"}, "permission denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newManager(t)
			asRoot(t, m)
			if tt.as != 0 {
				m.user = &syscall.Credential{Uid: tt.as, Gid: tt.as}
			}
			if tt.secret {
				m.mode = 0o600
			}
			l := m.start("splice", onePool("127.0.0.1:0", "127.0.0.1:9"), append(tt.flags, "--admin", "")...)
			if status := l.status(); status == 0 {
				t.Error("exit status: got 0; want another")
			}
			if got := strings.Join(l.log.takeForeign(), "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("got %q; want %q", got, tt.want)
			}
		})
	}
}

// With Landlock the process works as before, cannot be led to a file elsewhere, and says
// what a reload would need.
func TestLandlock(t *testing.T) {
	m := newManager(t)
	outside := t.TempDir()
	backend := startEcho(t, "b", "127.0.0.1:0")
	config := onePool("127.0.0.1:0", backend.address) + "[process]\nlandlock = true\n"
	l := m.start("splice", config)
	m.hears("READY=1")
	if warned, _, _ := l.log.find(0, fields{"msg": "landlock: this kernel has none, so files are not restricted"}); len(warned) > 0 {
		t.Skip("this kernel has no Landlock")
	}
	l.await(fields{"msg": "landlock in force", "network": "not restricted"})
	visit(t, l.address("db")).leave(t)
	askAdmin(t, m, "GET", "/metrics")

	whole := fmt.Sprintf(prelude, "splice", "default") + config
	fails := func(want string) {
		t.Helper()
		l.signal(syscall.SIGHUP)
		l.await(fields{"msg": "reload failed, nothing changed", "problem": want})
	}
	m.write(strings.Replace(whole, `"]`, `", "unix:`+outside+`/db.sock"]`, 1))
	fails("process.landlock: " + outside + ": not among the files and directories that were permitted at the start; that needs a restart")

	elsewhere := filepath.Join(outside, "limeload.toml") // a valid one, to which a link leads
	if err := os.WriteFile(elsewhere, []byte(whole), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Remove(m.file())
	if err := os.Symlink(elsewhere, m.file()); err != nil {
		t.Fatal(err)
	}
	fails("open " + m.file() + ": permission denied")

	os.Remove(m.file())
	m.write(strings.Replace(whole, `name   = "db"`, `name   = "again"`, 1))
	askAdmin(t, m, "POST", "/api/v1/reload")
	visit(t, l.address("again")).leave(t)
}
