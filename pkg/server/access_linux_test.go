package server

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A list that a slow disk keeps from being read keeps nobody from changing something
// else, and is in force once it was read. The file is slow to open since there is a lease
// on it (fcntl(2), F_SETLEASE).
func TestSlowListHoldsNobodyUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deny.txt")
	if err := os.WriteFile(file, []byte("192.0.2.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := limited(t, `access = { deny_files = ["`+file+`"] }`)
	next := file + ".new"
	if err := os.WriteFile(next, []byte("198.51.100.0/24\n203.0.113.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(next, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("no lease on a file here: %v", err)
	}
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	breaking := func() bool { // somebody waits to open it
		lease, err := unix.FcntlInt(f.Fd(), unix.F_GETLEASE, 0)
		return err == nil && lease != unix.F_WRLCK
	}
	eventually(t, "the list is being read", breaking)
	if n := len(s.Overrides()); n != 0 {
		t.Errorf("got %d overrides; want none", n)
	}
	weight := 7
	if err := s.SetBackend(t.Context(), "pool", s.Snapshot().Pools[0].Backends[0].Name, Settings{Weight: &weight}); err != nil {
		t.Errorf("a weight: got %v; want it changed", err)
	}
	denies := func(client string) bool {
		name, _, _ := s.Refusal("front", netip.MustParseAddr(client))
		return name == "access-denied"
	}
	if !denies("192.0.2.9") || denies("203.0.113.9") {
		t.Error("the list changed before it was read")
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new list is in force", func() bool { return denies("203.0.113.9") && !denies("192.0.2.9") })
}
