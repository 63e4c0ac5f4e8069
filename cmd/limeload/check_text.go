package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/check"
)

// textPrinter prints a line per outcome, in columns as wide as the targets need; with
// when, the time is before it.
func textPrinter(w io.Writer, targets []check.Target, when bool) func(*check.Outcome) {
	width := 0
	for i := range targets {
		width = max(width, len(label(&targets[i])))
	}
	return func(o *check.Outcome) {
		if when {
			fmt.Fprint(w, o.At.Format(time.TimeOnly), "  ")
		}
		fmt.Fprintf(w, "%-*s  %-4s  %s\n", width, label(o.Target), o.Result.Verdict, detail(o))
	}
}

func label(t *check.Target) string {
	switch {
	case t.Pool == "":
		return t.Name()
	case t.Backend == t.Name():
		return t.Pool + "/" + t.Backend
	}
	return t.Pool + "/" + t.Backend + " " + t.Name()
}

// detail is what is wrong, if anything is, how long that took, and what the server said
// of itself.
func detail(o *check.Outcome) string {
	r := &o.Result
	times := make([]string, len(r.Phases))
	for i, p := range r.Phases {
		times[i] = p.Name + " " + milliseconds(p.Took)
	}
	told := strings.Join(facts(&r.Facts, o.At), ", ")
	if r.Warning != "" {
		told = strings.TrimPrefix(told+"; "+r.Warning, "; ")
	}
	text := strings.Join(times, ", ")
	if why := o.Why(); why != "" {
		switch {
		case r.Took == 0:
			text = why
		case len(times) < 2:
			text = fmt.Sprintf("%s (%s)", why, milliseconds(r.Took))
		default:
			text = fmt.Sprintf("%s (%s)", why, text)
		}
	}
	if told != "" {
		text += "; " + told
	}
	return text
}

// facts are what a server said of itself.
func facts(f *healthcheck.Facts, at time.Time) (told []string) {
	add := func(known bool, format string, args ...any) {
		if known {
			told = append(told, fmt.Sprintf(format, args...))
		}
	}
	add(f.Role != healthcheck.RoleUnknown, "%s", f.Role)
	add(f.HasLag && f.Lag.Bytes >= 0, "lag %s", bytesText(f.Lag.Bytes))
	add(f.HasLag && f.Lag.Time >= 0, "lag %.1fs", f.Lag.Time.Seconds())
	add(f.Timeline != 0, "timeline %d", f.Timeline)
	add(f.Version != "", "version %s", f.Version)
	add(!f.NotAfter.IsZero(), "certificate %d days", daysLeft(f, at))
	add(f.Share != 0, "share %d%%", f.Share)
	add(f.Wish != healthcheck.WishNone, "wants %s", f.Wish)
	add(f.MaxConnections != 0, "maxconn %d", f.MaxConnections)
	return told
}

// daysLeft is how many whole days a certificate is valid from at on; less than 0 since it
// expired.
func daysLeft(f *healthcheck.Facts, at time.Time) int {
	return int(f.NotAfter.Sub(at).Hours() / 24)
}

func bytesText(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	x := float64(n)
	for x >= 1024 && len(units) > 1 {
		x, units = x/1024, units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprint(n, "B")
	}
	return fmt.Sprintf("%.1f%s", x, units[0])
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
}
