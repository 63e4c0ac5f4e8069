//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/limeload/limeload/pkg/testserver"
)

// check in front of a real PostgreSQL server tells its role, timeline and version, and
// what it says of a wrong password.
func TestCheckPostgres(t *testing.T) {
	pg := testserver.StartPostgres(t)
	program, err := exec.LookPath("limeload")
	if err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(password, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := regexp.QuoteMeta(pg.Address())
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"the role", []string{"--user", "postgres", "--role", "primary"},
			at + `  up    connect \S+, auth \S+, query \S+; primary, timeline 1, version \d+.*\n`},
		{"the other role", []string{"--user", "postgres", "--role", "replica"},
			at + `  down  is a primary \(want replica\) \(connect .*, query .*\); primary, timeline 1, version .*\n`},
		{"a query that fails", []string{"--user", "postgres", "--password-file", password, "--query", "select 1/0"},
			at + `  down  .*division by zero.*\n`},
		{"no login", nil, at + `  up    connect \S+, auth \S+\n`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"check", "--type", "postgres", "--timeout", "20s"}, append(tt.args, pg.Address())...)
			out, _ := exec.Command(program, args...).Output()
			if !regexp.MustCompile("^" + tt.want + "$").Match(out) {
				t.Errorf("got %q; want %q", out, tt.want)
			}
		})
	}
}
