package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// maxProblem bounds what is read of an error, in bytes: a broken file may have
// thousands of problems.
const maxProblem = 4 << 20

// Error is what the server answers instead of what was asked for: problem details
// (RFC 9457).
type Error struct {
	Status   int       // of HTTP
	Detail   string    // what is wrong, in a sentence
	Problems []Problem // one by one, if there are several
}

// Problem is one of the things that are wrong.
type Problem struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty"` // in the request or the configuration
}

// Error is the detail, then each problem on a line of its own.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Detail)
	for _, p := range e.Problems {
		b.WriteByte('\n')
		// A location in a request helps no one who did not write the request; one in a
		// file is part of the message.
		if field, ok := strings.CutPrefix(p.Location, "body."); ok {
			b.WriteString(field + ": ")
		}
		b.WriteString(p.Message)
	}
	return b.String()
}

// IsUnknown reports whether err says that what was named does not exist.
func IsUnknown(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// refused reads the error that an answer is.
func (c *Client) refused(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	var details struct {
		Detail string    `json:"detail"`
		Errors []Problem `json:"errors"`
	}
	if json.Unmarshal(body, &details) != nil || details.Detail == "" {
		details.Detail = fmt.Sprintf("%s answers %s: is that limeload's admin API?", c.at.shown, res.Status)
	}
	if res.StatusCode == http.StatusUnauthorized {
		details.Detail = fmt.Sprintf("%s wants a token: give it with --token-file", c.at.shown)
		if c.token != "" {
			details.Detail = fmt.Sprintf("%s does not take this token: is the token file that of [admin] token_file?", c.at.shown)
		}
	}
	return &Error{res.StatusCode, details.Detail, details.Errors}
}

// Unreachable says that nobody answers.
type Unreachable struct {
	Address string // that was tried
	Advice  string // what to look at
	Err     error  // what the system says
}

func (e *Unreachable) Error() string {
	text := fmt.Sprintf("connect %s: %v", e.Address, e.Err)
	if e.Advice != "" {
		text += "; " + e.Advice
	}
	return text
}

func (e *Unreachable) Unwrap() error { return e.Err }

// unreachable words an error of the connection. When the caller's context has ended,
// that is the error.
func (c *Client) unreachable(ctx context.Context, err error) error {
	u := &Unreachable{Address: c.at.shown, Err: cause(err)}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		u.Err, u.Advice = errors.New("no answer in time"), "is the machine overloaded, or a firewall in between?"
	case errors.Is(err, fs.ErrNotExist):
		u.Err, u.Advice = errors.New("there is no such socket"), "is limeload running, and with that [admin] listen? --admin says where else"
	case errors.Is(err, syscall.ECONNREFUSED):
		u.Err, u.Advice = syscall.ECONNREFUSED, "is limeload running, and with that [admin] listen? --admin says where else"
	case errors.Is(err, fs.ErrPermission):
		u.Err, u.Advice = errors.New("permission denied"), "the socket is for the user that limeload runs as: try as that one, or as root"
	}
	return u
}

// cause is the innermost error that still says what happened.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	if inner := errors.Unwrap(err); inner != nil {
		return inner // of the url.Error, which only repeats the address
	}
	return err
}
