// Package testserver starts real servers for tests: PostgreSQL, MariaDB and Redis as
// they are installed on the machine, each on a free port of 127.0.0.1, with a
// directory of its own that is gone afterwards.
//
//	StartPostgres(t) ── StartReplica ── Promote, Demote ── Kill, Stop, Restart ── end of t
//	StartMariaDB(t) ─── StartReplica ── SQL ───────────── Kill, Restart ───────── end of t
//	StartRedis(t) ───── StartReplica ── Do ────────────── Kill, Restart ───────── end of t
//	StartEcho(t, ...) ─ Address ─ Close ───────────────────────────────────────── end of t
//
// A server belongs to the test that started it: it is ready when Start returns and
// stopped when that test ends, its subtests included. What it wrote is shown if the
// test failed. Where a server is not installed the test is skipped, or fails if the
// environment says CI=true: what CI skips, nobody runs.
//
// Servers are tuned for speed: nothing that they store survives the machine's crash.
//
// An Echo is no program but a goroutine of the test, for where any server will do.
//
// The package is for tests alone, and but for Echo for Linux: servers die with the test
// binary (PR_SET_PDEATHSIG), and a server's processes are found in /proc.
package testserver
