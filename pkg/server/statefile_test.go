package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
	"github.com/rs/zerolog"
)

// remembered is twoBackends' configuration with a state file.
func remembered(t *testing.T) (conf setup, path, a, b string) {
	a, b = newEcho(t, "127.0.0.1:0").Addr().String(), newEcho(t, "127.0.0.1:0").Addr().String()
	path = filepath.Join(t.TempDir(), "overrides.json")
	return setup{listen: "127.0.0.1:0", backends: []string{a, b}, top: fmt.Sprintf("admin = { state_file = %q }", path)}, path, a, b
}

// life runs a server for as long as live takes, and answers its log.
func life(t *testing.T, c *config.Config, live func(s *Server)) string {
	t.Helper()
	var log strings.Builder
	s, err := New(c, zerolog.New(zerolog.SyncWriter(&log)))
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	<-s.Started()
	live(s)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	s.Shutdown(gone)
	<-ran
	return log.String()
}

func TestOverridesSurviveARestart(t *testing.T) {
	conf, path, a, b := remembered(t)
	hung, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hung.Close() })
	added := backendAt(t, hung.Addr().String())
	life(t, conf.config(t), func(s *Server) {
		for _, err := range []error{
			s.SetBackend(t.Context(), "pool", a, Settings{Mode: ptr(balancer.Drain), Weight: ptr(9)}),
			s.AddBackend(t.Context(), "pool", added),
			s.SetBackend(t.Context(), "pool", added.Name, Settings{MaxConnections: ptr(5)}),
			s.RemoveBackend(t.Context(), "pool", b, false),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, o := range s.Overrides() {
			if !o.Persisted {
				t.Errorf("%+v is not persisted", o)
			}
		}
	})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("state file: %v, %v; want mode 0600", info.Mode(), err)
	}
	life(t, conf.config(t), func(s *Server) {
		if got := row(s, a); got.Mode != balancer.Drain || got.Weight != 9 {
			t.Errorf("a: mode %v, weight %d; want drain and 9", got.Mode, got.Weight)
		}
		if row(s, b) != nil {
			t.Error("b is back")
		}
		if got := row(s, added.Name); got == nil || got.MaxConnections != 5 || !got.NeedsProbe {
			t.Errorf("the backend that was added is %+v; want it with max_connections 5, and without sessions before a good probe", got)
		}
		if o := s.Overrides(); len(o) != 3 || !o[0].Persisted {
			t.Errorf("overrides %+v; want 3, persisted", o)
		}
		if err := s.ResetOverrides(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	life(t, conf.config(t), func(s *Server) {
		if o := s.Overrides(); len(o) != 0 || row(s, b) == nil {
			t.Errorf("after a reset and a restart: overrides %+v", o)
		}
	})
	if files, _ := filepath.Glob(path + "*"); len(files) != 1 {
		t.Errorf("files %q; want the state file alone", files)
	}
}

func TestWithoutAStateFileNothingIsPersisted(t *testing.T) {
	s, _, a, _ := twoBackends(t)
	if err := s.SetBackend(t.Context(), "pool", a, Settings{Mode: ptr(balancer.Drain)}); err != nil {
		t.Fatal(err)
	}
	if o := s.Overrides(); len(o) != 1 || o[0].Persisted {
		t.Errorf("overrides %+v; want one that is not persisted", o)
	}
}

// What is wrong with a state file is told, and the file is kept under another name.
func TestBrokenStateFile(t *testing.T) {
	whole := stateMark + `"version": 1, "saved": "2026-01-02T03:04:05Z", "overrides": [%s]}`
	for _, test := range []struct{ name, content, want string }{
		{"cut off", stateMark + `"version": 1, "overr`, "unexpected EOF"},
		{"of a later version", strings.Replace(whole, `"version": 1`, `"version": 2, "more": true`, 1), "version 2"},
		{"of no version", strings.Replace(whole, `"version": 1`, `"version": 0`, 1), "version 0"},
		{"an unknown key", fmt.Sprintf(whole, `{"pool":"pool","backend":"b","wieght":1}`), "wieght"},
		{"an unknown mode", fmt.Sprintf(whole, `{"pool":"pool","backend":"b","mode":"off"}`), `overrides[0]: backend \"b\" of pool \"pool\": unknown mode \"off\"`},
		{"a weight out of range", fmt.Sprintf(whole, `{"pool":"pool","backend":"b","weight":300}`), "0..256"},
		{"a negative limit", fmt.Sprintf(whole, `{"pool":"pool","backend":"b","max_connections":-1}`), "0..10000000"},
		{"a limit out of range", fmt.Sprintf(whole, `{"pool":"pool","backend":"b","max_connections":10000001}`), "0..10000000"},
		{"no name", fmt.Sprintf(whole, `{"pool":"pool"}`), "names of both"},
		{"twice the same", fmt.Sprintf(whole, `{"pool":"pool","backend":"b"},{"pool":"pool","backend":"b"}`), "twice"},
		{"no address", fmt.Sprintf(whole, `{"pool":"pool","backend":"b","added":{"address":"b","weight":1}}`), "port"},
	} {
		t.Run(test.name, func(t *testing.T) {
			conf, path, a, _ := remembered(t)
			content := strings.Replace(test.content, "%s", "", 1)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			log := life(t, conf.config(t), func(s *Server) {
				if err := ask(s); err != nil {
					t.Error(err)
				}
				if err := s.SetBackend(t.Context(), "pool", a, Settings{Mode: ptr(balancer.Drain)}); err != nil {
					t.Error(err)
				}
			})
			if !strings.Contains(log, "overrides not recalled") || !strings.Contains(log, test.want) || !strings.Contains(log, path) {
				t.Errorf("the log does not tell %q:\n%s", test.want, log)
			}
			kept, _ := filepath.Glob(path + ".unused-*")
			if len(kept) != 1 {
				t.Fatalf("kept aside: %q; want one file", kept)
			}
			if got, _ := os.ReadFile(kept[0]); string(got) != content {
				t.Errorf("kept %q; want %q", got, content)
			}
			life(t, conf.config(t), func(s *Server) {
				if row(s, a).Mode != balancer.Drain {
					t.Error("the new state file was not read")
				}
			})
		})
	}
}

// A file that is not ours is left alone, and so is one that cannot be read.
func TestForeignStateFile(t *testing.T) {
	for name, content := range map[string]string{
		"a configuration": "[[listener]]\n", "other JSON": `{"drain": true}`, "a large one": strings.Repeat("x", maxStateFile+1),
	} {
		t.Run(name, func(t *testing.T) {
			conf, path, _, _ := remembered(t)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := New(conf.config(t), zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "left alone") {
				t.Errorf("New: %v; want an error", err)
			}
			if got, _ := os.ReadFile(path); string(got) != content {
				t.Error("the file changed")
			}
		})
	}
	t.Run("a directory", func(t *testing.T) {
		conf, path, _, _ := remembered(t)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := New(conf.config(t), zerolog.Nop()); err == nil {
			t.Error("New: got no error")
		}
	})
}

// Backends that were added and removed may not go with a file that was changed while
// the process was down: then what can be kept is.
func TestStateOfAnotherConfiguration(t *testing.T) {
	conf, path, a, b := remembered(t)
	life(t, conf.config(t), func(s *Server) {
		err := errors.Join(
			s.SetBackend(t.Context(), "pool", b, Settings{Mode: ptr(balancer.Drain)}),
			s.RemoveBackend(t.Context(), "pool", a, false))
		if err != nil {
			t.Fatal(err)
		}
	})
	conf.backends = []string{a}
	log := life(t, conf.config(t), func(s *Server) {
		if err := ask(s); err != nil {
			t.Error(err)
		}
		if o := s.Overrides(); len(o) != 1 || o[0].Backend != b || !o[0].Idle {
			t.Errorf("overrides %+v; want the drain of b", o)
		}
	})
	if !strings.Contains(log, "do not go with the configuration") {
		t.Errorf("the log does not tell:\n%s", log)
	}
	if kept, _ := filepath.Glob(path + ".unused-*"); len(kept) != 1 {
		t.Errorf("kept aside: %q; want one file", kept)
	}
}

// A change is made even where it cannot be saved, and shows that.
func TestStateThatCannotBeSaved(t *testing.T) {
	conf, path, a, _ := remembered(t)
	life(t, conf.config(t), func(s *Server) {
		blocked := path + ".new" // a directory with something in it, where the new file would be
		if err := os.MkdirAll(filepath.Join(blocked, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		drain := func(mode balancer.Mode) {
			if err := s.SetBackend(t.Context(), "pool", a, Settings{Mode: &mode}); err != nil {
				t.Fatal(err)
			}
		}
		drain(balancer.Drain)
		if row(s, a).Mode != balancer.Drain || s.Overrides()[0].Persisted {
			t.Errorf("mode %v, overrides %+v; want a drain that is not persisted", row(s, a).Mode, s.Overrides())
		}
		if err := os.RemoveAll(blocked); err != nil {
			t.Fatal(err)
		}
		drain(balancer.Maintenance)
		if !s.Overrides()[0].Persisted {
			t.Error("not persisted after the disk is well again")
		}
	})
}

// What could not be saved is saved when it can be, without another change, and the log
// has one line for the trouble and one for its end.
func TestStateIsSavedAgain(t *testing.T) {
	conf, path, a, b := remembered(t)
	log := life(t, conf.config(t), func(s *Server) {
		s.saving.Lock()
		s.saveAgainAfter = time.Millisecond
		s.saving.Unlock()
		blocked := path + ".new" // a directory with something in it, where the new file would be
		if err := os.MkdirAll(filepath.Join(blocked, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{a, b} {
			if err := s.SetBackend(t.Context(), "pool", name, Settings{Weight: ptr(9)}); err != nil {
				t.Fatal(err)
			}
		}
		tried := func() bool { return len(s.unsaved) == 0 } // the token of the last failure is taken
		eventually(t, "it is tried again", tried)
		if o := s.Overrides(); len(o) != 2 || o[0].Persisted {
			t.Errorf("overrides %+v; want two that are not persisted", o)
		}
		if err := os.Rename(blocked, path+".away"); err != nil { // at once, between two attempts
			t.Fatal(err)
		}
		eventually(t, "it is saved", func() bool { return s.Overrides()[0].Persisted && s.Overrides()[1].Persisted })
	})
	for _, line := range []string{"overrides not saved", "overrides saved again"} {
		if n := strings.Count(log, line); n != 1 {
			t.Errorf("%q is told %d times; want once:\n%s", line, n, log)
		}
	}
}

// A server that ends tries once more.
func TestStateIsSavedAtTheEnd(t *testing.T) {
	conf, path, a, _ := remembered(t)
	life(t, conf.config(t), func(s *Server) {
		blocked := path + ".new"
		if err := os.MkdirAll(filepath.Join(blocked, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := s.SetBackend(t.Context(), "pool", a, Settings{Weight: ptr(9)}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is to be tried again", func() bool { return len(s.unsaved) == 0 })
		if err := os.Rename(blocked, path+".away"); err != nil { // at once, between two attempts
			t.Fatal(err)
		}
	})
	life(t, conf.config(t), func(s *Server) {
		if got := row(s, a).Weight; got != 9 {
			t.Errorf("after a restart: weight %d; want 9", got)
		}
	})
}

func FuzzStateFile(f *testing.F) {
	f.Add([]byte(stateMark + `"version": 1, "overrides": [{"pool":"p","backend":"b","mode":"drain","added":{"address":"10.0.0.1:1","weight":1}}]}`))
	f.Add([]byte(stateMark))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := parseState(data)
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "state")
		if err := writeState(path, o); err != nil {
			t.Fatal(err)
		}
		written, err := readState(path)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseState(written)
		if err != nil || len(again.rows) != len(o.rows) || len(again.added) != len(o.added) {
			t.Errorf("%s became %+v, %v", data, again, err)
		}
	})
}
