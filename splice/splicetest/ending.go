package splicetest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

var endingTests = []test{
	{"Kill ends the sessions that match", suite.killMatch},
	{"Kill without a match ends all sessions", suite.killAll},
	{"Kill returns after Close has", suite.killAfterClose},
	{"Kill ends a session whose writes are blocked", suite.killBlocked},
	{"Kill ends a half-closed session", suite.killHalfClosed},
	{"Kill on an engine without sessions ends none", suite.killNone},
	{"KillOne ends one of the sessions that match", suite.killOne},
	{"Shutdown of an idle engine returns nil", suite.shutdownIdle},
	{"Shutdown lets sessions end", suite.shutdownDrains},
	{"Shutdown cuts at its deadline", suite.shutdownCuts},
	{"Shutdown cuts a dial and a Wait at its deadline", suite.shutdownCutsDial},
	{"Listen after Shutdown answers ErrClosed", suite.listenAfterShutdown},
}

// wantKill calls Kill and checks how many sessions it says to have ended.
func wantKill(t testing.TB, e splice.Engine, match func(splice.Session) bool, reason splice.Reason, want int) {
	t.Helper()
	if got := e.Kill(match, reason); got != want {
		t.Errorf("Kill ended %d sessions; want %d", got, want)
	}
}

// wantClosed checks that Close was called already.
func wantClosed(t testing.TB, s *recorder) {
	t.Helper()
	if !s.isClosed() {
		t.Error("the session had no Close")
	}
}

func (s suite) killMatch(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	otherClient, otherServer, other := r.connect()
	wantKill(t, r.engine, func(s splice.Session) bool { return s == session }, splice.ReasonKilled, 1)
	wantClosed(t, session)
	wantCut(t, client, server, session, splice.ReasonKilled, 0)
	roundTrip(t, otherClient, otherServer)
	wantKill(t, r.engine, func(s splice.Session) bool { return s == session }, splice.ReasonKilled, 0)
	finish(t, otherClient, otherServer, other)
}

func (s suite) killOne(t *testing.T) {
	r := s.rig(t, plan{options: splice.Options{Threads: 3}})
	const n = 5
	var sessions []*recorder
	for range n {
		_, _, session := r.connect()
		sessions = append(sessions, session)
	}
	ended := func() (n int) {
		for _, s := range sessions {
			if s.isClosed() {
				n++
			}
		}
		return n
	}
	for want := 1; want <= n; want++ {
		if !r.engine.KillOne(func(splice.Session) bool { return true }, splice.ReasonKilled) || ended() != want {
			t.Fatalf("KillOne number %d: %d sessions have ended; want as many", want, ended())
		}
	}
	if r.engine.KillOne(func(splice.Session) bool { return true }, splice.ReasonKilled) {
		t.Error("KillOne without sessions: got true")
	}
}

func (s suite) killAll(t *testing.T) {
	r := s.rig(t, plan{options: splice.Options{Threads: 3}})
	const n = 20
	var clients, servers []stream
	var sessions []*recorder
	for range n {
		client, server, session := r.connect()
		clients, servers, sessions = append(clients, client), append(servers, server), append(sessions, session)
	}
	wantKill(t, r.engine, nil, splice.ReasonDrained, n)
	for i, session := range sessions {
		wantClosed(t, session)
		wantCut(t, clients[i], servers[i], session, splice.ReasonDrained, 0)
	}
}

// killAfterClose has a Close that takes its time.
func (s suite) killAfterClose(t *testing.T) {
	backend := listenTCP(t, "127.0.0.1:0")
	e := s.engine(t, splice.Options{})
	var closed atomic.Bool
	l, err := e.Listen(splice.Bind{Addr: loopback, Handler: closeHandler{
		bareHandler: bareHandler{endpoint: endpointOf(backend.Addr())},
		onClose: func(splice.Result) {
			time.Sleep(short)
			closed.Store(true)
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	client, server := dialTCP(t, l.Addr()), accept(t, backend)
	roundTrip(t, client, server)
	wantKill(t, e, nil, splice.ReasonKilled, 1)
	if !closed.Load() {
		t.Error("Kill returned before the session's Close had")
	}
}

func (s suite) killBlocked(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	fill(t, server, 0)
	fill(t, client, 0)
	wantKill(t, r.engine, nil, splice.ReasonKilled, 1)
	wantCut(t, client, server, session, splice.ReasonKilled, 0)
}

func (s suite) killHalfClosed(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	end(t, client)
	wantEnd(t, server)
	wantKill(t, r.engine, nil, splice.ReasonKilled, 1)
	session.wantEnd(t, splice.ReasonKilled)
	wantReset(t, client)
	wantBroken(t, server)
}

func (s suite) killNone(t *testing.T) {
	wantKill(t, s.engine(t, splice.Options{}), nil, splice.ReasonKilled, 0)
}

func (s suite) shutdownIdle(t *testing.T) {
	r := s.rig(t, plan{})
	if err := r.engine.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown got %v; want nil", err)
	}
	wantRefused(t, addrOf(r.listener))
}

// shutdown begins a Shutdown and waits until it has closed the rig's listener.
func shutdown(t *testing.T, r *rig, ctx context.Context) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- r.engine.Shutdown(ctx) }()
	eventually(t, "the listener is closed", func() bool { return isFree(addrOf(r.listener)) })
	return done
}

// wantShutdown waits for a Shutdown's error.
func wantShutdown(t *testing.T, done <-chan error, want error) {
	t.Helper()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			t.Errorf("Shutdown got %v; want %v", err, want)
		}
	case <-time.After(patience):
		t.Fatalf("Shutdown did not return within %v", patience)
	}
}

func (s suite) shutdownDrains(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	done := shutdown(t, r, context.Background())
	roundTrip(t, client, server)
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned %v beside a live session", err)
	default:
	}
	finish(t, client, server, session)
	wantShutdown(t, done, nil)
}

func (s suite) shutdownCuts(t *testing.T) {
	r := s.rig(t, plan{})
	client, server, session := r.connect()
	ctx, cancel := context.WithCancel(context.Background())
	done := shutdown(t, r, ctx)
	roundTrip(t, client, server)
	cancel()
	wantShutdown(t, done, context.Canceled)
	wantClosed(t, session)
	wantCut(t, client, server, session, splice.ReasonDrained, 0)
}

func (s suite) shutdownCutsDial(t *testing.T) {
	for _, open := range []func() (*rig, *recorder){
		func() (*rig, *recorder) { r, _, _, session := s.hung(t); return r, session },
		func() (*rig, *recorder) { r, _, session := s.waiting(t); return r, session },
	} {
		r, session := open()
		if err := r.engine.Shutdown(cancelled()); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown got %v; want %v", err, context.Canceled)
		}
		session.wantEnd(t, splice.ReasonDrained)
	}
}

func (s suite) listenAfterShutdown(t *testing.T) {
	r := s.rig(t, plan{})
	r.engine.Shutdown(context.Background())
	if _, err := r.engine.Listen(splice.Bind{Addr: loopback, Handler: r}); !errors.Is(err, splice.ErrClosed) {
		t.Errorf("Listen got %v; want %v", err, splice.ErrClosed)
	}
}
