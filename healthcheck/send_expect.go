package healthcheck

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// SendExpect is the Prober that holds a conversation with the server: at each Step it
// says something, waits for something, or both. It is up at the end of the last one. Its
// phases are "connect", "tls" (if TLS is set), and "step-1", "step-2" and so on.
//
// What the server says is bytes: NUL is one of them, and it does not matter in which
// pieces they come. What comes before that which a step waits for is skipped; what comes
// after it is for the next step. A server that speaks first is a first Step that only
// expects. At most 64 KiB are read.
type SendExpect struct {
	Steps []Step

	// TLS encrypts from the first byte on; nil is plain text.
	TLS *tls.Config

	// User and Password stand for %{user} and %{password} in what is sent.
	User     string
	Password Secret
}

// Step is one step of a conversation: first Send, then wait for what is expected.
type Step struct {
	Send []byte // nothing if empty

	// Expect has to come, or ExpectRegexp to match in what came; without either,
	// nothing is waited for. ^ is where the step before ended.
	Expect       []byte
	ExpectRegexp *regexp.Regexp

	// Timeout bounds the step; 0 is what is left of the probe's time.
	Timeout time.Duration
}

// Probe talks to a.
func (p *SendExpect) Probe(ctx context.Context, a Address) Result {
	x := newExchange(ctx, a)
	defer x.close()
	return x.result(p.converse(x))
}

func (p *SendExpect) converse(x *exchange) error {
	password, err := p.Password.read()
	if err != nil {
		return err
	}
	if err := x.dial(); err != nil {
		return err
	}
	if p.TLS != nil {
		if err := x.encrypt(p.TLS); err != nil {
			return err
		}
	}
	talk := conversation{
		x: x, heard: heard{secret: password},
		fill: strings.NewReplacer("%{user}", p.User, "%{password}", password),
	}
	for i := range p.Steps {
		x.begin(fmt.Sprintf("step-%d", i+1))
		if err := talk.step(&p.Steps[i]); err != nil {
			return err
		}
	}
	x.leaveTLS()
	return nil
}

// conversation is where a SendExpect is.
type conversation struct {
	x     *exchange
	fill  *strings.Replacer
	heard heard
}

func (c *conversation) step(s *Step) error {
	c.x.link.expire(c.x.ctx, s.Timeout)
	if len(s.Send) > 0 {
		if _, err := io.WriteString(c.x.conn, c.fill.Replace(string(s.Send))); err != nil {
			return err
		}
	}
	for !c.heard.take(s) {
		if err := c.listen(s); err != nil {
			return err
		}
	}
	return nil
}

// listen reads what there is.
func (c *conversation) listen(s *Step) error {
	var piece [4096]byte
	n, err := c.x.conn.Read(piece[:])
	c.heard.add(piece[:n])
	switch {
	case n > 0 || err == nil: // an error comes again
		return nil
	case errors.Is(err, io.EOF):
		return downf(ReasonProtocol, "connection closed before %s came%s", s.wants(), c.heard.instead())
	case errors.Is(err, errTooMuch):
		return downf(ReasonProtocol, "no %s in %d bytes", s.wants(), readLimit)
	}
	return err
}

// wants is what a step waits for, for people.
func (s *Step) wants() string {
	if s.ExpectRegexp != nil {
		return fmt.Sprintf("match of %q", printable(s.ExpectRegexp.String(), maxText))
	}
	return fmt.Sprintf("%.64q", s.Expect)
}

// heard is what a server said and no step has taken yet.
type heard struct {
	bytes   []byte
	scanned int    // of bytes, in which Expect does not begin
	secret  string // not to be shown if the server repeats it
}

func (h *heard) add(b []byte) { h.bytes = append(h.bytes, b...) }

// take takes what s expects, and all before it, if that has come.
func (h *heard) take(s *Step) bool {
	end := 0
	if s.ExpectRegexp != nil {
		if place := s.ExpectRegexp.FindIndex(h.bytes); place != nil {
			end = place[1]
		} else {
			return false
		}
	} else if at := bytes.Index(h.bytes[h.scanned:], s.Expect); at >= 0 {
		end = h.scanned + at + len(s.Expect)
	} else {
		h.scanned = max(0, len(h.bytes)-len(s.Expect)+1)
		return false
	}
	h.bytes, h.scanned = h.bytes[end:], 0
	return true
}

// instead tells what came, for people: its end, which is the latest.
func (h *heard) instead() string {
	const most = 64
	b := h.bytes
	if h.secret != "" {
		b = bytes.ReplaceAll(b, []byte(h.secret), []byte("***"))
	}
	switch {
	case len(b) == 0:
		return ""
	case len(b) > most:
		return fmt.Sprintf("; got ...%q", b[len(b)-most:])
	}
	return fmt.Sprintf("; got %q", b)
}

// expire bounds reads and writes from now on by timeout, 0 for none, and by the end of
// ctx as before.
func (l *link) expire(ctx context.Context, timeout time.Duration) {
	var at time.Time
	if timeout > 0 {
		at = time.Now().Add(timeout)
	}
	l.Conn.SetDeadline(at)
	if ctx.Err() != nil { // it may have ended before, which set a deadline that this one replaced
		l.Conn.SetDeadline(time.Unix(1, 0))
	}
}
