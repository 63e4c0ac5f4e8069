package healthcheck

import "bytes"

// mysqlConn is the connection on which the driver finds the greeting that was read
// before it. The driver makes room for a packet as soon as one is announced, up to
// 16 MiB: in plain text, mysqlConn lets no longer one pass than readLimit.
type mysqlConn struct {
	*link
	greeting bytes.Reader
	opaque   bool    // TLS follows the greeting
	head     [4]byte // of the packet that is being read
	seen     int     // bytes of head that were read
	body     int     // bytes of the packet that are to come
}

func (c *mysqlConn) Read(b []byte) (int, error) {
	if c.greeting.Len() > 0 {
		return c.greeting.Read(b)
	}
	n, err := c.link.Read(b)
	if !c.opaque && !c.follow(b[:n]) {
		c.fail(errTooMuch)
		return 0, errTooMuch
	}
	return n, err
}

// follow follows the packets in b, and is false if one is too long.
func (c *mysqlConn) follow(b []byte) bool {
	for len(b) > 0 {
		if c.body == 0 {
			n := copy(c.head[c.seen:], b)
			c.seen, b = c.seen+n, b[n:]
			if c.seen < len(c.head) {
				return true
			}
			c.seen = 0
			c.body = int(c.head[0]) | int(c.head[1])<<8 | int(c.head[2])<<16
			if c.body > readLimit {
				return false
			}
		}
		n := min(c.body, len(b))
		c.body, b = c.body-n, b[n:]
	}
	return true
}
