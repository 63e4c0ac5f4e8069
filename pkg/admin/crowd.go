package admin

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
)

// crowd is a listener with a bound on its connections. Whoever opens more pushes out
// the one that has waited longest without a request being answered on it: silent, slow
// and idle connections cost each other their place, never an operator's question.
type crowd struct {
	net.Listener
	most int

	mu     sync.Mutex
	guests []*guest // in the order of their coming
}

// guest is a connection of a crowd.
type guest struct {
	net.Conn
	crowd *crowd
	busy  bool // a request is being answered; the crowd's lock guards it
}

func (c *crowd) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: conn, crowd: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.guests = append(c.guests, g)
	if len(c.guests) > c.most {
		c.pushOut()
	}
	return g, nil
}

// pushOut closes the first connection that answers nothing; the last one came just now.
func (c *crowd) pushOut() {
	i := slices.IndexFunc(c.guests, func(g *guest) bool { return !g.busy })
	c.guests[i].Conn.Close() // its goroutine sees that, and closes the guest
	c.guests = slices.Delete(c.guests, i, i+1)
}

func (g *guest) Close() error {
	g.crowd.mu.Lock()
	if i := slices.Index(g.crowd.guests, g); i >= 0 {
		g.crowd.guests = slices.Delete(g.crowd.guests, i, i+1)
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
