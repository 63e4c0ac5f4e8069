package server

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"testing"
)

// A listener's address becomes narrower and wider again, and its sessions go on.
func TestApplyAddressThatOverlaps(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		a := newEcho(t, "127.0.0.1:0").Addr().String()
		free := newEcho(t, "127.0.0.1:0")
		free.Close()
		port := strconv.Itoa(portOf(free))
		conf := setup{listen: ":" + port, backends: []string{a}, top: fmt.Sprintf("engine = { type = %q }", engine)}
		s := start(t, conf.config(t))
		live := dial(t, s)
		for _, next := range []struct{ listen, want string }{
			{"127.0.0.1:" + port, "127.0.0.1:" + port},
			{"0.0.0.0:" + port, "0.0.0.0:" + port},
			{"localhost:" + port, ""}, // whether ::1 is another one is the system's
			{"127.0.0.1:" + port, "127.0.0.1:" + port},
			{":" + port, ""},
		} {
			conf.listen = next.listen
			apply(t, s, conf.config(t))
			if got := s.Addr("front").String(); got != next.want && next.want != "" {
				t.Errorf("after %s it listens on %s; want %s", next.listen, got, next.want)
			}
			if err := ask(s); err != nil {
				t.Errorf("after %s: %v", next.listen, err)
			}
		}
		if err := exchange(live); err != nil {
			t.Errorf("a session from before: %v", err)
		}

		// An address that is not this machine's is no reason to let go of the one that is.
		conf.listen = "192.0.2.201:" + port
		if _, err := s.Apply(t.Context(), conf.config(t)); !errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, ErrIncomplete) {
			t.Errorf("Apply: %v; want cannot assign requested address, and nothing changed", err)
		}
		if err := ask(s); err != nil {
			t.Errorf("after an address of another machine: %v", err)
		}
	})
}
