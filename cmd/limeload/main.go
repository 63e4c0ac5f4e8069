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
	if err == nil {
		return exitOK
	}
	var e *exitError
	if !errors.As(err, &e) {
		e = &exitError{exitUsage, err} // what cobra itself finds is about flags and arguments
	}
	if e.err != nil {
		for line := range strings.Lines(e.err.Error()) {
			fmt.Fprintln(os.Stderr, "limeload: "+strings.TrimRight(line, "\n"))
		}
	}
	return e.status
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
