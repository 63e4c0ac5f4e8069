package healthcheck

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// This file speaks as much of PostgreSQL's protocol as is needed without logging in
// ("Message Formats" in PostgreSQL's manual).

const (
	postgresProtocol   = 3 << 16             // version 3.0
	postgresSSLRequest = 1234<<16 | 5679     // instead of a version: may TLS begin?
	maxStartupError    = 30000               // bytes; libpq takes a longer message for one of protocol 2
	postgresTerminate  = "X\x00\x00\x00\x04" // goodbye
)

// startupMessage opens a session.
func startupMessage(user, database string) []byte {
	m := binary.BigEndian.AppendUint32(make([]byte, 4, 64), postgresProtocol)
	for _, s := range []string{"user", user, "database", database, "application_name", "limeload"} {
		m = append(append(m, s...), 0)
	}
	m = append(m, 0)
	binary.BigEndian.PutUint32(m, uint32(len(m)))
	return m
}

// postgresMessage is one message of a server.
type postgresMessage struct {
	kind byte
	body []byte
}

// readPostgresMessage reads one message; r bounds what a body may take.
func readPostgresMessage(r io.Reader) (m postgresMessage, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return m, err
	}
	m.kind = head[0]
	size := binary.BigEndian.Uint32(head[1:])
	switch {
	case m.kind == 'E' && (size < 8 || size > maxStartupError):
		return readOldError(r, head[1:])
	case !strings.ContainsRune("RESKNZv", rune(m.kind)):
		return m, downf(ReasonProtocol, "%q is not how PostgreSQL begins", head)
	case size < 4 || size > readLimit:
		return m, downf(ReasonProtocol, "message %q announces %d bytes", m.kind, size)
	}
	m.body = make([]byte, size-4)
	_, err = io.ReadFull(r, m.body)
	return m, err
}

// readOldError reads an error as protocol 2 has them, which a postmaster still sends
// when it cannot even start a process: a text that ends with a zero.
func readOldError(r io.Reader, begin []byte) (m postgresMessage, err error) {
	text := append([]byte("SFATAL\x00M"), begin...)
	for b := [1]byte{1}; b[0] != 0 && len(text) < maxStartupError; text = append(text, b[0]) {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return m, err
		}
	}
	return postgresMessage{'E', append(text, 0)}, nil
}

// postgresError is what an ErrorResponse says.
type postgresError struct{ severity, code, message string }

func (e *postgresError) String() string { return fmt.Sprintf("%s: %s", e.severity, e.message) }

// parsePostgresError parses the body of an ErrorResponse: fields of a letter and a
// text that ends with a zero, until a zero.
func parsePostgresError(body []byte) (e postgresError) {
	for _, field := range strings.Split(string(body), "\x00") {
		if field == "" {
			break
		}
		switch text := field[1:]; field[0] {
		case 'S':
			e.severity = text
		case 'C':
			e.code = text
		case 'M':
			e.message = strings.TrimSpace(text)
		}
	}
	return e
}
