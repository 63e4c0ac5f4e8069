package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"limebench": main})
}

// TestScripts tells what a person sees of the command.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"await": await, "awaitfile": awaitFile},
		Setup: func(e *testscript.Env) error {
			port, err := freePort(proxyHost)
			e.Setenv("PORT", fmt.Sprint(port))
			return err
		},
	})
}

// golden compares got with a file, or writes it.
func golden(t *testing.T, got string, path ...string) {
	t.Helper()
	file := filepath.Join(append([]string{"testdata"}, path...)...)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", file, diff)
	}
}

// await waits until somebody listens at an address: await HOST:PORT.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for range 1000 {
		if c, err := net.Dial("tcp", args[0]); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("nobody listens at %s", args[0])
}

// awaitFile waits until there is a file, or with ! checks that there is none:
// awaitfile PATTERN.
func awaitFile(ts *testscript.TestScript, not bool, args []string) {
	there := func() bool {
		found, _ := filepath.Glob(ts.MkAbs(args[0]))
		return len(found) > 0
	}
	for tries := 0; !not && !there() && tries < 1000; tries++ {
		time.Sleep(10 * time.Millisecond)
	}
	if there() == not {
		ts.Fatalf("%s: there %v; want %v", args[0], not, !not)
	}
}
