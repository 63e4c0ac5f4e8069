// Command limebench makes TCP load, answers it, and compares TCP proxies under it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit statuses, the same for every command.
const (
	exitOK     = 0
	exitFailed = 1 // the load met errors, or a comparison failed
	exitUsage  = 2 // flags and arguments
)

func main() { os.Exit(run(os.Args[1:])) }

// run is main without the exit. The first signal ends what is under way in order;
// after it the next one kills.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(os.Stderr, "limebench: "+strings.TrimRight(line, "\n"))
	}
	if f := (*failure)(nil); errors.As(err, &f) {
		return exitFailed
	}
	return exitUsage // what cobra itself finds is about flags and arguments
}

// errInterrupted is what a person made of a command by ending it early.
var errInterrupted = errors.New("interrupted before all was measured")

// unlessInterrupted is err, in words for a person where a signal is the cause.
func unlessInterrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	return err
}

// failure is an error that is not about usage.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return &failure{err}
}
