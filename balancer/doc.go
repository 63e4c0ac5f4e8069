// Package balancer picks a backend for each session and counts the sessions that each backend has.
//
//	            configuration          probes        people
//	            New, Apply, SetWeight  SetHealth     SetMode          one lock, rare
//	                   │                   │            │
//	                   └───────────┬───────┴────────────┘
//	                               v  build, swap one pointer
//	table, immutable   ┌─ tiers ─────────────────────────┐
//	                   │ 0 primaries, up        a b c d  │      the first tier with a usable
//	                   │ 1 primaries, unchecked e        │      backend serves
//	                   │ 2 backups, up          x        │
//	                   │ 3 backups, unchecked   y        │
//	                   └───────────┬─────────────────────┘
//	                               v  chain: propose, propose, ..., choose
//	Acquire ─────────────> Backend.active++ ──── session ────> Release: active--      no lock, often
//
// A pick reads one table. Whatever decides in advance whether a backend may have sessions (health, mode,
// weight, role) decided where it stands in the table; what changes with every session (is it full, has this
// session failed on it) is asked during the pick. A backend that passes both is usable. Counts live in the
// Backend and not in the table, so they survive every swap, and a Backend lives as long as its name and
// address stay configured.
//
// A chain of algorithms works in one tier at a time. Each algorithm but the last proposes one backend as if
// all were free; the first proposal that is usable is taken. The last algorithm chooses among the usable
// ones. Each is one file:
//
//	least-connections  leastconn.go   the least (active+1)/weight, exactly: a scan of the tier
//	ip-hash            iphash.go      the same backend for the same address: maglev.go, siphash.go
//	round-robin        roundrobin.go  by weight, smoothly: a turn of a precomputed schedule
//	random-two         random.go      the less loaded of two draws by weight
//	first              first.go       in order, each filled to its limit
//
// What holds under any concurrency: active never passes the limit of the table that the pick read; a pick
// takes no lock and allocates nothing; a pick that began before a change may still follow the table of
// before it.
//
// The package does no input or output, has no clock and starts no goroutine. It does not know what probes,
// dials or sessions are: its owner says what it learned, and calls Release exactly once for each Acquire.
package balancer
