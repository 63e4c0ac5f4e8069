package confine

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Restrict and Drop are for good, so they are tried by a copy of the test program. It
// does what trials has under the name in this variable, and fails by what it writes.
const trialVariable = "CONFINE_TRIAL"

var trials = map[string]func(dir string) error{
	"landlock": tryLandlock,
}

func TestMain(m *testing.M) {
	if trial := trials[os.Getenv(trialVariable)]; trial != nil {
		if err := trial(os.Args[len(os.Args)-1]); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// attempt runs a trial in a directory.
func attempt(t *testing.T, trial, dir string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), trialVariable+"="+trial)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", trial, err, out)
	}
}

// No thread opens, makes or removes a file outside, nor runs one; inside each works as
// far as it was permitted.
func TestRestrictHoldsForEveryThread(t *testing.T) {
	if c, err := Restrict(Paths{Read: []string{"/"}, Run: []string{"/"}, Write: []string{"/"}}); err != nil || c.ABI == 0 {
		t.Skipf("this kernel has no Landlock (%v)", err)
	}
	dir := t.TempDir()
	for _, name := range []string{"read/file", "write/file", "outside/file"} {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o777)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	attempt(t, "landlock", dir)
}

func tryLandlock(dir string) error {
	in := func(name string) string { return filepath.Join(dir, name) }
	var threads, ready sync.WaitGroup
	start := make(chan struct{})
	errs := make(chan error, 8*8)
	for range 8 {
		ready.Add(1)
		threads.Go(func() { // a thread of its own that was there before
			runtime.LockOSThread()
			ready.Done()
			<-start
			for _, err := range tryAccess(in) {
				errs <- err
			}
		})
	}
	ready.Wait()
	if _, err := Restrict(Paths{Read: []string{in("read"), in("missing")}, Write: []string{in("write")}}); err != nil {
		return err
	}
	close(start)
	threads.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// tryAccess tells which access does not end as it must.
func tryAccess(in func(string) string) (wrong []error) {
	_, read := os.ReadFile(in("read/file"))
	_, write := os.OpenFile(in("write/file"), os.O_RDWR, 0)
	_, outside := os.ReadFile(in("outside/file"))
	_, change := os.OpenFile(in("read/file"), os.O_WRONLY, 0)
	_, list := os.ReadDir(in("outside"))
	for _, a := range []struct {
		what      string
		err       error
		permitted bool
	}{
		{"read what may be read", read, true},
		{"write what may be written", write, true},
		{"read outside", outside, false},
		{"list outside", list, false},
		{"write what may be read", change, false},
		{"make a file outside", os.WriteFile(in("outside/new"), nil, 0o666), false},
		{"remove outside", os.Remove(in("outside/file")), false},
		{"run what may be read", exec.Command(in("read/file")).Run(), false},
	} {
		if a.permitted != (a.err == nil) || !a.permitted && !errors.Is(a.err, fs.ErrPermission) {
			wrong = append(wrong, errors.New(a.what+": got "+errorText(a.err)))
		}
	}
	return wrong
}

func errorText(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

func TestPermits(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"config", "state", "elsewhere"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "config", "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	c := &Confinement{ABI: 1, paths: Paths{Read: []string{filepath.Join(dir, "config")}, Write: []string{filepath.Join(dir, "state") + "/"}}}
	for _, tt := range []struct {
		path string
		want bool
	}{
		{"config", true},
		{"config/file", true},
		{"config/sub/file", true},
		{"state/new", true},
		{"configuration", false},
		{"elsewhere/file", false},
		{"config/../elsewhere", false},
		{"config/link/file", false},
		{"", false},
	} {
		err := c.Permits(dir + "/" + tt.path)
		if (err == nil) != tt.want || err != nil && !strings.Contains(err.Error(), tt.path) {
			t.Errorf("%s: got %v; want permitted: %v", tt.path, err, tt.want)
		}
	}
	for _, open := range []*Confinement{nil, {}} {
		if err := open.Permits("/etc/shadow"); err != nil {
			t.Errorf("without Landlock: got %v; want everything permitted", err)
		}
	}
}

func TestLookup(t *testing.T) {
	for _, tt := range []struct {
		user, group string
		want        Identity
		fails       string
	}{
		{"nobody", "", Identity{"nobody", 65534, 65534}, ""},
		{"65534", "", Identity{"65534", 65534, 65534}, ""},
		{"nobody", "root", Identity{"nobody", 65534, 0}, ""},
		{"nobody", "4321", Identity{"nobody", 65534, 4321}, ""},
		{"54321", "54322", Identity{"54321", 54321, 54322}, ""},
		{"54321", "", Identity{}, "no group of its own"},
		{"no-such-user", "", Identity{}, "is unknown here"},
		{"nobody", "no-such-group", Identity{}, "is unknown here"},
		{"4294967295", "0", Identity{}, "is unknown here"},
		{"-1", "0", Identity{}, "is unknown here"},
	} {
		got, err := Lookup(tt.user, tt.group)
		switch {
		case tt.fails != "":
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s:%s: got %v; want an error: %s", tt.user, tt.group, err, tt.fails)
			}
		case err != nil || got != tt.want:
			t.Errorf("%s:%s: got %+v, %v; want %+v", tt.user, tt.group, got, err, tt.want)
		}
	}
}
