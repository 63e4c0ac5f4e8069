package server

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/rs/zerolog"
)

// silence gives s a name server that does not answer until told to fail. asked is closed
// when it was asked.
func silence(s *Server) (asked chan struct{}, fail func()) {
	asked, failed := make(chan struct{}), make(chan struct{})
	ask := sync.OnceFunc(func() { close(asked) })
	s.names.dns = net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		ask()
		select {
		case <-failed:
		case <-ctx.Done():
		}
		return nil, errors.New("no answer")
	}}
	return asked, func() { close(failed) }
}

// reloading begins to apply what conf says, which waits for a name server.
func reloading(t *testing.T, s *Server, conf setup, asked chan struct{}) (ended chan error) {
	t.Helper()
	c := conf.config(t)
	ended = make(chan error, 1)
	go func() {
		_, err := s.Apply(t.Context(), c)
		ended <- err
	}()
	select {
	case <-asked:
	case err := <-ended:
		t.Fatalf("Apply: %v; want that it waits", err)
	}
	return ended
}

// Who wants to drain something, or to know what is, does not wait for a reload that waits
// for a name server.
func TestNobodyWaitsForNameServers(t *testing.T) {
	s, conf, a, _ := twoBackends(t)
	asked, fail := silence(s)
	conf.more = "[[listener]]\nname = \"named\"\nlisten = [\"slow.example:0\"]\npool = \"pool\"\n"
	ended := reloading(t, s, conf, asked)
	if err := s.SetBackend(t.Context(), "pool", a, Settings{Mode: ptr(balancer.Drain)}); err != nil {
		t.Fatal(err)
	}
	if o := s.Overrides(); len(o) != 1 || row(s, a).Mode != balancer.Drain {
		t.Errorf("overrides %+v, mode %v; want a drain", o, row(s, a).Mode)
	}
	select {
	case err := <-ended:
		t.Errorf("Apply: %v; want that it waits still", err)
	default:
	}
	fail()
	if err := <-ended; err == nil || !strings.HasPrefix(err.Error(), "listener named: listen slow.example:0: ") {
		t.Errorf("Apply: %v; want the listener and its name", err)
	}
	if row(s, a).Mode != balancer.Drain || s.state.Load().listener("named") != nil {
		t.Error("the reload that failed changed something")
	}
}

// What has changed while names were looked up stays so.
func TestReloadAfterLookupsGoesByWhatIs(t *testing.T) {
	s, conf, a, b := twoBackends(t)
	asked, fail := silence(s)
	conf.backends = append(conf.backends, "slow.example:1")
	ended := reloading(t, s, conf, asked)
	err := errors.Join(
		s.SetBackend(t.Context(), "pool", a, Settings{Weight: ptr(7)}),
		s.RemoveBackend(t.Context(), "pool", b, false))
	if err != nil {
		t.Fatal(err)
	}
	fail()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if row(s, "slow.example:1") == nil || row(s, a).Weight != 7 || row(s, b) != nil {
		t.Errorf("got %+v; want the new backend, a of weight 7, and no b", s.Snapshot().Pools[0].Backends)
	}
	apply(t, s, conf.config(t)) // a name that was looked up once waits for nobody
}

// A process that is to stop does not wait for name servers, and the reload that does comes
// to nothing.
func TestStopDoesNotWaitForNameServers(t *testing.T) {
	s, conf, _, _ := twoBackends(t)
	asked, fail := silence(s)
	conf.backends = append(conf.backends, "slow.example:1")
	ended := reloading(t, s, conf, asked)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(gone)
	}()
	<-stopped
	select {
	case err := <-ended:
		if errors.Is(err, ErrClosed) {
			break // its time was over
		}
		t.Errorf("Apply: %v; want that it waits still", err)
	default:
		fail()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("Apply: %v; want %v", err, ErrClosed)
		}
	}
}

// Before the start there is nothing to change, and nobody changes it.
func TestChangesWaitForTheStart(t *testing.T) {
	_, conf, a, _ := twoBackends(t)
	s, err := New(conf.config(t), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.SetBackend(ctx, "pool", a, Settings{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("SetBackend: got %v; want %v", err, context.DeadlineExceeded)
	}
	if _, err := s.Apply(ctx, conf.config(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Apply: got %v; want %v", err, context.DeadlineExceeded)
	}
	s.cancel()
	if err := s.ResetOverrides(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("of a server that has ended: got %v; want %v", err, ErrClosed)
	}
}
