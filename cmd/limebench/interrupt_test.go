package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/splice/loadgen"
)

// perform runs a command line until it ends or ctx does, as a signal would end it.
func perform(ctx context.Context, args ...string) (stdout string, err error) {
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	err = root.ExecuteContext(ctx)
	return out.String(), err
}

// server is one to make load against.
func server(t *testing.T) (s *loadgen.Server, address string) {
	t.Helper()
	addrs, err := resolve([]string{"127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if s, err = loadgen.Listen(loadgen.ServerOptions{Addresses: addrs, Threads: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, s.Addresses()[0].String()
}

// TestRunInterrupted: before the window there is nothing to tell; in it, what was
// measured so far is.
func TestRunInterrupted(t *testing.T) {
	t.Run("while it warms up", func(t *testing.T) {
		_, address := server(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		out, err := perform(ctx, "run", "--warmup", "1h", address)
		if f := (*failure)(nil); !errors.Is(err, errInterrupted) || !errors.As(err, &f) || out != "" {
			t.Errorf("got %q, %v; want nothing, and the failure %v", out, err, errInterrupted)
		}
	})
	t.Run("while it measures", func(t *testing.T) {
		s, address := server(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer cancel()
			// Without a warm-up the window has begun when a connection has had an answer to
			// more than its first message.
			for s.Stats().BytesOut < 1000*64 && t.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
		}()
		out, err := perform(ctx, "run", "-c", "1", "--warmup", "0", "--duration", "1h", address)
		if err != nil || !strings.Contains(out, "operations") || !strings.Contains(out, "errors      none") {
			t.Errorf("got %q, %v; want what was measured so far", out, err)
		}
	})
}
