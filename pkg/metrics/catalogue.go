package metrics

import (
	"time"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/splice"
	dto "github.com/prometheus/client_model/go"
)

const (
	counters = dto.MetricType_COUNTER
	gauges   = dto.MetricType_GAUGE
)

var directions = []string{"up", "down"}

// direction picks the count of directions[i].
func direction(i int, up, down uint64) float64 {
	if i == 0 {
		return float64(up)
	}
	return float64(down)
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// timestamp is t as Prometheus has times: seconds since 1970.
func timestamp(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// words are the names of a fixed list of n.
func words[T ~uint8](n int, name func(T) string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = name(T(i))
	}
	return all
}

// process has no labels.
var process = []family[server.Snapshot]{
	gauge("stopping", "1 from the moment the server was asked to stop, else 0.",
		func(s *server.Snapshot) float64 { return one(s.Stopping) }),
	gauge("sessions_active", "Sessions that live now, in all listeners.",
		func(s *server.Snapshot) float64 { return float64(s.Sessions) }),
	gauge("max_connections", "Sessions for which there are file descriptors, where that is known.",
		func(s *server.Snapshot) float64 { return float64(s.Limit) }).
		only(func(s *server.Snapshot) bool { return s.Limit > 0 }),
	gauge("sources_known", "Sources whose sessions are counted, or were, where a listener has limits for sources.",
		func(s *server.Snapshot) float64 { return float64(s.Sources.Entries) }).only(hasSources),
	gauge("sources_limit", "Most sources that can be known.",
		func(s *server.Snapshot) float64 { return float64(s.Sources.Limit) }).only(hasSources),
	counter("sources_forgotten_total", "Sources without sessions that gave their place to others.",
		func(s *server.Snapshot) float64 { return float64(s.Sources.Forgotten) }).only(hasSources),
}

func hasSources(s *server.Snapshot) bool { return s.Sources.Limit > 0 }

// listeners are labelled listener.
var listeners = []family[server.ListenerSnapshot]{
	gauge("listener_listening", "0 while clients are refused because the pool is down (when_down = \"unlisten\"), else 1.",
		func(l *server.ListenerSnapshot) float64 { return one(!l.Shut) }).
		only(func(l *server.ListenerSnapshot) bool { return !l.Removed }),
	counter("listener_admitted_total", "Clients admitted.",
		func(l *server.ListenerSnapshot) float64 { return float64(l.Sessions) }),
	gauge("listener_sessions_active", "Sessions that live now.",
		func(l *server.ListenerSnapshot) float64 { return float64(l.Active) }),
	gauge("listener_max_connections", "Sessions allowed at one time, where there is a limit.",
		func(l *server.ListenerSnapshot) float64 { return float64(l.Limit) }).
		only(func(l *server.ListenerSnapshot) bool { return l.Limit > 0 }),
	countsPer("listener_sessions_total", "Ended sessions by why they ended.", "reason", words(splice.NumReasons, splice.Reason.String),
		func(l *server.ListenerSnapshot) []uint64 { return l.Ended[:] }),
	histogram("listener_session_duration_seconds", "How long ended sessions lived.", -10, 17,
		func(l *server.ListenerSnapshot) *server.Durations { return &l.Duration }),
	per(counters, "listener_bytes_total", "Bytes moved, those of live sessions included: up is from clients to backends.", "direction", directions,
		func(l *server.ListenerSnapshot, i int) float64 { return direction(i, l.Up, l.Down) }),
	counter("listener_retries_total", "Backends tried after the first one of a session.",
		func(l *server.ListenerSnapshot) float64 { return float64(l.Retries) }),
	countsPer("listener_refused_total", "Clients that an access list or a limit reset.", "reason", words(server.NumRefusals, server.Refusal.String),
		func(l *server.ListenerSnapshot) []uint64 { return l.Refused[:] }).only(isWatched),
	countsPer("listener_refused_dry_run_total", "Clients that an access list or a limit would have reset or held, but for dry_run.", "reason", words(server.NumRefusals, server.Refusal.String),
		func(l *server.ListenerSnapshot) []uint64 { return l.DryRun[:] }).only(isWatched),
	countsPer("listener_delayed_total", "Clients that were held, by the limit that they met first.", "reason", words(server.NumRefusals, server.Refusal.String),
		func(l *server.ListenerSnapshot) []uint64 { return l.Delayed[:] }).only(isWatched),
	gauge("listener_held", "Clients that wait, unread, for a limit of the listener.",
		func(l *server.ListenerSnapshot) float64 { return float64(l.Held) }).only(isWatched),
}

func isWatched(l *server.ListenerSnapshot) bool { return l.Limited }

// pools are labelled pool. What they count includes backends that were removed.
var pools = []family[server.PoolSnapshot]{
	gauge("pool_backends", "Backends configured.",
		func(p *server.PoolSnapshot) float64 { return float64(len(p.Backends)) }).only(poolIsConfigured),
	gauge("pool_backends_usable", "Backends that may get new sessions.",
		func(p *server.PoolSnapshot) float64 { return float64(p.Usable) }).only(poolIsConfigured),
	gauge("pool_quorum", "Usable backends below which the pool is not ready.",
		func(p *server.PoolSnapshot) float64 { return float64(p.Quorum) }).only(poolIsConfigured),
	gauge("pool_split", "1 while several backends claim to be the primary, else 0.",
		func(p *server.PoolSnapshot) float64 { return one(p.Split != "") }).only(poolIsConfigured),
	gauge("pool_split_refusing", "1 while none of several that claim to be the primary is used, else 0.",
		func(p *server.PoolSnapshot) float64 { return one(p.Refusing) }).only(poolIsConfigured),
	gauge("pool_held", "Clients that wait, unread, for a backend that is below its rate.",
		func(p *server.PoolSnapshot) float64 { return float64(p.Held) }).only(isPaced),
	gauge("pool_sessions_active", "Sessions that use its backends now, removed ones and those that still connect included.", activeOfPool),
	counter("pool_sessions_total", "Sessions connected to a backend, removed ones included.",
		func(p *server.PoolSnapshot) float64 { return float64(p.Connect.Count()) }),
	histogram("pool_connect_duration_seconds", "How long successful attempts to connect took.", -13, 5,
		func(p *server.PoolSnapshot) *server.Durations { return &p.Connect }),
	histogram("pool_first_byte_duration_seconds", "How long backends took to their first byte, of ended sessions: from the client's first byte on, or from the connect if the backend spoke first.", -13, 7,
		func(p *server.PoolSnapshot) *server.Durations { return &p.FirstByte }),
	per(counters, "pool_bytes_total", "Bytes moved, those of live sessions and removed backends included.", "direction", directions,
		func(p *server.PoolSnapshot, i int) float64 { return direction(i, p.Up, p.Down) }),
}

// backends are labelled pool and backend.
var backends = []family[server.BackendSnapshot]{
	gauge("backend_up", "1 if its health is up (without probes it always is), else 0.",
		func(b *server.BackendSnapshot) float64 { return one(b.Health == balancer.Up) }).only(isConfigured),
	gauge("backend_usable", "1 if it may get new sessions, by all that speaks against it, else 0.",
		func(b *server.BackendSnapshot) float64 { return one(b.Usable) }).only(isConfigured),
	state("backend_health", "1 for the health that it has, 0 for the others.", "health", words(int(balancer.Down)+1, balancer.Health.String),
		func(b *server.BackendSnapshot) int { return int(b.Health) }).only(isConfigured),
	state("backend_mode", "1 for the mode that it is in, 0 for the others. One that was removed is shown until its last session has ended.", "mode", append(words(int(balancer.Maintenance)+1, balancer.Mode.String), "removed"),
		mode),
	gauge("backend_weight", "Share of new sessions relative to the others; 0 = none.",
		func(b *server.BackendSnapshot) float64 { return float64(b.Weight) }).only(isConfigured),
	gauge("backend_effective_weight", "The same as it is now: less in a slow start, or where a probe says so.",
		func(b *server.BackendSnapshot) float64 { return float64(b.EffectiveWeight()) / 100 }).only(isConfigured),
	state("backend_breaker_state", "1 for the state that its breaker is in, 0 for the others.", "state", words(server.NumBreakerStates, server.BreakerState.String),
		func(b *server.BackendSnapshot) int { return int(b.Ruling.Breaker) }).only(isConfigured),
	counter("backend_ejections_total", "Times that its breaker opened.",
		func(b *server.BackendSnapshot) float64 { return float64(b.Ruling.Ejections) }).only(isConfigured),
	gauge("backend_held", "1 while it recovered and waits for a person (failback = \"manual\"), else 0.",
		func(b *server.BackendSnapshot) float64 { return one(b.Ruling.Held) }).only(isConfigured),
	state("backend_role", "1 for the role that it told last, 0 for the other.", "role", []string{"primary", "replica"},
		func(b *server.BackendSnapshot) int { return int(b.Ruling.Facts.Role) - 1 }).only(hasRole),
	gauge("backend_wrong_role", "1 while it is out because the pool wants the other role, else 0.",
		func(b *server.BackendSnapshot) float64 { return one(b.Ruling.WrongRole()) }).only(hasRole),
	gauge("backend_timeline", "Its timeline (PostgreSQL); each promotion begins a higher one.",
		func(b *server.BackendSnapshot) float64 { return float64(b.Ruling.Facts.Timeline) }).
		only(func(b *server.BackendSnapshot) bool { return b.Ruling.Facts.Timeline > 0 }),
	gauge("backend_lag_bytes", "How far the replica is behind, in bytes of the log.",
		func(b *server.BackendSnapshot) float64 { return float64(b.Ruling.Facts.Lag.Bytes) }).
		only(func(b *server.BackendSnapshot) bool { return b.Ruling.Facts.HasLag && b.Ruling.Facts.Lag.Bytes >= 0 }),
	gauge("backend_lag_seconds", "How far the replica is behind, in time.",
		func(b *server.BackendSnapshot) float64 { return b.Ruling.Facts.Lag.Time.Seconds() }).
		only(func(b *server.BackendSnapshot) bool { return b.Ruling.Facts.HasLag && b.Ruling.Facts.Lag.Time >= 0 }),
	gauge("backend_max_connections", "Sessions allowed at one time, where there is a limit.",
		func(b *server.BackendSnapshot) float64 { return float64(b.MaxConnections) }).only(isLimited),
	gauge("backend_sessions_active", "Sessions that use it now, those that still connect included.",
		func(b *server.BackendSnapshot) float64 { return float64(b.Active) }),
	counter("backend_sessions_total", "Sessions connected to it.",
		func(b *server.BackendSnapshot) float64 { return float64(b.Sessions) }),
	counter("backend_dials_total", "Attempts to connect.",
		func(b *server.BackendSnapshot) float64 { return float64(b.Dials) }),
	countsPer("backend_dial_failures_total", "Attempts to connect that failed by the fault of the backend or the way to it.", "cause", words(server.NumCauses, server.Cause.String),
		func(b *server.BackendSnapshot) []uint64 { return b.DialFailedBy[:] }),
	summary("backend_connect_duration_seconds", "How long successful attempts to connect took: sum and count, without quantiles.",
		func(b *server.BackendSnapshot) (uint64, time.Duration) { return b.Sessions, b.ConnectTime }),
	per(counters, "backend_bytes_total", "Bytes moved, those of live sessions included: up is to the backend.", "direction", directions,
		func(b *server.BackendSnapshot, i int) float64 { return direction(i, b.Up, b.Down) }),
	summary("backend_tcp_rtt_seconds", "Smoothed round-trip time as sessions ended, of those that were looked at (all below 100 a second and loop, else a sample): sum and count, without quantiles.",
		func(b *server.BackendSnapshot) (uint64, time.Duration) { return b.PathsSeen, b.RTT }),
	counter("backend_tcp_retransmits_total", "Segments sent again to it, by the sessions that limeload_backend_tcp_rtt_seconds counts.",
		func(b *server.BackendSnapshot) float64 { return float64(b.Retransmits) }),
	countsPer("backend_probes_total", "Probes by their verdict; unknown is a probe that could not run.", "verdict", words(healthcheck.NumVerdicts, healthcheck.Verdict.String),
		func(b *server.BackendSnapshot) []uint64 { return b.Probes[:] }).only(isProbed),
	gauge("backend_probe_success", "1 if the last probe came out up, else 0.",
		func(b *server.BackendSnapshot) float64 {
			return one(b.Check.Last.Verdict == healthcheck.Up || b.Check.Last.Verdict == healthcheck.Degraded)
		}).only(wasProbed),
	gauge("backend_probe_duration_seconds", "How long the last probe took.",
		func(b *server.BackendSnapshot) float64 { return b.Check.Last.Took.Seconds() }).only(wasProbed),
	counter("backend_health_changes_total", "Changes of health, the first one from unchecked included.",
		func(b *server.BackendSnapshot) float64 { return float64(b.HealthChanges) }).only(isProbed),
	gauge("backend_health_change_timestamp_seconds", "When its health became what it is.",
		func(b *server.BackendSnapshot) float64 { return timestamp(b.Check.Since) }).only(isProbed),
}

// mode is the number of a backend's word in backend_mode.
func mode(b *server.BackendSnapshot) int {
	if b.Removed {
		return int(balancer.Maintenance) + 1
	}
	return int(b.Mode)
}

// activeOfPool are the sessions of all backends of a pool.
func activeOfPool(p *server.PoolSnapshot) float64 {
	n := int64(0)
	for i := range p.Backends {
		n += p.Backends[i].Active
	}
	for i := range p.Leaving {
		n += p.Leaving[i].Active
	}
	return float64(n)
}

// What was removed keeps its counts until its last session has ended; there is
// nothing else to tell of it.
func isConfigured(b *server.BackendSnapshot) bool  { return !b.Removed }
func isPaced(p *server.PoolSnapshot) bool          { return p.Paced }
func poolIsConfigured(p *server.PoolSnapshot) bool { return !p.Removed }

func isLimited(b *server.BackendSnapshot) bool { return b.MaxConnections > 0 }
func isProbed(b *server.BackendSnapshot) bool  { return b.Check.ID != "" }
func hasRole(b *server.BackendSnapshot) bool   { return b.Ruling.Facts.Role != healthcheck.RoleUnknown }
func wasProbed(b *server.BackendSnapshot) bool { return !b.Check.LastAt.IsZero() }

// loops are labelled loop: the number of one of the engine's event loops.
var loops = []family[splice.LoopStats]{
	gauge("loop_sessions_active", "Sessions that live on it now, those that still connect included.",
		func(l *splice.LoopStats) float64 { return float64(l.Sessions) }),
	counter("loop_accepted_total", "Clients accepted.",
		func(l *splice.LoopStats) float64 { return float64(l.Accepted) }),
	counter("loop_events_total", "Readiness events handled.",
		func(l *splice.LoopStats) float64 { return float64(l.Events) }),
	counter("loop_wakeups_total", "Returns from the wait for events.",
		func(l *splice.LoopStats) float64 { return float64(l.Wakeups) }),
	per(counters, "loop_bytes_total", "Bytes moved through the loop's buffer (copy), or in the kernel through pipes (splice).", "path", []string{"copy", "splice"},
		func(l *splice.LoopStats, i int) float64 {
			return [...]float64{float64(l.CopyBytes), float64(l.SpliceBytes)}[i]
		}),
	per(gauges, "loop_pipes", "Pipes that hold bytes (busy), and empty ones kept for reuse (idle).", "state", []string{"busy", "idle"},
		func(l *splice.LoopStats, i int) float64 {
			return [...]float64{float64(l.PipesInUse), float64(l.PipesPooled)}[i]
		}),
	counter("loop_accept_pauses_total", "Times that accepting paused because the process or the machine was out of a resource.",
		func(l *splice.LoopStats) float64 { return float64(l.AcceptPauses) }),
}
