package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// writeJSON writes v, indented.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// digits is x to three significant digits, without an exponent.
func digits(x float64) string {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return "0"
	}
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'e', 2, 64), 64) // 999.9 has four digits before the point
	places := max(2-int(math.Floor(math.Log10(math.Abs(rounded)))), 0)
	return fmt.Sprintf("%.*f", places, x)
}

// scaled is x in the largest of the units, each 1000 times the last, that it fills.
func scaled(x float64, units ...string) string {
	i := 0
	for math.Abs(x) >= 999.5 && i < len(units)-1 {
		x /= 1000
		i++
	}
	return strings.TrimRight(digits(x)+" "+units[i], " ")
}

// countText is a count, or a count per second: 123 k.
func countText(x float64) string { return scaled(x, "", "k", "M", "G") }

// bitsText is bytes per second as bits: 12.3 Gbit/s.
func bitsText(bytesPerSecond float64) string {
	return scaled(bytesPerSecond*8, "bit/s", "kbit/s", "Mbit/s", "Gbit/s")
}

// bytesText is a number of bytes: 12.3 GB.
func bytesText(n uint64) string { return scaled(float64(n), "B", "kB", "MB", "GB", "TB") }

// timeText is a duration in seconds: 123 us.
func timeText(seconds float64) string {
	if seconds >= 0.9995 {
		return digits(seconds) + " s"
	}
	return scaled(seconds*1e9, "ns", "us", "ms")
}

// seconds is d as JSON tells durations.
func seconds(d time.Duration) float64 { return d.Seconds() }
