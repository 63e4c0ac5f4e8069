package splicetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

// dialFunc is what a recorder answers to its call'th Dial, counted from 1.
type dialFunc func(call int, last error) (splice.Endpoint, error)

// recorder is a splice.Session that checks the protocol:
//
//	Dial(nil) [Dial(error)]... [Connected] Close
//
// with calls that never overlap, no Dial after a success, and nothing after Close.
type recorder struct {
	t        testing.TB
	peer     splice.Peer
	dial     dialFunc
	counters splice.Counters // of this session alone

	inCall atomic.Bool
	closed chan struct{} // closed by Close

	mu        sync.Mutex
	lasts     []error // what Dial was called with
	answered  error   // what Dial answered last
	connected int     // calls of Connected
	took      time.Duration
	result    splice.Result
}

// enter marks the beginning of a call and checks that it is allowed.
func (s *recorder) enter(call string) (leave func()) {
	if !s.inCall.CompareAndSwap(false, true) {
		s.t.Errorf("%s overlaps another call of its session", call)
	}
	select {
	case <-s.closed:
		s.t.Errorf("%s after Close", call)
	default:
	}
	s.mu.Lock()
	return func() {
		s.mu.Unlock()
		s.inCall.Store(false)
	}
}

func (s *recorder) Dial(last error) (splice.Endpoint, error) {
	defer s.enter("Dial")()
	if first := len(s.lasts) == 0; first != (last == nil) {
		s.t.Errorf("Dial call %d got last %v; want nil the first time and only then", len(s.lasts)+1, last)
	}
	if wait, ok := s.answered.(splice.Wait); ok && last != error(wait) {
		s.t.Errorf("Dial after %v got last %v; want the Wait", wait, last)
	}
	if s.connected > 0 {
		s.t.Errorf("Dial(%v) after Connected", last)
	}
	s.lasts = append(s.lasts, last)
	ep, err := s.dial(len(s.lasts), last)
	if ep.Counters == nil {
		ep.Counters = &s.counters
	}
	s.answered = err
	return ep, err
}

func (s *recorder) Connected(took time.Duration) {
	defer s.enter("Connected")()
	if len(s.lasts) == 0 || s.answered != nil {
		s.t.Error("Connected without an endpoint from Dial")
	}
	if s.connected++; s.connected > 1 {
		s.t.Error("Connected twice")
	}
	if took <= 0 {
		s.t.Errorf("Connected got took %v; want more than 0", took)
	}
	s.took = took
}

func (s *recorder) Close(r splice.Result) {
	defer s.enter("Close")()
	if up, down := s.counters.Up.Load(), s.counters.Down.Load(); up != r.Up || down != r.Down {
		s.t.Errorf("Close got %d bytes up, %d down; want %d and %d as in the counters", r.Up, r.Down, up, down)
	}
	if s.connected == 0 && r.Up+r.Down > 0 {
		s.t.Errorf("Close got %d bytes up, %d down; want none without a backend", r.Up, r.Down)
	}
	if r.Duration <= 0 {
		s.t.Errorf("Close got duration %v; want more than 0", r.Duration)
	}
	s.result = r
	close(s.closed)
}

// dials is the number of Dial calls so far.
func (s *recorder) dials() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lasts)
}

// isConnected reports whether Connected was called.
func (s *recorder) isConnected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected > 0
}

// last is what the call'th Dial, counted from 1, was called with.
func (s *recorder) last(call int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lasts[call-1]
}

// isClosed reports whether Close was called.
func (s *recorder) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// wantEnd waits for Close, and checks its reason.
func (s *recorder) wantEnd(t *testing.T, want splice.Reason) splice.Result {
	t.Helper()
	select {
	case <-s.closed:
	case <-time.After(patience):
		t.Fatalf("session did not end within %v; want %v", patience, want)
	}
	if s.result.Reason != want {
		t.Errorf("session ended with %v (%v); want %v", s.result.Reason, s.result.Err, want)
	}
	return s.result
}

// wantDials waits until Dial was called n times.
func (s *recorder) wantDials(t *testing.T, n int) {
	t.Helper()
	eventually(t, "Dial is called", func() bool { return s.dials() >= n })
}
