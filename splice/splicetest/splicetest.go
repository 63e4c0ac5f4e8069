// Package splicetest is the conformance suite of splice.Engine. It runs over real
// sockets of the loopback device and reads as the specification of what an engine
// promises: the names of the subtests are the sentences, the files its chapters.
//
//	relay.go       bytes, ends and resets of a connected session
//	dial.go        connecting, retries, and clients that leave meanwhile
//	timeout.go     idle, half-close, stall, lifetime
//	closing.go     sides that ended, and left bytes to one that takes none
//	bandwidth.go   bounds of bytes per second
//	network.go     peers that are gone without a word
//	gate.go        limits
//	ending.go      Kill and Shutdown
//	listener.go    Close, Suspend, addresses
//	inherited.go   sockets that somebody else made
//	alive.go       Alive
//	resource.go    descriptors, goroutines, pipes
//	history.go     long seeded random histories
//
// A rig is an engine, a listener and a backend; every session that it admits is a
// recorder, which checks on each call, in whatever test, that the engine keeps the
// protocol of splice.Session. When a test ends the rig checks that all sessions had
// their Close and that every permit is back.
//
// No test sleeps to let something happen: it waits for the condition, for as long
// as patience, and fails then.
package splicetest

import (
	"testing"

	"github.com/limeload/limeload/splice"
)

// suite is what the tests have in common.
type suite struct {
	newEngine func(*testing.T, splice.Options) splice.Engine
}

// test is one sentence of the specification.
type test struct {
	name string
	run  func(suite, *testing.T)
}

// Run runs the suite over the engines that newEngine makes. The suite shuts them
// down. It measures descriptors and goroutines of the whole process in some tests,
// so nothing else may run beside it.
func Run(t *testing.T, newEngine func(t *testing.T, o splice.Options) splice.Engine) {
	s := suite{newEngine: newEngine}
	t.Run("resources", func(t *testing.T) { s.inTurn(t, resourceTests) })
	for _, chapter := range []struct {
		name  string
		tests []test
	}{
		{"relay", relayTests},
		{"dial", dialTests},
		{"timeout", timeoutTests},
		{"closing", closingTests},
		{"bandwidth", bandwidthTests},
		{"network", networkTests},
		{"gate", gateTests},
		{"ending", endingTests},
		{"listener", listenerTests},
		{"inherited", inheritedTests},
		{"alive", aliveTests},
		{"history", historyTests},
	} {
		t.Run(chapter.name, func(t *testing.T) {
			t.Parallel()
			s.together(t, chapter.tests)
		})
	}
}

// inTurn runs tests that must be alone in the process.
func (s suite) inTurn(t *testing.T, tests []test) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(s, t) })
	}
}

func (s suite) together(t *testing.T, tests []test) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(s, t)
		})
	}
}
