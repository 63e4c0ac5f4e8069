package show

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Count is a number in at most five characters: 999, 9.9k, 48k, 1.2M.
func Count(n float64) string { return scaled(n, 1000, []string{"", "k", "M", "G", "T", "P", "E"}) }

// Bytes is a size in at most seven characters, in powers of 1024: 0B, 980B, 1.2KiB, 40MiB.
func Bytes(n float64) string {
	return scaled(n, 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"})
}

// scaled has three digits at most, below ten one of them after the point unless that is 0.
func scaled(n, step float64, units []string) string {
	if math.IsNaN(n) || n < 0 {
		return "-"
	}
	unit := 0
	// What would be rounded up to the next step is of the next unit.
	for ; math.Round(n) >= 1000 && unit < len(units)-1; unit++ {
		n /= step
	}
	if n < 9.95 {
		n = math.Round(n*10) / 10
	} else {
		n = math.Round(n)
	}
	return strconv.FormatFloat(n, 'f', -1, 64) + units[unit]
}

// Seconds is a duration in two units at most: 0s, 850ms, 4s, 3m12s, 5h7m, 2d4h.
func Seconds(s float64) string {
	if math.IsNaN(s) || s < 0 {
		s = 0
	}
	if s > 0 && s < 0.9995 {
		return fmt.Sprintf("%.0fms", max(1, math.Round(s*1000)))
	}
	n := int64(math.Min(math.Round(s), math.MaxInt64/2))
	for _, u := range []struct {
		size        int64
		unit, below string
		part        int64
	}{{86400, "d", "h", 3600}, {3600, "h", "m", 60}, {60, "m", "s", 1}} {
		if n < u.size {
			continue
		}
		if rest := n % u.size / u.part; rest > 0 {
			return fmt.Sprintf("%d%s%d%s", n/u.size, u.unit, rest, u.below)
		}
		return fmt.Sprintf("%d%s", n/u.size, u.unit)
	}
	return fmt.Sprintf("%ds", n)
}

// Ago is how long before now t was: 3m12s; "-" where t is not known.
func Ago(now time.Time, t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return Seconds(math.Max(0, now.Sub(*t).Seconds()))
}

// Clock is a time of today as 15:04:05, and of another day with its date.
func Clock(now, t time.Time) string {
	t = t.In(now.Location())
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

// Plural is "1 session", "2 sessions".
func Plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
