// Package healthcheck finds out which backends answer.
//
// The model has three parts, each usable without the others:
//
//	Prober     asks one address once and says up, down or unknown   tcp.go icmp.go
//	Threshold  turns consecutive verdicts into a state: rise, fall  threshold.go
//	Monitor    decides when each of many checks is probed           monitor.go queue.go
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
