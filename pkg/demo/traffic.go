package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// The traffic is a steady mix: sessions that stay and talk, as an application's pool of
// connections does, and short ones that come, ask once and leave. And a stranger knocks,
// whom the access list does not let in.
const (
	longSessions  = 36
	shortSessions = 4 // at a time
	shortPause    = 250 * time.Millisecond

	longAtLeast, longAtMost = 5 * time.Second, 40 * time.Second
	longPause               = 8 * time.Second        // on average, from one to the next
	talkEvery               = 300 * time.Millisecond // on average
	questionAtMost          = 4 << 10                // bytes
	answerAtMost            = 64 << 10               // bytes

	clientPatience = 5 * time.Second
	comeBackAfter  = 100 * time.Millisecond // when nobody answered
	strangerPause  = 4 * time.Second        // on average, from one try to the next
)

// stranger is where that one comes from: this machine, but not the others' address. Where
// the system has only 127.0.0.1, the stranger stays away.
var stranger = netip.AddrFrom4([4]byte{127, 66, 0, 7})

// startTraffic runs the clients until ctx ends; Wait waits for their end.
func startTraffic(ctx context.Context, at string) *sync.WaitGroup {
	var all sync.WaitGroup
	for range longSessions {
		all.Go(func() { repeat(ctx, longPause, func() error { return stay(ctx, at) }) })
	}
	for range shortSessions {
		all.Go(func() { repeat(ctx, shortPause, func() error { return visit(ctx, at) }) })
	}
	all.Go(func() {
		for rest(ctx, around(strangerPause)) {
			knock(ctx, at)
		}
	})
	return &all
}

// knock is the stranger's try.
func knock(ctx context.Context, at string) {
	dialer := net.Dialer{Timeout: clientPatience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(stranger, 0))}
	if c, err := dialer.DialContext(ctx, "tcp", at); err == nil {
		c.Close()
	}
}

// repeat has sessions one after another.
func repeat(ctx context.Context, pause time.Duration, session func() error) {
	for ctx.Err() == nil {
		wait := around(pause)
		if session() != nil {
			wait = comeBackAfter
		}
		rest(ctx, wait)
	}
}

// rest waits; it ends early, and answers false, when ctx does.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// around is a random duration with the mean d.
func around(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.5 + rand.Float64()))
}

// stay is a long session.
func stay(ctx context.Context, at string) error {
	c, err := connect(ctx, at)
	if err != nil {
		return err
	}
	defer c.Close()
	pace := around(talkEvery)
	end := time.Now().Add(longAtLeast + rand.N(longAtMost-longAtLeast))
	for time.Now().Before(end) {
		if err := c.ask(); err != nil {
			return err
		}
		if !rest(ctx, around(pace)) {
			return nil
		}
	}
	return nil
}

// visit is a short one.
func visit(ctx context.Context, at string) error {
	c, err := connect(ctx, at)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.ask()
}

// client is a connection with the greeting read.
type client struct {
	net.Conn
	from *bufio.Reader
}

func connect(ctx context.Context, at string) (*client, error) {
	dialer := net.Dialer{Timeout: clientPatience}
	conn, err := dialer.DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, err
	}
	c := &client{conn, bufio.NewReader(conn)}
	c.SetDeadline(time.Now().Add(clientPatience))
	if _, err := c.from.ReadString('\n'); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// ask asks for some bytes, at some length, and reads them.
func (c *client) ask() error {
	c.SetDeadline(time.Now().Add(clientPatience))
	n := rand.IntN(answerAtMost)
	if _, err := fmt.Fprintf(c, "%*d\n", 1+rand.IntN(questionAtMost), n); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, c.from, int64(n))
	return err
}
