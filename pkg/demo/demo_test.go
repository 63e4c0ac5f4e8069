package demo

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

// A person stops the second backend, sees it leave, starts it, and sees it return.
func TestStopAndStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	keyboard, typed := io.Pipe()
	screen, printed := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, keyboard, printed)
		printed.Close()
	}()
	lines := bufio.NewScanner(screen)
	until := func(what string, seen func(line string) bool) {
		t.Helper()
		for lines.Scan() {
			if seen(lines.Text()) {
				return
			}
		}
		t.Fatalf("the demo ended before %s", what)
	}
	says := func(text string) {
		t.Helper()
		until(text, func(line string) bool { return strings.Contains(line, text) })
	}
	answered := func(name string) func(string) bool {
		return func(line string) bool { return strings.Contains(line, name) && strings.Contains(line, "#") }
	}
	all := func(line string) bool { return strings.Count(line, " #") == 3 }

	until("all three answered", all)
	io.WriteString(typed, "2\n")
	says("you stopped " + names[1])
	says(names[1] + " is down")
	until("the others answered", answered(names[0]))
	io.WriteString(typed, "nobody\n")
	says("is no backend")
	io.WriteString(typed, names[1]+"\n")
	says("you started " + names[1])
	says(names[1] + " is up")
	until("all three answered again", all)
	cancel()
	go func() {
		for lines.Scan() {
		}
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
