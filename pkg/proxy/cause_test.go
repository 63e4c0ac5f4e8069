package proxy

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/splice"
)

func TestCauses(t *testing.T) {
	for _, test := range []struct {
		err  error
		want Cause
	}{
		{errRefused, CauseRefused},
		{fmt.Errorf("dial: %w", os.NewSyscallError("connect", syscall.ECONNREFUSED)), CauseRefused},
		{splice.ErrSelfConnect, CauseRefused},
		{syscall.ENOENT, CauseRefused},
		{splice.ErrDialTimeout, CauseTimeout},
		{syscall.ETIMEDOUT, CauseTimeout},
		{syscall.EHOSTUNREACH, CauseUnreachable},
		{syscall.ENETUNREACH, CauseUnreachable},
		{syscall.ECONNRESET, CauseReset},
		{errUnresolved, CauseDNS},
		{errors.New("the moon is full"), CauseOther},
	} {
		if got := causeOf(test.err); got != test.want {
			t.Errorf("%v: got cause %v; want %v", test.err, got, test.want)
		}
	}
}

// Who reads metrics finds the same words for dials and for probes.
func TestCausesAreNamedLikeReasonsOfProbes(t *testing.T) {
	for cause, reason := range map[Cause]healthcheck.Reason{
		CauseRefused: healthcheck.ReasonRefused, CauseTimeout: healthcheck.ReasonTimeout,
		CauseUnreachable: healthcheck.ReasonUnreachable, CauseReset: healthcheck.ReasonReset, CauseDNS: healthcheck.ReasonDNS,
	} {
		if cause.String() != string(reason) {
			t.Errorf("got cause %q; want %q", cause, reason)
		}
	}
}
