package top

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/limeload/limeload/pkg/client"
)

// Run shows the view on a terminal until the person quits or ctx ends, and gives the
// terminal back as it was. It polls with interval in between.
func Run(ctx context.Context, api *client.Client, interval time.Duration, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the poll that is under way
	return hold(ctx, newModel(ctx, api, interval), in, out)
}

// hold has bubbletea hold the terminal for m until m or ctx ends. The signals are ctx's. A
// panic in m is an error, after the terminal is as it was.
func hold(ctx context.Context, m tea.Model, in io.Reader, out io.Writer) error {
	p := tea.NewProgram(m, tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler())
	// In order, as a key would: with WithContext it closes the input under its own reader.
	defer context.AfterFunc(ctx, p.Quit)()
	if _, err := p.Run(); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	return nil
}

// Print writes one frame as text, for what is not a terminal: every backend, and the first
// sessions. Rates are those of one interval, for which it waits.
func Print(ctx context.Context, api *client.Client, interval time.Duration, out io.Writer) error {
	m := newModel(ctx, api, interval)
	for range 2 {
		f, err := poll(ctx, api, wanted{sort: orders[0], limit: printedSessions}, m.frame)
		if err != nil {
			return err
		}
		first := m.frame == nil
		m.take(polled{frame: f})
		if !first {
			break
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.width, m.height = printedWidth, fixedLines+len(m.frame.rows)+len(m.frame.sessions.Sessions)
	m.focus = nothing
	m.backend = client.Place{}
	lines := m.screen()
	var b strings.Builder
	for _, l := range lines[:len(lines)-1] { // the last one are keys
		b.WriteString(strings.TrimRight(l.text(), " ") + "\n")
	}
	_, err := io.WriteString(out, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

// What Print writes: wide enough for long names.
const (
	printedWidth    = 120
	printedSessions = 20
)
