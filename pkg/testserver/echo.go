package testserver

import (
	"io"
	"net"
	"testing"
)

// Echo is a server on an address of this machine that answers with what it hears. It ends
// with the test that started it, or with Close, after which it refuses; its sessions go
// on until their clients end them.
type Echo struct {
	net.Listener
	greeting string
}

// StartEcho starts an Echo on an address, such as 127.0.0.1:0 for any port. It says
// greeting before it listens to anybody: so it can send more than it gets, or tell who
// it is.
func StartEcho(tb testing.TB, address, greeting string) *Echo {
	tb.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	e := &Echo{ln, greeting}
	go e.serve()
	return e
}

// Address is where it listens, as a configuration has it.
func (e *Echo) Address() string { return e.Addr().String() }

func (e *Echo) serve() {
	for {
		c, err := e.Accept()
		if err != nil {
			return
		}
		go e.answer(c)
	}
}

func (e *Echo) answer(c net.Conn) {
	defer c.Close()
	if _, err := io.WriteString(c, e.greeting); err == nil {
		io.Copy(c, c)
	}
}
