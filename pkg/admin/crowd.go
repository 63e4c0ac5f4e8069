package admin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// crowd is a listener with a bound on its connections. Whoever opens more pushes out
// the one that has waited longest without a request being answered on it: silent, slow
// and idle connections cost each other their place, never an operator's question.
//
// A question that came with its connection has to be read before anybody can know: so
// nobody is pushed out within a moment of his coming. Until then who comes next waits, and
// behind him the others in the kernel's backlog.
type crowd struct {
	net.Listener
	most int

	left   chan struct{} // one of them has gone; room for one
	mu     sync.Mutex
	guests []*guest // in the order of their coming
}

// guest is a connection of a crowd.
type guest struct {
	net.Conn
	crowd *crowd
	came  time.Time // when it was let in; zero before, while it waits for room
	busy  bool      // a request is being answered; the crowd's lock guards it
}

// readWithin is how long a guest has until it may be pushed out: enough for a process
// under load to read a request that is there.
const readWithin = 100 * time.Millisecond

func newCrowd(l net.Listener, most int) *crowd {
	return &crowd{Listener: l, most: most, left: make(chan struct{}, 1)}
}

func (c *crowd) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	switch {
	case errors.Is(err, net.ErrClosed):
		return nil, err
	case err != nil:
		return nil, passing{err}
	}
	g := &guest{Conn: conn, crowd: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.guests = append(c.guests, g)
	for len(c.guests) > c.most {
		if wait := c.pushOut(); wait > 0 {
			c.mu.Unlock()
			select {
			case <-c.left:
			case <-time.After(wait):
			}
			c.mu.Lock()
		}
	}
	g.came = time.Now()
	return g, nil
}

// passing is an error of accept(2) after which the listener is as good as before. All are:
// besides a lack of descriptors there is one of memory, what a filter refuses, and on Linux
// any trouble that the network already had with the client. For most of them net/http would
// end the server; after a temporary one it tries again, up to a second later.
type passing struct{ error }

func (passing) Temporary() bool { return true }
func (passing) Timeout() bool   { return false }
func (p passing) Unwrap() error { return p.error }

// pushOut closes the first connection that answers nothing, or says how long it has to
// stay yet. It is the last one, which is not let in yet, if all others answer.
func (c *crowd) pushOut() (wait time.Duration) {
	i := slices.IndexFunc(c.guests, func(g *guest) bool { return !g.busy })
	if wait = readWithin - time.Since(c.guests[i].came); wait > 0 {
		return wait
	}
	c.guests[i].Conn.Close() // its goroutine sees that, and closes the guest
	c.guests = slices.Delete(c.guests, i, i+1)
	return 0
}

func (g *guest) Close() error {
	g.crowd.mu.Lock()
	if i := slices.Index(g.crowd.guests, g); i >= 0 {
		g.crowd.guests = slices.Delete(g.crowd.guests, i, i+1)
		select {
		case g.crowd.left <- struct{}{}:
		default:
		}
	}
	g.crowd.mu.Unlock()
	return g.Conn.Close()
}

// guestKey is where the context of a request has its guest.
type guestKey struct{}

func withGuest(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, guestKey{}, conn)
}

// guestOf is the connection that r came over; false under a server that has no crowd.
func guestOf(r *http.Request) (g *guest, ok bool) {
	g, ok = r.Context().Value(guestKey{}).(*guest)
	return g, ok
}

// answering marks the connection of each request for as long as h takes.
func answering(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, ok := guestOf(r)
		if ok {
			g.setBusy(true)
			defer g.setBusy(false)
		}
		h.ServeHTTP(w, r)
	})
}

func (g *guest) setBusy(yes bool) {
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	g.busy = yes
}
