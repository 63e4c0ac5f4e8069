// Package healthcheck finds out which backends answer.
//
// The model has three parts, each usable without the others:
//
//	Prober     asks one address once and says up, down or unknown   one file each, below
//	Threshold  turns consecutive verdicts into a state: rise, fall  threshold.go
//	Monitor    decides when each of many checks is probed           monitor.go queue.go
//
// The probers, from those that know least of the server to those that know most:
//
//	tcp.go icmp.go                    it answers
//	tls.go http.go send_expect.go     it speaks its protocol, and says what is expected
//	exec.go agent.go                  somebody else knows, here or on the server
//	postgres.go mysql.go redis.go     it lets us in, and has the role that is wanted
//	all.go expiry.go                  several of them; and who warns of certificates
//
// Those that hold a conversation share its connection, its phases and its bounds:
// exchange.go.
//
// A verdict of unknown means that the prober itself could not run (no
// permission, no file descriptor left): it says nothing about the backend,
// changes no state and resets no count, but it is reported like any other.
//
// A check lives through these states; the first known verdict decides at once:
//
//	              up                 fall x down
//	unchecked ----------> up ------------------------> down
//	    |                    <------------------------  ^
//	    |                           rise x up           |
//	    +-----------------------------------------------+
//	                           down
//
// The package keeps no log and resolves no name: results leave through
// callbacks, addresses come in through a function that the caller keeps up to
// date. It does not know pools, balancing or configuration files.
package healthcheck
