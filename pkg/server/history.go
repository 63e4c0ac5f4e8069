package server

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/limeload/limeload/pkg/proxy"
)

// HistoryStep is the time from one point of a History to the next, and HistoryPoints is
// how many are kept.
const (
	HistoryStep   = 5 * time.Second
	HistoryPoints = 120
)

// History is what listeners and backends did in the last ten minutes: the points of
// each series are a HistoryStep apart, oldest first, and all series end at End. A series
// of something that is younger begins with zeros.
type History struct {
	End       time.Time // of the newest point; the zero value before the first one
	Points    int       // of every series, 0..HistoryPoints
	Listeners []ListenerHistory
	Pools     []PoolHistory
}

// ListenerHistory is one listener's part of a History.
type ListenerHistory struct {
	Name     string
	Active   []float32 // live sessions, at the end of the step
	Sessions []float32 // that began in the step
	Up, Down []float32 // bytes in the step
	Refused  []float32 // clients that an access list or a limit reset in the step
}

// PoolHistory is one pool's part of a History.
type PoolHistory struct {
	Name     string
	Backends []BackendHistory
}

// BackendHistory is one backend's part of a History.
type BackendHistory struct {
	Name     string
	Active   []float32 // live sessions and dials under way, at the end of the step
	Sessions []float32 // connected in the step
	Failures []float32 // attempts in the step that failed by its fault
	Up, Down []float32 // bytes in the step
	Connect  []float32 // milliseconds that its connects took in the step, on average; NaN without one
}

// history keeps the points of what runs, for each backend and listener in a ring of its
// own. It takes at most 3 kB for each backend and 2.5 kB for each listener, so 30 MB for
// 10 000 busy backends; and a tenth of a kB for one that did nothing since it is known,
// as a column that has only zeros has no memory. What was removed is forgotten at the
// first point after its last session has ended.
//
// The zero value is empty.
type history struct {
	mu     sync.Mutex
	ticks  int       // points so far
	end    time.Time // of the last one
	series map[any]*series
}

// The columns of a series; a listener has no colConnect.
const (
	colActive = iota
	colSessions
	colUp
	colDown
	colFailures // of a listener, clients that were refused
	colConnect
	columns
)

// series is what is kept of one *proxy.Target or *proxy.Listener.
type series struct {
	last reading
	ring [columns]*[HistoryPoints]float32 // point n is at n % HistoryPoints; nil = zeros
}

// reading is what counters say at one moment.
type reading struct {
	active                     int64
	sessions, up, down, failed uint64
	connect                    int64 // nanoseconds
}

// plus is r after the counters of other were absorbed.
func (r reading) plus(other reading) reading {
	r.sessions += other.sessions
	r.up += other.up
	r.down += other.down
	r.failed += other.failed
	r.connect += other.connect
	return r
}

// recordHistory takes a point at each step until the server ends.
func (s *Server) recordHistory() {
	ticker := time.NewTicker(HistoryStep)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			s.recordPoint(now)
		case <-s.ctx.Done():
			return
		}
	}
}

// recordPoint takes a point of all that runs, and of all that is leaving: it may come
// back, and what it counted until then is not of one step. Nothing is bequeathed meanwhile.
func (s *Server) recordPoint(now time.Time) {
	s.leaving.mu.Lock()
	defer s.leaving.mu.Unlock()
	s.history.record(now, s.readings())
}

// readings are the counters of all that runs or is leaving. needs leaving.mu.
func (s *Server) readings() map[any]reading {
	st := s.state.Load()
	now := map[any]reading{}
	for _, l := range s.allListeners(st) {
		l.front.Settle()
		now[l.front] = readListener(l.front)
	}
	pools := slices.Clone(st.pools)
	for _, p := range s.leaving.pools {
		pools = append(pools, p.pool)
	}
	for _, p := range pools {
		for _, row := range p.balancer.Backends() {
			t := row.Value.(*proxy.Target)
			now[t] = readTarget(t, row.Active)
		}
	}
	for _, b := range s.leaving.backends {
		now[b.target()] = readTarget(b.target(), b.backend.Active())
	}
	return now
}

func readListener(f *proxy.Listener) reading {
	r := reading{active: int64(f.Gate.Used()), sessions: f.Sessions.Load(), up: f.Up.Load(), down: f.Down.Load()}
	for i := range f.Refused {
		r.failed += f.Refused[i].Load()
	}
	return r
}

func readTarget(t *proxy.Target, active int64) reading {
	r := reading{
		active: active, sessions: t.Sessions.Load(), up: t.Up.Load(), down: t.Down.Load(),
		connect: t.ConnectTime.Load(),
	}
	for i := range t.DialFailures {
		r.failed += t.DialFailures[i].Load()
	}
	return r
}

// bequeath has heir, which absorbs the counters of from, not show them as one step: what
// was in the points of from is in no other's.
func (h *history) bequeath(heir, from any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	gone := h.series[from]
	if gone == nil {
		return
	}
	to := h.series[heir]
	if to == nil {
		to = &series{}
		h.series[heir] = to
	}
	to.last = to.last.plus(gone.last)
}

// record takes a point at time end.
func (h *history) record(end time.Time, now map[any]reading) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end = end
	next := make(map[any]*series, len(now))
	for who, r := range now {
		one := h.series[who]
		if one == nil {
			one = &series{}
		}
		one.put(h.ticks, r)
		next[who] = one
	}
	h.series = next
	h.ticks++
}

// put takes point n.
func (s *series) put(n int, r reading) {
	was := s.last
	s.last = r
	for c, v := range [columns]float32{
		colActive:   float32(r.active),
		colSessions: float32(r.sessions - was.sessions),
		colUp:       float32(r.up - was.up),
		colDown:     float32(r.down - was.down),
		colFailures: float32(r.failed - was.failed),
		colConnect:  float32(float64(r.connect-was.connect) / 1e6), // of all connects together, as yet
	} {
		if s.ring[c] == nil && v == 0 {
			continue
		}
		if s.ring[c] == nil {
			s.ring[c] = new([HistoryPoints]float32)
		}
		s.ring[c][n%HistoryPoints] = v
	}
}

// column copies out the points of a column up to the latest one, which is the one before
// ticks.
func (s *series) column(c, ticks int) []float32 {
	out := make([]float32, min(ticks, HistoryPoints))
	if s == nil || s.ring[c] == nil {
		return out
	}
	first := ticks - len(out)
	for i := range out {
		out[i] = s.ring[c][(first+i)%HistoryPoints]
	}
	return out
}

// means are the milliseconds of the connects of each step, on average.
func (s *series) means(ticks int) []float32 {
	out, n := s.column(colConnect, ticks), s.column(colSessions, ticks)
	for i := range out {
		if n[i] == 0 {
			out[i] = float32(math.NaN())
			continue
		}
		out[i] /= n[i]
	}
	return out
}

// History copies out the points, of all pools or of the one of that name, and of the
// listeners that lead to them. The error is ErrUnknown.
func (s *Server) History(pool string) (History, error) {
	return s.pastOf(pool, true)
}

// ListenerHistories is History without its pools.
func (s *Server) ListenerHistories(pool string) (History, error) {
	return s.pastOf(pool, false)
}

func (s *Server) pastOf(pool string, backends bool) (History, error) {
	st, h := s.state.Load(), &s.history
	if pool != "" && st.pool(pool) == nil {
		return History{}, fmt.Errorf("pool %q: %w", pool, ErrUnknown)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	out := History{End: h.end, Points: min(h.ticks, HistoryPoints)}
	for _, l := range st.listeners {
		if pool == "" || l.cfg.Pool == pool {
			out.Listeners = append(out.Listeners, h.listener(l))
		}
	}
	for _, p := range st.pools {
		if backends && (pool == "" || p.cfg.Name == pool) {
			out.Pools = append(out.Pools, h.pool(p))
		}
	}
	return out, nil
}

func (h *history) listener(l *listener) ListenerHistory {
	one := h.series[l.front]
	return ListenerHistory{
		Name: l.cfg.Name, Active: one.column(colActive, h.ticks), Sessions: one.column(colSessions, h.ticks),
		Up: one.column(colUp, h.ticks), Down: one.column(colDown, h.ticks), Refused: one.column(colFailures, h.ticks),
	}
}

func (h *history) pool(p *pool) PoolHistory {
	out := PoolHistory{Name: p.cfg.Name}
	for _, row := range p.balancer.Backends() {
		one := h.series[row.Value]
		out.Backends = append(out.Backends, BackendHistory{
			Name: row.Name, Active: one.column(colActive, h.ticks), Sessions: one.column(colSessions, h.ticks),
			Failures: one.column(colFailures, h.ticks), Connect: one.means(h.ticks),
			Up: one.column(colUp, h.ticks), Down: one.column(colDown, h.ticks),
		})
	}
	return out
}
