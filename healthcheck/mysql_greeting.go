package healthcheck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// This file speaks as much of MySQL's protocol as is needed without logging in
// ("Connection Phase" in MySQL's internals manual; MariaDB's "Connecting").

// Capabilities of a client or server (CLIENT_... in the manual).
const (
	mysqlProtocol41       = 1 << 9
	mysqlTLS              = 1 << 11
	mysqlSecureConnection = 1 << 15
	mysqlPluginAuth       = 1 << 19
)

// First bytes of a server's packet.
const (
	mysqlOK       = 0x00
	mysqlMoreData = 0x01 // more of the authentication's own data
	mysqlSwitch   = 0xfe // use another method to authenticate
	mysqlERR      = 0xff
)

const mysqlQuit = "\x01\x00\x00\x00\x01" // a packet with the command COM_QUIT

// readMySQLPacket reads one packet: three bytes of length, a sequence number, a body
// of at least one byte.
func readMySQLPacket(r io.Reader) (sequence byte, body []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	switch {
	case size == 0:
		return 0, nil, downf(ReasonProtocol, "packet is empty")
	case size > readLimit:
		return 0, nil, errTooMuch
	}
	body = make([]byte, size)
	_, err = io.ReadFull(r, body)
	return head[3], body, err
}

// readMySQLGreeting reads a server's first packet. What announces more than any greeting
// has is another protocol: the first letters of an SSH or SMTP server, say.
func readMySQLGreeting(r io.Reader) (sequence byte, body []byte, err error) {
	var head bytes.Buffer
	sequence, body, err = readMySQLPacket(io.TeeReader(r, &head))
	if errors.Is(err, errTooMuch) {
		err = downf(ReasonProtocol, "%.40q is not how MySQL begins", head.Bytes())
	}
	return sequence, body, err
}

func appendMySQLPacket(b []byte, sequence byte, body []byte) []byte {
	n := len(body)
	return append(append(b, byte(n), byte(n>>8), byte(n>>16), sequence), body...)
}

// mysqlGreeting is what is used of a server's first packet.
type mysqlGreeting struct {
	version      string
	capabilities uint32
	plugin       string // the method by which it authenticates, if the client names no other
}

// parseMySQLGreeting parses a server's first packet: a greeting, of protocol 10 with
// at least version 4.1's capabilities, or an error, which is a fault with its text.
//
//	10, version, 0, thread (4), scramble (8), 0, capabilities (2), charset (1),
//	status (2), capabilities (2), length of scramble (1), 0 (10),
//	scramble (at least 13), method, 0
func parseMySQLGreeting(body []byte) (g mysqlGreeting, err error) {
	if len(body) > 0 && body[0] == mysqlERR {
		return g, mysqlRefusal(body)
	}
	end := bytes.IndexByte(body, 0)
	if end < 1 || body[0] != 10 {
		return g, downf(ReasonProtocol, "%.40q is not how MySQL begins", body)
	}
	const fixed = 1 + 4 + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10 + 13
	rest := body[end:]
	if len(rest) < fixed {
		return g, downf(ReasonProtocol, "greeting is cut off after %d bytes", len(body))
	}
	// MariaDB before 11 begins with a version that old replicas understand.
	g.version = strings.TrimPrefix(string(body[1:end]), "5.5.5-")
	g.capabilities = uint32(binary.LittleEndian.Uint16(rest[14:])) | uint32(binary.LittleEndian.Uint16(rest[19:]))<<16
	if g.capabilities&mysqlProtocol41 == 0 {
		return g, downf(ReasonProtocol, "server is older than MySQL 4.1")
	}
	scramble := max(13, int(rest[21])-8)
	if 32+scramble <= len(rest) {
		g.plugin, _, _ = strings.Cut(string(rest[32+scramble:]), "\x00")
	}
	return g, nil
}

// mysqlRefusal is the fault that an ERR packet tells of: 0xff, code (2), perhaps "#"
// and SQLSTATE (5), text.
func mysqlRefusal(body []byte) error {
	if len(body) < 3 {
		return downf(ReasonProtocol, "error is cut off after %d bytes", len(body))
	}
	code, text := binary.LittleEndian.Uint16(body[1:]), string(body[3:])
	if len(text) >= 6 && text[0] == '#' {
		text = text[6:]
	}
	return mysqlFault(code, text)
}

// mysqlFault is the fault of an error by its number. Those of who asks are: access
// denied (1044, 1045, 1698), a method that is not to be had (1251), a password or
// an account that is over (1820, 1862, 3118), no plain text (3159).
func mysqlFault(code uint16, text string) error {
	reason := ReasonAnswer
	switch code {
	case 1044, 1045, 1251, 1698, 1820, 1862, 3118, 3159:
		reason = ReasonAuth
	}
	return downf(reason, "%d: %s", code, strings.TrimSpace(text))
}

// mysqlStranger answers a greeting as a user that does not exist and has no
// password.
func mysqlStranger(g *mysqlGreeting) []byte {
	capabilities := uint32(mysqlProtocol41|mysqlSecureConnection|mysqlPluginAuth) & g.capabilities
	const utf8 = 33 // charset
	m := binary.LittleEndian.AppendUint32(nil, capabilities)
	m = binary.LittleEndian.AppendUint32(m, readLimit) // of a packet that the client takes
	m = append(m, utf8)
	m = append(m, make([]byte, 23)...)
	m = append(m, mysqlStrangerName+"\x00\x00"...) // and an empty password
	if capabilities&mysqlPluginAuth != 0 {
		m = append(append(m, g.plugin...), 0)
	}
	return m
}

// mysqlStrangerName is the user as whom a probe without credentials introduces
// itself. It should not exist.
const mysqlStrangerName = "limeload-probe"
