package healthcheck

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
)

// postgresOpening is a connection on which a server has yet to say its first word. What
// cannot be PostgreSQL's is an error that quotes it: taken for a message, the letters of
// an HTTP or SSH server are the length of one that is only too long.
type postgresOpening struct {
	net.Conn
	link   *link        // remembers the error
	judged bool         // the first message has been looked at
	ready  bytes.Buffer // what was read for that
}

func (o *postgresOpening) Read(b []byte) (int, error) {
	if !o.judged {
		o.judged = true
		if err := o.judge(); err != nil {
			o.link.fail(err)
			return 0, err
		}
	}
	if o.ready.Len() > 0 {
		return o.ready.Read(b)
	}
	return o.Conn.Read(b)
}

// judge reads the kind and the size of the first message. That is a request for
// authentication, an error (of protocol 2 without a size), a notice or a version.
func (o *postgresOpening) judge() error {
	var head [5]byte
	if _, err := io.ReadFull(o.Conn, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if !strings.ContainsRune("RENv", rune(head[0])) || head[0] != 'E' && (size < 4 || size > readLimit) {
		return downf(ReasonProtocol, "%q is not how PostgreSQL begins", head)
	}
	o.ready.Write(head[:])
	return nil
}
