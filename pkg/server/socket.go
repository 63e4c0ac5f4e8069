package server

import (
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/splice"
)

// timeouts are those of a listener's sessions.
func timeouts(c *config.Listener) splice.Timeouts {
	t := &c.Timeouts
	return splice.Timeouts{
		Idle: t.Idle, HalfClose: t.HalfClose, Stall: t.Stall,
		Lifetime:       t.MaxLifetime,
		LifetimeJitter: t.MaxLifetime / 100 * time.Duration(t.LifetimeJitter),
		Keepalive:      keepalive(c),
	}
}

// keepalive is that of both connections.
func keepalive(c *config.Listener) splice.Keepalive {
	return splice.Keepalive{
		Idle: c.Keepalive.Idle, Interval: c.Keepalive.Interval, Count: c.Keepalive.Count,
		UserTimeout: c.UserTimeout,
	}
}

// rates are what bounds the sessions, those that live included.
func rates(c *config.Listener) splice.Rates {
	l := &c.Limits
	return splice.Rates{
		Up: int64(l.BandwidthUp), Down: int64(l.BandwidthDown),
		SessionUp: int64(l.ConnectionBandwidthUp), SessionDown: int64(l.ConnectionBandwidthDown),
	}
}

// tune gives what a listener has bound its keepalive, for clients from now on.
func (s *Server) tune(l *listener) {
	for _, b := range l.bound {
		if err := b.SetKeepalive(keepalive(l.cfg)); err != nil && !s.stopping.Load() {
			s.log.Error().Str("listener", l.cfg.Name).Str("address", b.address()).Err(err).Msg("keepalive not changed")
		}
	}
}
