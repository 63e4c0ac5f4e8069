package healthcheck

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// This file reads RESP, the protocol of Redis, in the version that every server
// speaks to a client that did not ask for another (RESP2).

// respDepth is how deep arrays may nest. The answer to ROLE has three levels.
const respDepth = 4

// respReply is one reply: a text, an error, a number (kept as text) or an array.
type respReply struct {
	kind  byte   // '+' '-' ':' '$' '*'
	text  string // of all but an array
	items []respReply
	null  bool
}

// appendRESP appends a command as a client sends it: an array of strings.
func appendRESP(b []byte, words ...string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(words))
	for _, w := range words {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b
}

// readRESP reads one reply. It takes no memory for what is announced, only for what
// comes; r bounds that.
func readRESP(r *bufio.Reader, depth int) (reply respReply, err error) {
	line, err := readRESPLine(r)
	if err != nil {
		return reply, err
	}
	reply = respReply{kind: line[0], text: line[1:]}
	switch reply.kind {
	case '+', '-', ':':
		return reply, nil
	case '$', '*':
	default:
		return reply, downf(ReasonProtocol, "%.40q is not how Redis begins", line)
	}
	size, err := strconv.Atoi(reply.text)
	switch {
	case err != nil || size < -1:
		return reply, downf(ReasonProtocol, "%.40q announces no size", line)
	case size > readLimit:
		return reply, errTooMuch
	case size == -1:
		reply.text, reply.null = "", true
		return reply, nil
	case reply.kind == '$':
		reply.text, err = readRESPText(r, size)
		return reply, err
	}
	reply.text = ""
	reply.items, err = readRESPItems(r, size, depth)
	return reply, err
}

// readRESPLine reads a line that is not empty, without its end.
func readRESPLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || text == "" {
		return "", downf(ReasonProtocol, "%.40q is not how Redis begins", line)
	}
	return text, nil
}

func readRESPText(r *bufio.Reader, size int) (string, error) {
	b := make([]byte, size+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(string(b), "\r\n")
	if !ok {
		return "", downf(ReasonProtocol, "a text is longer than it announces")
	}
	return text, nil
}

func readRESPItems(r *bufio.Reader, count, depth int) (items []respReply, err error) {
	if depth == 0 {
		return nil, downf(ReasonProtocol, "arrays nest too deep")
	}
	for range count {
		item, err := readRESP(r, depth-1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}
