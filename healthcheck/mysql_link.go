package healthcheck

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
)

// mysqlConn is the connection that the driver gets. It begins with the greeting that
// was read before, and in plain text hands out whole packets alone: the driver makes
// room for up to 16 MiB as soon as a packet announces that, and reaches beyond the
// end of one that is too short, which is a panic that leaves a goroutine behind if it
// happens before there is a session to close.
//
// Inside TLS there is no looking: only a server that is trusted gets that far.
type mysqlConn struct {
	*link
	ready   bytes.Buffer // what the driver has not read
	opaque  bool         // TLS follows the greeting
	session bool         // the driver is logged in
}

func (c *mysqlConn) Read(b []byte) (int, error) {
	if c.ready.Len() > 0 {
		return c.ready.Read(b)
	}
	if c.opaque {
		return c.link.Read(b)
	}
	sequence, body, err := readMySQLPacket(c.link)
	if err == nil && !c.session && !wellFormedLogin(body) {
		err = downf(ReasonProtocol, "auth: %.40q is no answer to a login", body)
	}
	if err != nil {
		c.fail(err)
		return 0, err
	}
	c.ready.Write(appendMySQLPacket(nil, sequence, body))
	return c.ready.Read(b)
}

// wellFormedLogin says whether a packet that answers a login has what its kind has to
// have.
func wellFormedLogin(body []byte) bool {
	switch body[0] {
	case mysqlOK: // rows, ID, status (2), warnings (2)
		const long = 0xfb // from here on a number has more than one byte
		return len(body) >= 7 && body[1] < long && body[2] < long
	case mysqlERR: // code (2), perhaps "#" and SQLSTATE (5), text
		return len(body) > 3 && (body[3] != '#' || len(body) >= 9)
	case mysqlSwitch: // method, 0, scramble; nothing means the oldest method
		_, scramble, ok := bytes.Cut(body[1:], []byte{0})
		return len(body) == 1 || ok && len(scramble) >= 20
	case mysqlMoreData: // one byte, or the server's public key
		block, _ := pem.Decode(body[1:])
		return len(body) == 2 || block != nil && isRSA(block.Bytes)
	}
	return false
}

func isRSA(der []byte) bool {
	key, err := x509.ParsePKIXPublicKey(der)
	_, ok := key.(*rsa.PublicKey)
	return err == nil && ok
}
