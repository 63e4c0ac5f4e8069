//go:build linux

package main_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A file that the configuration names lies on a disk that takes its time: there is a lease on
// it (fcntl(2), F_SETLEASE). A person drains a backend meanwhile, and reloads a file that does
// without: both work at once, and are still so when the reload has come to its end.
func TestChangesDuringAReloadThatReads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	list, file := filepath.Join(dir, "deny.txt"), filepath.Join(dir, "limeload.toml")
	backend := startEcho(t, "b", "127.0.0.1:0")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := fmt.Sprintf(prelude, "splice", "unix:"+filepath.Join(dir, "admin.sock")) + fmt.Sprintf(`
		[[pool]]
		name = "pool"
		backend = [{ name = "a", address = %q }, { name = "b", address = "127.0.0.1:9" }]
		[[listener]]
		name = "front"
		listen = ["127.0.0.1:0"]
		pool = "pool"
	`, backend.address)
	write(file, config)
	l := serveFile(t, file)
	o := newOperator(t, filepath.Join(dir, "admin.sock"))

	write(list, "192.0.2.0/24\n")
	slow, err := os.OpenFile(list, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := unix.FcntlInt(slow.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("no lease on a file here: %v", err)
	}
	write(file, config+fmt.Sprintf("access = { deny_files = [%q] }\n", list))
	l.signal(syscall.SIGHUP)
	eventually(t, "the list is being read", func() bool {
		lease, err := unix.FcntlInt(slow.Fd(), unix.F_GETLEASE, 0)
		return err == nil && lease != unix.F_WRLCK
	})
	if status := o.do("PATCH", "/pools/pool/backends/b", `{"mode": "drain"}`); status != http.StatusOK {
		t.Errorf("a drain: got %d; want 200", status)
	}
	if len(l.logged(fields{"msg": "reloaded"})) > 0 {
		t.Error("the reload did not wait for the file")
	}
	write(file, strings.Replace(config, `name = "b",`, `name = "b", weight = 7,`, 1))
	if status := o.do("POST", "/reload", ""); status != http.StatusOK {
		t.Errorf("another reload: got %d; want 200", status)
	}
	l.await(fields{"msg": "reloaded", "source": "api", "changes": 1.0})
	if _, err := unix.FcntlInt(slow.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
	l.await(fields{"msg": "reloaded", "source": "signal", "changes": 0.0})
	if b := o.get("/pools/pool/backends/b"); b["mode"] != "drain" || b["weight"] != 7.0 {
		t.Errorf("after the reload: got mode %v, weight %v; want drain, and 7", b["mode"], b["weight"])
	}
	if refused := o.get("/explain?listener=front&client=192.0.2.9")["refused_by"]; refused != "" {
		t.Errorf("a client of the list that is not in the file any more: got %q; want it let in", refused)
	}
}
