package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/pkg/testserver"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { http.DefaultClient.CloseIdleConnections() }))
}

// start runs a server until the test ends.
func start(tb testing.TB, toml string) *server.Server {
	tb.Helper()
	c, err := config.Parse("test.toml", []byte(toml))
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		tb.Fatal(err)
	}
	s, err := server.New(c, zerolog.Nop())
	if err != nil {
		tb.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	select {
	case <-s.Started():
	case err := <-ran:
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(gone)
		if err := <-ran; !errors.Is(err, server.ErrClosed) {
			tb.Errorf("Run answered %v; want ErrClosed", err)
		}
	})
	return s
}

// eventually waits for a condition.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("never: %s", what)
		}
	}
}

// greeting is what echo says first, so that it sends more than it gets.
const greeting = "hello\n"

// echo is the address of a backend that greets.
func echo(tb testing.TB) string {
	tb.Helper()
	return testserver.StartEcho(tb, "127.0.0.1:0", greeting).Address()
}

// closed is an address on which nobody listens.
func closed(tb testing.TB) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// two is a server with a pool that is probed and one that is not, whose only
// backend refuses.
func two(tb testing.TB) *server.Server {
	tb.Helper()
	return start(tb, fmt.Sprintf(`
[engine]
threads = 2
[[listener]]
name = "front"
listen = ["127.0.0.1:0"]
pool = "live"
[[listener]]
name = "back"
listen = ["127.0.0.1:0"]
pool = "dead"
max_connections = 7
limits = { source = { connections = 1 } }
[[pool]]
name = "live"
health = { interval = "20ms" }
backend = [{ name = "a", address = %q, weight = 3, max_connections = 90 }, { name = "b", address = %q }]
[[pool]]
name = "dead"
connect = { attempts = 1 }
health = { type = "none" }
backend = [{ name = "x", address = %q }]
`, echo(tb), closed(tb), closed(tb)))
}
