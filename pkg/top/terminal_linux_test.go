package top

import (
	"errors"
	"io"
	"testing"

	tea "charm.land/bubbletea/v2"
	"github.com/creack/pty"
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

// After a crash the terminal is as it was.
func TestCrashRestoresTheTerminal(t *testing.T) {
	end, own, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(io.Discard, end)
	}()
	defer func() {
		own.Close()
		end.Close()
		<-read
	}()
	modes := func() unix.Termios {
		m, err := unix.IoctlGetTermios(int(own.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return *m
	}
	before := modes()
	if err := hold(t.Context(), broken{}, own, own); !errors.Is(err, tea.ErrProgramPanic) {
		t.Errorf("got %v; want the panic as an error", err)
	}
	if after := modes(); after != before {
		t.Errorf("terminal: got %+v; want it as before, %+v", after, before)
	}
}
