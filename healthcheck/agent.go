package healthcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// Agent is the Prober that asks an agent on the server how much the server can take, in
// the words of HAProxy's agent-check. Its phases are "connect" and "agent".
//
// An agent answers one line, which ends with CR or LF, of words between spaces, tabs or
// commas, in any case and order; of words of one kind the last one counts:
//
//	75%            the part of its weight that it should get; above 100 is more; 0% is drain
//	maxconn:30     the most sessions that it should get; 0 is no limit
//	ready          take it back in
//	drain          no new sessions
//	maint          the same, and it is not a fault
//	up             it is well
//	down stopped fail (or failed)
//	               it is down, and why: # and a text may follow
//
// The verdict is down for the last four, and for an agent that does not answer so. It is
// degraded for less than 100%, else up; what is asked for is in Facts: Share, Wish,
// MaxConnections. As with HAProxy, what an agent does not speak of stays as it has said
// before; this is remembered for each address, as long as the Agent lives. Words that
// nobody knows are ignored if there is one that is known, and told as Result.Warning.
//
// Unlike HAProxy, an agent that cannot be reached is down: all probes must pass.
type Agent struct {
	Send []byte // what the agent wants to hear first; nothing if empty

	mu   sync.Mutex
	said map[Address]standing
}

// standing is what an agent has asked for until it asks for something else.
type standing struct {
	share          int // in percent, from 0 on; meaningless unless shared
	shared         bool
	wish           Wish
	maxConnections int
}

// NewAgent is an Agent to which send is sent first, if it is not empty.
func NewAgent(send string) *Agent { return &Agent{Send: []byte(send)} }

// Probe asks a.
func (p *Agent) Probe(ctx context.Context, a Address) Result {
	x := newExchange(ctx, a)
	defer x.close()
	word, err := p.converse(x)
	r := x.result(err)
	r.Warning = word.odd
	return r
}

func (p *Agent) converse(x *exchange) (word agentWord, err error) {
	if err := x.dial(); err != nil {
		return word, err
	}
	x.begin("agent")
	if len(p.Send) > 0 {
		if _, err := x.conn.Write(p.Send); err != nil {
			return word, err
		}
	}
	line, err := readLine(x.conn)
	if err != nil {
		return word, err
	}
	if word, err = parseAgent(line); err != nil {
		return word, err
	}
	now := p.remember(x.to, &word)
	x.facts.Wish, x.facts.MaxConnections = now.wish, now.maxConnections
	if now.shared && now.share == 0 {
		x.facts.Wish = max(now.wish, WishDrain)
	} else if now.shared {
		x.facts.Share = now.share
	}
	return word, word.verdict(x.facts.Share)
}

// remember adds what an agent says to what it said before.
func (p *Agent) remember(a Address, word *agentWord) standing {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.said[a]
	if word.hasShare {
		now.share, now.shared = word.share, true
	}
	if word.wish != WishNone {
		now.wish = word.wish
	}
	if word.hasMaxConnections {
		now.maxConnections = word.maxConnections
	}
	if p.said == nil {
		p.said = map[Address]standing{}
	}
	p.said[a] = now
	return now
}

// readLine reads up to the first CR or LF, which it leaves away.
func readLine(r io.Reader) (string, error) {
	var line []byte
	var piece [512]byte
	for {
		n, err := r.Read(piece[:])
		if end := bytes.IndexAny(piece[:n], "\r\n"); end >= 0 {
			return string(append(line, piece[:end]...)), nil
		}
		line = append(line, piece[:n]...)
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return "", downf(ReasonProtocol, "agent said nothing")
		case errors.Is(err, io.EOF):
			return "", downf(ReasonProtocol, "agent's line has no end: %q", printable(string(line), maxText))
		case err != nil:
			return "", err
		}
	}
}

// agentWord is what one line of an agent says.
type agentWord struct {
	share             int
	hasShare          bool
	wish              Wish
	maxConnections    int
	hasMaxConnections bool
	health            string // the word for it; "" if there is none
	why               string // the text after #
	odd               string // the first thing that was not understood, for people
}

// verdict is a fault unless the server is up, with all of its weight or more.
func (w *agentWord) verdict(share int) error {
	switch {
	case w.health != "" && w.health != "up" && w.why != "":
		return downf(ReasonAgent, "agent says %s: %s", w.health, w.why)
	case w.health != "" && w.health != "up":
		return downf(ReasonAgent, "agent says %s", w.health)
	case share > 0 && share < 100:
		return &fault{Degraded, ReasonAgent, fmt.Errorf("agent asks for %d%%", share)}
	}
	return nil
}

// parseAgent reads a line. The error is a fault of ReasonProtocol, where nothing was
// understood.
func parseAgent(line string) (agentWord, error) {
	words, why, _ := strings.Cut(line, "#")
	w := agentWord{why: firstLine(why)}
	known := 0
	for word := range strings.FieldsFuncSeq(words, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		switch {
		case w.take(strings.ToLower(word)):
			known++
		case w.odd == "":
			w.odd = fmt.Sprintf("agent says %q, which means nothing", printable(word, maxText))
		}
	}
	switch {
	case known > 0:
		return w, nil
	case w.odd != "":
		return agentWord{}, downf(ReasonProtocol, "%s", w.odd)
	}
	return agentWord{}, downf(ReasonProtocol, "agent said nothing")
}

// take reads one word, and says whether it is one.
func (w *agentWord) take(word string) bool {
	switch word {
	case "up", "down", "stopped", "fail", "failed":
		w.health = word
		return true
	case "ready":
		w.wish = WishReady
		return true
	case "drain":
		w.wish = WishDrain
		return true
	case "maint":
		w.wish = WishMaintenance
		return true
	}
	if percent, ok := strings.CutSuffix(word, "%"); ok {
		return bounded(percent, maxShare, &w.share, &w.hasShare)
	}
	if limit, ok := strings.CutPrefix(word, "maxconn:"); ok {
		return bounded(limit, maxAgentConnections, &w.maxConnections, &w.hasMaxConnections)
	}
	return false
}

const (
	maxShare            = 25600 // in percent: weights from 1 to 256
	maxAgentConnections = 10_000_000
)

// bounded reads digits, and what is more than most as most.
func bounded(digits string, most int, value *int, has *bool) bool {
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return false
	}
	*value, *has = int(min(n, uint64(most))), true
	return true
}
