package proxy

import (
	"errors"
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/limit"
	"github.com/limeload/limeload/pkg/standing"
	"github.com/limeload/limeload/splice"
)

// retryPause is how long a session waits before it tries again backends on each of
// which it has failed once.
const retryPause = 200 * time.Millisecond

// errUnresolved is an attempt on a backend whose host name has no address yet.
var errUnresolved = errors.New("dns: the host name is not resolved")

// errAttempts is for a pool whose attempts were lowered while a session used them.
var errAttempts = errors.New("no attempts left")

// session is one admitted client. The engine owns it between Open and the end of
// Close; then it goes back to its listener's roster, for the next client.
//
// Others look at it while it lives, at its bytes and at what record tells of its visit.
// What they read changes under the meter's lock alone, from the first time that show
// gives it a target until Close takes that away; outside of that time they read nothing.
type session struct {
	meter meter
	visit
	number uint32        // in the roster; never changes
	next   atomic.Uint32 // the number of the next idle one, while idle; 0: none
}

// visit is what a session knows of its client. It is zero while the session is idle.
//
// There are as many as clients at one time, idle ones too: what only some need is
// kept apart.
type visit struct {
	listener *Listener
	conf     *Conf
	client   netip.AddrPort // zero on a unix socket
	serial   uint64         // among the listener's sessions, from 1 on
	opened   int64          // by the package's clock

	backend *balancer.Backend // acquired; nil between attempts
	target  *Target           // its Value; nil until the first one is picked
	addr    netip.AddrPort    // that is or was dialled last; zero for a unix socket
	trouble *trouble          // nil until an attempt failed, or a limit held it

	connect  micros     // of the attempt that succeeded; 0 before it did
	trial    uint32     // its ticket, if it is a trial of the backend, else 0
	slot     limit.Slot // see pass
	attempts uint16     // backends that were dialled
	counted  bool       // see pass
}

// trouble is what a session remembers of attempts that failed, and of being held.
type trouble struct {
	last  error          // of the last one
	tried balancer.Tried // backends
	spent int            // addresses of the current backend
	over  time.Time      // when an attempt succeeded after all

	queue *queue // where it is held; nil if it is not
	spot  spot   // there
	until int64  // for how long at most: limit.Now
}

// micros is a duration in microseconds, from 1 to an hour and a bit: a session has to
// be small.
type micros uint32

func toMicros(d time.Duration) micros {
	return micros(min(max(d.Microseconds(), 1), math.MaxUint32))
}

func (m micros) duration() time.Duration { return time.Duration(m) * time.Microsecond }

// Of answers whose session it is: the listener that admitted it, and the backend that
// it uses, nil if none. It is for the match of splice.Engine.Kill.
func Of(s splice.Session) (*Listener, *balancer.Backend) {
	own := s.(*session)
	return own.listener, own.backend
}

// Dial implements splice.Session: it picks a backend, or its next address, until
// one is connected to or the attempts are used up.
func (s *session) Dial(last error) (splice.Endpoint, error) {
	if s.atDoor() {
		if err := s.knock(); err != nil {
			return splice.Endpoint{}, err
		}
	}
	d := s.conf.Pool.dialing.Load()
	if _, waited := last.(splice.Wait); last != nil && !waited {
		if s.failed(last) {
			s.show(s.target)
			return s.endpoint(d), nil
		}
	}
	for int(s.attempts) < d.Attempts {
		b, err := s.pick(d)
		if err == balancer.ErrTried {
			s.trouble.tried.Reset()
			return splice.Endpoint{}, splice.Wait(retryPause)
		}
		if limited(err) {
			return splice.Endpoint{}, err
		}
		if err != nil {
			return splice.Endpoint{}, s.because(err)
		}
		s.picked(b)
		if s.target.Unix != "" || s.addr.IsValid() {
			return s.endpoint(d), nil
		}
		if s.failed(errUnresolved) { // it has been resolved just now
			s.show(s.target)
			return s.endpoint(d), nil
		}
	}
	return splice.Endpoint{}, s.because(errAttempts)
}

func (s *session) tried() *balancer.Tried {
	if s.trouble == nil {
		return nil
	}
	return &s.trouble.tried
}

// spent is how many addresses of the current backend have failed.
func (s *session) spent() int {
	if s.trouble == nil {
		return 0
	}
	return s.trouble.spent
}

// because prefers the error of an attempt over err, that there is nothing left to
// attempt.
func (s *session) because(err error) error {
	if s.trouble != nil && s.trouble.last != nil {
		return s.trouble.last
	}
	return err
}

func (s *session) picked(b *balancer.Backend) {
	s.backend = b
	s.trial = b.ClaimTrial()
	if s.trouble != nil {
		s.trouble.spent = 0
	}
	s.show(b.Value().(*Target))
	if s.attempts++; s.attempts > 1 {
		s.listener.Retries.Add(1)
	}
}

// show notes where the session turns to: the next address of t.
func (s *session) show(t *Target) {
	addr := t.address(s.spent())
	s.meter.mu.Lock()
	s.target, s.addr = t, addr
	s.meter.mu.Unlock()
}

// endpoint is the address that is shown.
func (s *session) endpoint(d *Dialing) splice.Endpoint {
	t := s.target
	t.Dials.Add(1)
	ep := splice.Endpoint{
		Timeout: d.Timeout, Timeouts: &s.conf.Timeouts,
		Bandwidth: &s.listener.Bandwidth, Counters: &s.meter.live,
	}
	if t.Unix != "" {
		ep.Unix = t.Unix
		return ep
	}
	ep.Addr, ep.Source = s.addr, s.conf.Pool.source(d, s.addr.Addr())
	return ep
}

// failed accounts a failed attempt. It reports whether the same backend has
// another address to try; if not, the backend is given back.
func (s *session) failed(err error) (more bool) {
	if s.trouble == nil {
		s.trouble = &trouble{}
	}
	s.trouble.last = err
	s.blame(err)
	if s.trouble.spent++; s.trouble.spent < len(s.target.Addrs()) {
		return true
	}
	s.trouble.tried.Add(s.backend)
	s.endTrial(!splice.LocalError(err), err)
	s.backend.Release()
	s.backend = nil
	return false
}

// blame counts a failure that is the backend's fault, and tells people of the
// first in a row.
func (s *session) blame(err error) {
	if splice.LocalError(err) {
		return
	}
	s.target.DialFailures[causeOf(err)].Add(1)
	if s.target.Streaks.Failed(s.conf.Pool.limits.Load()) {
		s.tell(standing.ConnectsFail, "connects in a row failed: "+err.Error())
	}
	if !s.target.failing.Swap(true) {
		s.listener.log.Warn().Str("pool", s.conf.Pool.Name).Str("backend", s.target.Name).
			Str("backend_address", s.address()).Err(err).Msg("connect failed")
	}
}

// Connected implements splice.Connected.
func (s *session) Connected(took time.Duration) {
	t, p := s.target, s.conf.Pool
	if s.trouble != nil {
		s.trouble.over = time.Now()
	}
	if t.Streaks.Connected(took, p.limits.Load()) {
		s.tell(standing.ConnectsFail, "connects in a row failed or were slow: the last took "+took.String())
	}
	if s.trial != 0 {
		s.tell(standing.TrialConnected, "")
	}
	t.Sessions.Add(1)
	t.ConnectTime.Add(int64(took))
	p.Connect.Observe(took)
	s.meter.mu.Lock()
	s.connect, s.meter.connected = toMicros(took), true
	s.meter.mu.Unlock()
	if n := len(t.Addrs()); s.spent() > 0 && n > 0 {
		t.good.Store(uint32((int(t.good.Load()) + s.spent()) % n))
	}
	if t.failing.Load() {
		t.failing.Store(false)
	}
}

// Close implements splice.Session. The backend is given back before anything else,
// so that the next pick sees it.
func (s *session) Close(r splice.Result) {
	if limited(r.Err) {
		r.Reason = splice.ReasonLimit
	} else if r.Reason == splice.ReasonConnectFailed && s.attempts == 0 {
		r.Reason = splice.ReasonNoBackend
	}
	if s.backend != nil {
		s.backend.Release()
		s.learn(&r)
	}
	if s.counted || s.slot != 0 {
		s.listener.leave(pass{s.slot, s.counted})
	}
	s.letGo()
	v, l := s.visit, s.listener
	if v.target != nil {
		v.target.saw(r.Path)
	}
	if r.FirstByte > 0 {
		v.conf.Pool.FirstByte.Observe(r.FirstByte)
	}
	s.leave(r.Up, r.Down)
	l.Ended[r.Reason].Add(1)
	l.Duration.Observe(r.Duration)
	if v.conf.Access {
		v.logLine(&r)
	}
	l.roster.give(s)
}

// leave carries the rest of the bytes, of which there were so many in all, and makes
// the session ready for the next client.
func (s *session) leave(up, down uint64) {
	s.meter.mu.Lock()
	s.carry(up, down)
	s.visit = visit{}
	s.meter.reset()
	s.meter.mu.Unlock()
}

// logLine writes the session's one line; docs/operations.md explains its fields.
func (v *visit) logLine(r *splice.Result) {
	e := v.listener.log.Info().Str("listener", v.listener.Name).Str("pool", v.conf.Pool.Name)
	if v.target != nil {
		e.Str("backend", v.target.Name)
	} else {
		e.Str("backend", "")
	}
	if v.client.IsValid() {
		e.Str("client", v.client.Addr().String()).Int("client_port", int(v.client.Port()))
	} else {
		e.Str("client", "unix").Int("client_port", 0)
	}
	e.Str("backend_address", v.address()).
		Float64("duration", r.Duration.Seconds()).Float64("connect_time", v.connect.duration().Seconds()).
		Uint16("attempts", v.attempts).Uint64("bytes_up", r.Up).Uint64("bytes_down", r.Down).
		Str("reason", r.Reason.String())
	if r.Err != nil {
		e.Str("error", r.Err.Error())
	}
	e.Msg("session")
}

func (v *visit) address() string {
	if v.target == nil {
		return ""
	}
	return v.target.written(v.addr)
}
