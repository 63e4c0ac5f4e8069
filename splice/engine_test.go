package splice_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/limeload/limeload/splice"
	"github.com/limeload/limeload/splice/splicetest"
)

// TestMain fails a run that leaves goroutines or descriptors behind.
func TestMain(m *testing.M) {
	leaked := splicetest.WatchDescriptors()
	status := m.Run()
	if status == 0 {
		status = report(goleak.Find(), leaked())
	}
	os.Exit(status)
}

// report answers the exit status for what was found to be wrong.
func report(errs ...error) (status int) {
	for _, err := range errs {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	return status
}

// TestCopy runs the conformance suite over the goroutine engine.
func TestCopy(t *testing.T) { splicetest.Run(t, newEngine(splice.TypeCopy)) }

func TestNewRefusesUnknownType(t *testing.T) {
	if e, err := splice.New(splice.Options{Type: "magic"}); err == nil || !strings.Contains(err.Error(), "magic") {
		t.Errorf("New got %v, %v; want an error that names the type", e, err)
	}
}

func TestLocalError(t *testing.T) {
	for _, test := range []struct {
		call  string
		errno syscall.Errno
		want  bool
	}{
		{"bind", syscall.EADDRNOTAVAIL, true},
		{"connect", syscall.EADDRNOTAVAIL, true}, // no free port
		{"connect", syscall.EPERM, true},         // a filter of this machine
		{"socket", syscall.EMFILE, true},
		{"epoll_ctl", syscall.ENOSPC, true}, // /proc/sys/fs/epoll/max_user_watches
		{"connect", syscall.ECONNREFUSED, false},
		{"connect", syscall.ETIMEDOUT, false},
		{"connect", syscall.EHOSTUNREACH, false},
	} {
		if got := splice.LocalError(os.NewSyscallError(test.call, test.errno)); got != test.want {
			t.Errorf("%s: %v: got %v; want %v", test.call, test.errno, got, test.want)
		}
	}
}

// newEngine makes engines of a type.
func newEngine(kind string) func(*testing.T, splice.Options) splice.Engine {
	return func(t *testing.T, o splice.Options) splice.Engine {
		t.Helper()
		o.Type = kind
		e, err := splice.New(o)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
}
