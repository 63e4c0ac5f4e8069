// Command limeload is a TCP load balancer for databases and other raw TCP
// services.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Exit statuses, the same for every command.
const (
	exitOK      = 0
	exitFailed  = 1 // a target is down, or serve failed
	exitUsage   = 2 // flags or configuration
	exitUnknown = 3 // could not tell
)

func main() { os.Exit(run(os.Args[1:])) }

// run is main without the exit.
func run(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.Execute()
	out := root.OutOrStdout().(*results)
	if out.err != nil && (err == nil || errors.Is(err, out.err)) {
		err = failed(nil) // what is wrong is told below
	}
	var e *exitError
	switch {
	case err == nil:
		return exitOK
	case !errors.As(err, &e):
		e = &exitError{exitUsage, err} // what cobra itself finds is about flags and arguments
	}
	tell(e.err)
	tell(out.err)
	return e.status
}

// tell writes err to standard error, a line each where it is several.
func tell(err error) {
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(os.Stderr, "limeload: "+strings.TrimRight(line, "\n"))
	}
}

// results is standard output, and remembers the first error of a write: a program that
// reads half of a result has to hear that it is half, and not every command looks.
type results struct {
	*os.File
	err error
}

func (r *results) Write(b []byte) (int, error) {
	n, err := r.File.Write(b)
	if err == nil {
		return n, nil
	}
	if r.err == nil {
		r.err = fmt.Errorf("write standard output: %w", errors.Unwrap(err))
	}
	return n, r.err
}

// exitError ends the program with status; err, if there is one, is what the person
// is told.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func failed(err error) error { return &exitError{exitFailed, err} }
func usage(err error) error  { return &exitError{exitUsage, err} }
