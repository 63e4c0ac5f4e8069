package splicetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/limeload/limeload/splice"
)

var aliveTests = []test{
	{"an engine that is idle, and one that has sessions, is alive", suite.alive},
	{"an engine that was shut down answers at once", suite.aliveAfterShutdown},
}

func (s suite) alive(t *testing.T) {
	r := s.rig(t, plan{options: splice.Options{Threads: 3}})
	ask := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := r.engine.Alive(ctx); err != nil {
			t.Errorf("Alive got %v; want nil", err)
		}
	}
	ask()
	client, server, session := r.connect()
	ask()
	roundTrip(t, client, server)
	finish(t, client, server, session)
}

func (s suite) aliveAfterShutdown(t *testing.T) {
	r := s.rig(t, plan{})
	r.engine.Shutdown(cancelled())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	if err := r.engine.Alive(ctx); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Alive got %v after %v; want an answer", err, time.Since(began))
	}
}
