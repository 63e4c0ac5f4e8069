package healthcheck

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"
)

// Reason is the machine's word for why a probe did not come out up, in kebab
// case. Result.Text is the same for people.
type Reason string

const (
	ReasonRefused     Reason = "refused"     // nobody listens there
	ReasonTimeout     Reason = "timeout"     // no answer before the deadline
	ReasonUnreachable Reason = "unreachable" // a router, or our own routing table, says that no way leads there
	ReasonReset       Reason = "reset"       // the connection was cut while it was made
	ReasonDNS         Reason = "dns"         // the host name has never been resolved

	ReasonTLS      Reason = "tls"      // no TLS, or a certificate that is not trusted
	ReasonAuth     Reason = "auth"     // the server does not let the probe in
	ReasonProtocol Reason = "protocol" // what came is not what such a server says
	ReasonAnswer   Reason = "answer"   // the server itself says that it cannot serve
	ReasonRole     Reason = "role"     // a primary or a replica, and the other is wanted
	ReasonLag      Reason = "lag"      // a replica that is too far behind, or does not follow
	ReasonAgent    Reason = "agent"    // an agent on the server says so
	ReasonExec     Reason = "exec"     // a command says so

	ReasonNotPermitted Reason = "not-permitted" // unknown: the system forbids the probe
	ReasonLocal        Reason = "local"         // unknown: a resource of this machine is missing
	ReasonCanceled     Reason = "canceled"      // unknown: the caller lost interest
)

// Reasons returns all of them.
func Reasons() []Reason {
	return []Reason{
		ReasonRefused, ReasonTimeout, ReasonUnreachable, ReasonReset, ReasonDNS,
		ReasonTLS, ReasonAuth, ReasonProtocol, ReasonAnswer, ReasonRole, ReasonLag, ReasonAgent, ReasonExec,
		ReasonNotPermitted, ReasonLocal, ReasonCanceled,
	}
}

// text is what a person reads; empty where the error itself says more.
func (r Reason) text() string {
	switch r {
	case ReasonRefused:
		return "connection refused"
	case ReasonTimeout:
		return "timeout"
	case ReasonUnreachable:
		return "unreachable"
	case ReasonReset:
		return "connection reset"
	case ReasonDNS:
		return "dns"
	case ReasonCanceled:
		return "canceled"
	}
	return ""
}

var (
	// errNoAddress is the Err of a check that has no address to probe.
	errNoAddress = errors.New("resolve host: no address")

	// errSelfConnect is a connection whose two ends are the same socket. TCP
	// allows that (simultaneous open, RFC 9293 section 3.5): it happens when the
	// kernel picks as source port the very port that is probed on this machine,
	// which it can only do because nobody listens on it.
	errSelfConnect = errors.New("connected to itself")

	// errNotPermitted is a socket that the system refuses to this process.
	errNotPermitted = errors.New("not permitted")
)

// causes are the errors by which the network or the backend answers. The list
// is short and known (connect(2), ip(7), icmp_err_convert in the kernel);
// every error outside it (EMFILE, ENOBUFS, EADDRNOTAVAIL, EACCES, ...) comes
// from this machine and says nothing about the backend.
var causes = []struct {
	err    error
	reason Reason
}{
	{syscall.ECONNREFUSED, ReasonRefused},
	{errSelfConnect, ReasonRefused},
	{syscall.ENOENT, ReasonRefused},     // unix: no such socket
	{syscall.EPROTOTYPE, ReasonRefused}, // unix: a socket, but not of streams
	{syscall.ETIMEDOUT, ReasonTimeout},
	{syscall.ECONNRESET, ReasonReset},
	{syscall.ECONNABORTED, ReasonReset},
	{syscall.EPIPE, ReasonReset},
	{syscall.EHOSTUNREACH, ReasonUnreachable},
	{syscall.ENETUNREACH, ReasonUnreachable},
	{syscall.EHOSTDOWN, ReasonUnreachable},
	{syscall.ENETDOWN, ReasonUnreachable},
	{syscall.EAFNOSUPPORT, ReasonUnreachable}, // IPv6 is off here: no traffic would get there either
}

// judge turns the error that ended a probe into its verdict and reason.
func judge(ctx context.Context, err error) (Verdict, Reason) {
	if err == nil {
		return Up, ""
	}
	var f *fault
	if errors.As(err, &f) {
		return f.verdict, f.reason
	}
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return Down, c.reason
		}
	}
	switch {
	case isAny(err, errNotPermitted, syscall.EACCES, syscall.EPERM):
		return Unknown, ReasonNotPermitted
	case !isAny(err, os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled):
		return Unknown, ReasonLocal
	// An interrupted socket says "deadline" in both cases.
	case errors.Is(ctx.Err(), context.Canceled):
		return Unknown, ReasonCanceled
	}
	return Down, ReasonTimeout
}

// isAny says whether err is one of targets.
func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// cause is err without the operation and the address or file that packages net
// and os add to it; ours are in the message already.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
