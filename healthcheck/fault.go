package healthcheck

import "fmt"

// fault is an error that knows its verdict and Reason: a server answered, and this
// is what is wrong with the answer; with Unknown it is this machine's fault.
type fault struct {
	verdict Verdict
	reason  Reason
	err     error
}

// downf is a fault that makes a server down, with a text as fmt.Errorf makes it.
func downf(r Reason, format string, args ...any) error {
	return &fault{Down, r, fmt.Errorf(format, args...)}
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// localf is a fault of this machine, which says nothing about a server.
func localf(format string, args ...any) error {
	return &fault{Unknown, ReasonLocal, fmt.Errorf(format, args...)}
}
