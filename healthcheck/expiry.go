package healthcheck

import (
	"context"
	"fmt"
	"time"
)

// WarnOfExpiry is p with a Warning in its results when the server's certificate expires
// within that time, and has not yet. A p that sees no certificate stays as it is.
func WarnOfExpiry(p Prober, within time.Duration) Prober {
	if within <= 0 {
		return p
	}
	return &expiryWarner{p, within}
}

type expiryWarner struct {
	prober Prober
	within time.Duration
}

func (w *expiryWarner) Probe(ctx context.Context, a Address) Result {
	r := w.prober.Probe(ctx, a)
	if r.Warning == "" {
		r.Warning = expiryWarning(r.Facts.NotAfter, time.Now(), w.within)
	}
	return r
}

// expiryWarning is the warning of a certificate that expires at notAfter, the zero time
// for none.
func expiryWarning(notAfter, now time.Time, within time.Duration) string {
	left := notAfter.Sub(now)
	if notAfter.IsZero() || left < 0 || left >= within {
		return ""
	}
	in := fmt.Sprintf("%d days", int(left.Hours()/24))
	if left < 48*time.Hour {
		in = fmt.Sprintf("%d hours", int(left.Hours()))
	}
	return fmt.Sprintf("certificate expires in %s, at %s", in, notAfter.UTC().Format(time.RFC3339))
}
