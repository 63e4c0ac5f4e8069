// Package proxy is the path of one connection above the sockets: it admits a
// client, picks a backend, hears how the session ended, and accounts for it.
//
//	splice                      proxy                        balancer
//	Handler.Open(peer)  ----->  Listener.Open: Admission, a session
//	Session.Dial(nil)   ----->  session.Dial      ----->     Pool.Acquire   active++
//	   (connect fails)
//	Session.Dial(err)   ----->  count, next one   ----->     Release, Acquire
//	Session.Connected   ----->  count
//	Session.Close(res)  ----->  count, log line   ----->     Release        active--
//
// A Pool is a balancer's pool with what dialing needs; a Target is what the pool
// knows about one backend beyond balancing: its addresses and its counters, which
// live as long as the backend keeps its name and address. Counters are atomics
// that a snapshot copies out; nothing here knows how they are shown. The engine counts
// bytes per session; Listener.Settle carries those of live sessions to the totals.
//
// What a listener asks of a client is its Admission (admit.go): an access list and
// limits. Who does not fit is refused by Open, or held: then Dial answers how long to
// wait. What a pool's backends may get is asked where one is picked (pick.go).
//
// Everything runs on the engine's threads and never blocks: the logger must write
// asynchronously.
package proxy
