package server

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"golang.org/x/sys/unix"
)

// slowFile is a file that whoever opens it waits for, until let: there is a lease on it
// (fcntl(2), F_SETLEASE).
type slowFile struct{ *os.File }

// slow makes a file slow.
func slow(t *testing.T, path string) slowFile {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("no lease on a file here: %v", err)
	}
	return slowFile{f}
}

// wanted reports whether somebody waits to open it.
func (f slowFile) wanted() bool {
	lease, err := unix.FcntlInt(f.Fd(), unix.F_GETLEASE, 0)
	return err == nil && lease != unix.F_WRLCK
}

// let has whoever waits open it.
func (f slowFile) let(t *testing.T) {
	t.Helper()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
}

// named are the files that a configuration can name, each with its content and the part of
// a configuration that names it.
func named(t *testing.T) map[string]struct {
	content []byte
	more    func(file string) string
} {
	return map[string]struct {
		content []byte
		more    func(file string) string
	}{
		"access list": {[]byte("192.0.2.0/24\n"), func(file string) string {
			return fmt.Sprintf("[[listener]]\nname = 'more'\nlisten = ['127.0.0.1:0']\npool = 'pool'\naccess = { deny_files = [%q] }\n", file)
		}},
		"certificates": {certificate(t), func(file string) string {
			return fmt.Sprintf("[[pool]]\nname = 'more'\nhealth = { type = 'tls', tls.ca_file = %q }\nbackend = [{ address = '127.0.0.1:1' }]\n", file)
		}},
	}
}

// Who wants to drain something does not wait for a reload that waits for a disk, and what
// was drained meanwhile is so afterwards.
func TestNobodyWaitsForFiles(t *testing.T) {
	for kind, c := range named(t) {
		t.Run(kind, func(t *testing.T) {
			s, conf, a, b := twoBackends(t)
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			file := slow(t, path)
			conf.more = c.more(path)
			next, ended := conf.config(t), make(chan error, 1)
			go func() {
				_, err := s.Apply(t.Context(), next)
				ended <- err
			}()
			eventually(t, "the file is being read", file.wanted)
			if err := s.SetBackend(t.Context(), "pool", a, Settings{Mode: ptr(balancer.Drain)}); err != nil {
				t.Fatal(err)
			}
			if err := s.RemoveBackend(t.Context(), "pool", b, false); err != nil {
				t.Fatal(err)
			}
			apply(t, s, setup{listen: conf.listen, backends: append(conf.backends, "127.0.0.1:9"), top: conf.top}.config(t)) // another reload
			if row(s, a).Mode != balancer.Drain || row(s, b) != nil || row(s, "127.0.0.1:9") == nil {
				t.Errorf("got %+v; want a drained, no b, and what the other reload brought", s.Snapshot().Pools[0].Backends)
			}
			select {
			case err := <-ended:
				t.Errorf("Apply: %v; want that it waits still", err)
			default:
			}
			file.let(t)
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if row(s, a).Mode != balancer.Drain || row(s, b) != nil || row(s, "127.0.0.1:9") != nil {
				t.Errorf("got %+v; want a drained still, no b, and what the file says", s.Snapshot().Pools[0].Backends)
			}
			if kind == "access list" {
				if name, _, err := s.Refusal("more", netip.MustParseAddr("192.0.2.9")); name != "access-denied" {
					t.Errorf("a client of the list: got %q, %v; want it refused", name, err)
				}
			}
		})
	}
}

// What a person changes is laid over files that were read already.
func TestChangesReadNoFiles(t *testing.T) {
	for kind, c := range named(t) {
		t.Run(kind, func(t *testing.T) {
			s, conf, a, _ := twoBackends(t)
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			conf.more = c.more(path)
			apply(t, s, conf.config(t))
			file := slow(t, path)
			if err := s.SetBackend(t.Context(), "pool", a, Settings{Mode: ptr(balancer.Drain)}); err != nil {
				t.Fatal(err)
			}
			if kind == "certificates" {
				if err := s.SetBackend(t.Context(), "more", "127.0.0.1:1", Settings{Weight: ptr(7)}); err != nil {
					t.Fatal(err)
				}
			}
			if file.wanted() {
				t.Error("the file was opened; want it left alone")
			}
		})
	}
}

// A file system that does not answer is a problem of the new configuration, told with all
// others; and the next one that does without it works.
func TestSilentFileFailsAReload(t *testing.T) {
	s, conf, a, _ := twoBackends(t)
	s.disk.Patience = 10 * time.Millisecond
	lists, dir := named(t), t.TempDir()
	good := conf.config(t)
	for kind, c := range lists {
		path := filepath.Join(dir, kind)
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		defer slow(t, path).let(t)
		conf.more += c.more(path)
	}
	_, err := s.Apply(t.Context(), conf.config(t))
	if err == nil {
		t.Fatal("Apply: got no error; want one for each file")
	}
	for _, want := range []string{
		"read " + filepath.Join(dir, "access list") + ": the file system has not answered for 10ms",
		"pool[1].health.tls.ca_file: read " + filepath.Join(dir, "certificates") + ": the file system has not answered for 10ms",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Apply: got %q; want it to tell %q", err, want)
		}
	}
	conf.more = ""
	good.Pools[0].Backends = good.Pools[0].Backends[:1]
	apply(t, s, good)
	if rows := s.Snapshot().Pools[0].Backends; len(rows) != 1 || rows[0].Address != a {
		t.Errorf("got %+v; want a alone", rows)
	}
}

// A list that a slow disk keeps from being read keeps nobody from changing something else,
// and is in force once it was read.
func TestSlowListHoldsNobodyUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deny.txt")
	if err := os.WriteFile(path, []byte("192.0.2.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := limited(t, `access = { deny_files = ["`+path+`"] }`)
	next := path + ".new"
	if err := os.WriteFile(next, []byte("198.51.100.0/24\n203.0.113.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := slow(t, next)
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the list is being read", file.wanted)
	if n := len(s.Overrides()); n != 0 {
		t.Errorf("got %d overrides; want none", n)
	}
	if err := s.SetBackend(t.Context(), "pool", s.Snapshot().Pools[0].Backends[0].Name, Settings{Weight: ptr(7)}); err != nil {
		t.Errorf("a weight: got %v; want it changed", err)
	}
	denies := func(client string) bool {
		name, _, _ := s.Refusal("front", netip.MustParseAddr(client))
		return name == "access-denied"
	}
	if !denies("192.0.2.9") || denies("203.0.113.9") {
		t.Error("the list changed before it was read")
	}
	file.let(t)
	eventually(t, "the new list is in force", func() bool { return denies("203.0.113.9") && !denies("192.0.2.9") })
}

// Nobody writes into the pipe, so that whoever opened it would wait for ever.
func TestFilesAreNoPipes(t *testing.T) {
	for kind, c := range named(t) {
		t.Run(kind, func(t *testing.T) {
			s, conf, _, _ := twoBackends(t)
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := unix.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			conf.more = c.more(pipe)
			for _, dry := range []bool{true, false} {
				if _, err := s.Reload(t.Context(), conf.config(t), Reload{DryRun: dry}); err == nil || !strings.Contains(err.Error(), "is a named pipe; want a file") {
					t.Errorf("dry run %v: got %v; want that it is a named pipe", dry, err)
				}
			}
		})
	}
}

// A configuration that was read first is not applied last.
func TestReloadIsNotOvertaken(t *testing.T) {
	s, conf, a, _ := twoBackends(t)
	early := conf.config(t)
	conf.backends = []string{a}
	late := conf.config(t)
	if _, err := s.Reload(t.Context(), late, Reload{Order: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(t.Context(), early, Reload{Order: 1}); !errors.Is(err, ErrOvertaken) {
		t.Errorf("what was read earlier: got %v; want %v", err, ErrOvertaken)
	}
	if n := len(s.Snapshot().Pools[0].Backends); n != 1 {
		t.Errorf("got %d backends; want the one of what was read later", n)
	}
	if changes, err := s.Reload(t.Context(), early, Reload{Order: 1, DryRun: true}); err != nil || len(changes) == 0 {
		t.Errorf("a dry run of it: got %v, %v; want what it would change", changes, err)
	}
	if _, err := s.Reload(t.Context(), early, Reload{Order: 3}); err != nil {
		t.Error(err)
	}
}
