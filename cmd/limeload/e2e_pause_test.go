//go:build linux

package main_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process that was stopped for longer than its timeouts (SIGSTOP, a virtual machine
// that moves to another host) ends no session whose bytes came meanwhile, and no dial
// that succeeded. Who was silent is still timed out.
func TestPauseIsNoSilence(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, engine string) {
		const idle = 4 * time.Second
		talkative := 300 // more than the events that a loop takes at once
		if raceDetector {
			talkative = 30
		}
		a := startEcho(t, "a", "127.0.0.1:0")
		l := serve(t, engine, strings.Replace(balanced("first", unprobed, a, ""),
			`name = "front"`, fmt.Sprintf("name = \"front\"\ntimeouts = { idle = %q }", idle), 1)+`
			[pool.connect]
			timeout = "1s"
		`)
		var all []*visitor
		for range talkative {
			all = append(all, visit(t, l.address("front")))
		}
		for _, v := range all { // however long the others took to come
			v.chat(t)
		}
		silent := visit(t, l.address("front"))
		l.signal(syscall.SIGSTOP)
		stopped := time.Now()
		l.awaitState("T")
		for _, v := range all {
			send(t, v, "are you there?")
		}
		late := dial(t, l.address("front")) // the kernel answers
		for time.Since(stopped) < idle+500*time.Millisecond {
			time.Sleep(10 * time.Millisecond) // the pause itself
		}
		l.signal(syscall.SIGCONT)

		for i, v := range all {
			got := make([]byte, len("are you there?"))
			if _, err := v.from.Read(got); err != nil {
				t.Fatalf("of %d sessions that sent something, number %d ended: %v", talkative, i+1, err)
			}
		}
		if v := meet(late); v.name != "a" {
			t.Error("a client that came meanwhile was not served")
		}
		if _, err := silent.from.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a session that sent nothing: got %v; want its timeout", err)
		}
		wantFields(t, l.session(silent.LocalAddr()), fields{"reason": "idle-timeout"})
	})
}

// awaitState waits until the process is in a state (proc_pid_stat(5)).
func (l *limeload) awaitState(want string) {
	l.t.Helper()
	eventually(l.t, "the process is in state "+want, func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.cmd.Process.Pid))
		_, rest, ok := strings.Cut(string(stat), ") ")
		return err == nil && ok && strings.HasPrefix(rest, want)
	})
}
