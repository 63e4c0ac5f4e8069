// Package soak is one long test of a whole server under mixed traffic.
//
//	clients ──▶ limeload (pkg/server) ──▶ backends
//	   │            │  ▲                     │
//	   │      log lines │ reloads, drains,   │ stops, crashes
//	   ▼            ▼  │ kills               ▼
//	   └────────▶ ledger ◀── unrest ─────────┘
//
// Every session is a script, drawn from the seed and the session's number alone:
// how much each end sends, in which pieces, where it pauses, when it stalls in
// reading, and how it ends. The client tells its number in its first bytes, so both
// ends follow the same script and know every byte that has to come: they compare as
// they read, which says of each stream at once what a hash would say at its end.
// A client's address is made of its number too; by it the ledger finds the session
// of each line in limeload's log.
//
// Meanwhile unrest stops and crashes backends, reloads, drains and kills. When both
// ends and the log line of a session are in, the ledger judges it: a stream that is
// not whole needs a cause, which is a cut that the script had planned, or something
// that unrest did to that session's backend while the session lived, or a reason in
// the log line that only unrest or the listener's timeouts explain. What was not
// meant to be is a failure, told with the seed, the script and the log line.
//
// Traffic pauses twice, after a warm-up and at the end. Each time everything has to
// come back to where it was: descriptors, pipes, goroutines, permits, the backends'
// active counts; and limeload's totals have to be the sums of its log lines. The
// heap has to be at the end about what it was after the warm-up.
//
// The seed repeats scripts and the order of what unrest does. How they interleave is
// up to the machine, and nothing here depends on how fast it is: times are only ever
// waited for, with a patience that a healthy server never needs.
package soak
