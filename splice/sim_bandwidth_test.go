//go:build linux && simkernel

package splice

import "time"

// measure holds what passes through a lane against its rate, in every window of time: it
// is a vessel with a leak of that rate, into which no more must come than it holds.
type measure struct {
	rate  int64
	empty time.Duration // when it is
}

// level is what is in it, in bytes.
func (m *measure) level(now time.Duration) int { return worth(int64(max(m.empty-now, 0)), m.rate) }

// setBandwidth changes the bounds, if there are any, for sessions that live too.
func (w *world) setBandwidth() {
	if w.bandwidth == nil {
		return
	}
	rate := func() int64 { // none, or slow, or hardly slower than what comes in
		return int64(w.below(3) * w.unit * oneOf(w.dice, 10, 100, 1000))
	}
	r := Rates{Up: rate(), Down: rate(), SessionUp: rate(), SessionDown: rate()}
	w.log("bandwidth: %+v", r)
	w.bandwidth.Set(r)
	w.measured = [2]measure{{rate: r.Up}, {rate: r.Down}}
	for _, s := range w.sessions {
		s.measure()
	}
}

// measure begins to measure the session.
func (s *simSession) measure() {
	if s.w.bandwidth == nil {
		return
	}
	r := s.w.bandwidth.Rates()
	s.measured = [2]measure{{rate: r.SessionUp}, {rate: r.SessionDown}}
}

// checkBandwidth: in no time t is more than rate x t + burst read, by a session and by all
// of them together. What is read is what counts: a sink that takes nothing for a while may
// then take at once what was read before.
func (w *world) checkBandwidth() {
	if w.bandwidth == nil {
		return
	}
	now := w.k.Now()
	for _, s := range w.sessions {
		for d := range s.read {
			n := s.readSince(side(d))
			if s.endpoint.Bandwidth == nil {
				continue
			}
			if m := &s.measured[d]; !m.holds(n, now, 1) {
				s.fail("of flow %d %d bytes were read beyond %d/s; want a burst at most", d, m.level(now), m.rate)
			}
			if m := &w.measured[d]; !m.holds(n, now, w.opened) {
				s.fail("of all flows %d %d bytes were read beyond %d/s; want a burst at most", d, m.level(now), m.rate)
			}
		}
	}
}

// readSince is how much of what a flow's source sent was read since the last time. When
// one side breaks, what is queued is lost, or read to be thrown away: that passes not.
func (s *simSession) readSince(d side) int {
	if s.backend == nil || s.client.broke || s.backend.broke {
		return 0
	}
	from := s.client
	if d == down {
		from = s.backend
	}
	was := s.read[d]
	s.read[d] = from.sent - from.conn.Queued()
	return s.read[d] - was
}

// holds adds n bytes, and reports whether the bound allows them. To each flow it allows
// a turn more: one that came while the loop was away, as it is when time passes here.
func (m *measure) holds(n int, now time.Duration, flows int) bool {
	if n == 0 || m.rate == 0 {
		return true
	}
	m.empty = max(m.empty, now) + time.Duration(cost(n, m.rate))
	return m.empty-now <= time.Duration(window(m.rate)+int64(flows)*cost(turn(m.rate)+1, m.rate))
}
