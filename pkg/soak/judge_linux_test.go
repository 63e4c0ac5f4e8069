package soak

import (
	"errors"
	"fmt"
	"slices"
)

// Causes of ends, as they are summed up. Reasons of limeload's that explain an end
// by themselves are causes too.
const (
	whole       = "whole"
	cutByClient = "cut by the client"
	cutByServer = "cut by the backend"
	crashed     = "backend crashed"
	stopped     = "backend stopped before it took it"
	leftEarly   = "client left before it sent"
	unexplained = "unexplained"
)

// judge says why a session ended as it did, or what is wrong with it.
func (r *record) judge(backends map[string]*backend) (cause string, err error) {
	if err := r.plausible(); err != nil {
		return unexplained, err
	}
	switch r.line.Reason {
	case "killed": // the sums have to confirm it
		return r.line.Reason, nil
	case "drained": // likewise
		if b := backends[r.line.Backend]; b != nil && b.removed.during(r.life) {
			return r.line.Reason, nil
		}
	case "idle-timeout", "half-close-timeout", "lifetime":
		if r.script.Listener == brief {
			return r.line.Reason, nil
		}
	case "connect-failed", "no-backend":
		if r.mayFindNobody(backends[r.line.Backend]) {
			return r.line.Reason, nil
		}
	case "client-closed", "backend-closed", "client-reset", "backend-reset":
		return r.judgeEnd(backends[r.line.Backend])
	}
	return unexplained, fmt.Errorf("nothing explains its reason %s", r.line.Reason)
}

// plausible checks what holds however a session ended.
func (r *record) plausible() error {
	switch {
	case r.client == nil:
		return errors.New("its client has not ended")
	case r.line == nil:
		return errors.New("the log has no line of it")
	case r.met > 1:
		return fmt.Errorf("it was brought to %d backends", r.met)
	case r.met == 1 && r.server == nil:
		return errors.New("its backend has not ended")
	case r.line.Listener != r.script.Listener:
		return fmt.Errorf("it was taken for one of listener %s", r.line.Listener)
	}
	server := outcome{}
	if r.server != nil {
		server = *r.server
	}
	return errors.Join(r.client.wrong, server.wrong,
		inOrder("up", r.client.sent, r.line.Up, server.received),
		inOrder("down", server.sent, r.line.Down, r.client.received))
}

// inOrder checks that no byte was received that limeload does not know of, and none
// is known that was not sent.
func inOrder(direction string, sent, moved, received int64) error {
	if sent >= moved && moved >= received {
		return nil
	}
	return fmt.Errorf("%s: %d bytes were sent, %d counted, %d received", direction, sent, moved, received)
}

// mayFindNobody reports whether a session may end without a backend.
func (r *record) mayFindNobody(b *backend) bool {
	if r.met > 0 || r.line.Up+r.line.Down > 0 {
		return false
	}
	switch r.script.Listener {
	case rough, late:
		return true
	}
	// A client that has sent all it will has this one attempt.
	ended := r.script.Client.Finish == first && (r.script.Eager || r.script.Client.Bytes == 0)
	return ended && b != nil && b.down.during(r.life)
}

// judgeEnd is for the sessions that limeload says were ended by their ends. b is the
// last backend that was tried, or nil.
func (r *record) judgeEnd(b *backend) (cause string, err error) {
	serverCut := ""
	switch {
	case r.cutDown:
		serverCut = cutByServer
	case b != nil && b.crashes.during(r.life):
		serverCut = crashed
	case b != nil && r.met == 0 && b.down.during(r.life):
		serverCut = stopped
	}
	switch {
	case r.line.Reason == "client-reset" && !r.cutUp, r.line.Reason == "backend-reset" && serverCut == "":
		return unexplained, fmt.Errorf("nobody meant its %s", r.line.Reason)
	case r.script.Leave != stays:
		return leftEarly, nil
	case r.cutUp:
		return cutByClient, r.delivered(r.script.Client, r.line.Up, r.server, serverCut)
	case serverCut == cutByServer && !b.crashes.during(r.life):
		return serverCut, r.delivered(r.script.Server, r.line.Down, r.client, "")
	case serverCut != "":
		return serverCut, nil
	}
	if err := r.complete(); err != nil {
		return unexplained, err
	}
	return whole, r.endedFirst()
}

// delivered checks that what an end sent before it cut the session behind its last
// byte was passed on, and came to the other end, unless that was cut as well. One that
// is slow may lose bytes: limeload waits for a second, and then a reset may be the
// answer to what the slow end still sends.
func (r *record) delivered(cutter part, moved int64, receiver *outcome, receiverCut string) error {
	want := greeting + cutter.Bytes
	switch {
	case cutter.Finish != cutBehind || r.met == 0 || receiverCut != "":
		return nil
	case moved != want:
		return fmt.Errorf("a reset came behind %d bytes, of which %d were passed on", want, moved)
	case receiver.received != want && !receiver.slow:
		return fmt.Errorf("a reset came behind %d bytes, of which %d were received", want, receiver.received)
	}
	return nil
}

// complete checks that both streams arrived to their last byte, and ended in order.
func (r *record) complete() error {
	if r.server == nil {
		return fmt.Errorf("it came to no backend; client: %v", r.client.err)
	}
	c, s := r.client, r.server
	up, down := greeting+r.script.Client.Bytes, greeting+r.script.Server.Bytes
	if c.sent != up || s.received != up || s.sent != down || c.received != down || !c.ended || !s.ended || c.err != nil || s.err != nil {
		return fmt.Errorf("it is not whole: up %d sent, %d received of %d; down %d sent, %d received of %d; client: %v; backend: %v",
			c.sent, s.received, up, s.sent, c.received, down, c.err, s.err)
	}
	return nil
}

// endedFirst checks that limeload names the end that ended first, where the script
// leaves no choice.
func (r *record) endedFirst() error {
	want := []string{"client-closed", "backend-closed"}
	switch c, s := r.script.Client.Finish, r.script.Server.Finish; {
	case c == first && s == last:
		want = want[:1]
	case c == last && s == first:
		want = want[1:]
	}
	if !slices.Contains(want, r.line.Reason) {
		return fmt.Errorf("it ended in order, as %s; want %v", r.line.Reason, want)
	}
	return nil
}
