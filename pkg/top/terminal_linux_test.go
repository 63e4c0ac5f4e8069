package top

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// broken is a model with a mistake in it.
type broken struct{}

func (broken) Init() tea.Cmd { return func() tea.Msg { return due{} } }
func (broken) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	return v
}
func (b broken) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if _, ok := msg.(due); ok {
		panic("a mistake")
	}
	return b, nil
}

// crashing, in the environment, has the test binary crash in the terminal it is in.
const crashing = "TEST_TOP_CRASH"

func TestMain(m *testing.M) {
	if os.Getenv(crashing) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := hold(context.Background(), broken{}, os.Stdin, os.Stdout); !errors.Is(err, tea.ErrProgramPanic) {
		os.Exit(1)
	}
}

// After a crash the terminal is as it was.
func TestCrashRestoresTheTerminal(t *testing.T) {
	end, own, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	var screen bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(&screen, end)
	}()
	modes := func() unix.Termios {
		m, err := unix.IoctlGetTermios(int(own.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return *m
	}
	before := modes()
	c := exec.CommandContext(t.Context(), os.Args[0])
	// After a panic the library closes its input under its own reader: a race, but of a
	// process that ends.
	c.Env = append(os.Environ(), crashing+"=1", "TERM=xterm", "GORACE=exitcode=0 atexit_sleep_ms=0")
	c.Stdin, c.Stdout, c.Stderr = own, own, own
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ended := c.Run()
	if after := modes(); after != before {
		t.Errorf("terminal: got %+v; want it as before, %+v", after, before)
	}
	own.Close()
	<-read // ends when the last one has closed the terminal
	end.Close()
	if ended != nil {
		t.Errorf("got %v; want the panic as an error of hold:\n%s", ended, screen.String())
	}
	if !strings.Contains(screen.String(), "a mistake") {
		t.Errorf("got %q; want what the panic says", screen.String())
	}
}
