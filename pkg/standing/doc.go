// Package standing works out which backends of a pool may have new sessions, and how many, from what the
// process learns while it runs.
//
//	probes   Health, Facts, Probed ─┐
//	traffic  Hear ──────────────────┤            Settle
//	people   SetMode, Release ──────┼─> Pool ───────────────> a Ruling for each backend
//	time     Next ──────────────────┘                          what has changed, and why
//
// A Ruling is a balancer.Standing with the reason, in words, why a backend gets nothing. Each rule is one file:
//
//	breaker.go   a backend that its own traffic finds broken gets nothing for a time, then one session at a time
//	fence.go     of several primaries only the one with the highest timeline is used, or none
//	failback.go  a backend whose work backups took over may have to wait for a person
//	slowstart.go a backend that comes back gets its full share only after a time
//
// Where rules disagree, the first of these that has an objection wins: a person's mode, the wish of an agent on
// the server, the breaker, its role, health, the fence, failback. None of them ever lets a backend in because the others
// are out as well.
//
// Streaks is the part that lies in the path of sessions: counters that tell when it is worth a word to Hear.
// All the rest is pure: no clock, no lock, no input or output. The caller passes the time, serialises the
// calls, and carries the rulings to the balancer.
package standing
