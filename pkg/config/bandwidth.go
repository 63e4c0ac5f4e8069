package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Bandwidth bounds what the sessions of a listener move. Each is 0 (no bound) or at
// least LeastRate.
type Bandwidth struct {
	// BandwidthUp and BandwidthDown are of all sessions together; they share them
	// evenly. Up is from clients to backends.
	BandwidthUp   Rate `toml:"bandwidth_up"`
	BandwidthDown Rate `toml:"bandwidth_down"`

	// ConnectionBandwidthUp and ConnectionBandwidthDown are of each session.
	ConnectionBandwidthUp   Rate `toml:"connection_bandwidth_up"`
	ConnectionBandwidthDown Rate `toml:"connection_bandwidth_down"`
}

// Rate is a bandwidth in bytes per second. In a file it is a text with its unit, as
// durations are: "10MB/s", "512KiB/s", "100Mbit/s"; "0" is none.
type Rate int64

// The range of a Rate that is not 0: less would be a slip of the unit, and more than
// any network carries.
const (
	LeastRate Rate = 1e3
	MostRate  Rate = 1e12
)

// rateUnits are the units and their bytes per second, those of String first, the
// larger ones before the smaller.
var rateUnits = []rateUnit{
	{"GB/s", 1e9}, {"MB/s", 1e6}, {"kB/s", 1e3}, {"B/s", 1},
	{"GiB/s", 1 << 30}, {"MiB/s", 1 << 20}, {"KiB/s", 1 << 10},
	{"Gbit/s", 1e9 / 8}, {"Mbit/s", 1e6 / 8}, {"kbit/s", 1e3 / 8}, {"KB/s", 1e3},
}

type rateUnit struct {
	name  string
	bytes float64
}

// ParseRate parses a Rate as a file has it.
func ParseRate(s string) (Rate, error) {
	number := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/ ")
	unit := strings.TrimSpace(s[len(number):])
	n, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(n) || strings.ContainsAny(number, "xXpP_"):
		return 0, fmt.Errorf("%q is not a bandwidth; want one such as \"10MB/s\" or \"100Mbit/s\"", s)
	case unit == "" && n == 0:
		return 0, nil
	case unit == "":
		return 0, fmt.Errorf("bandwidth %q has no unit; want %q or %q, for example", s, s+"MB/s", s+"Mbit/s")
	}
	i := slices.IndexFunc(rateUnits, func(u rateUnit) bool { return u.name == unit })
	if i < 0 {
		return 0, fmt.Errorf("unknown unit %q of a bandwidth; want B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s, GiB/s, kbit/s, Mbit/s or Gbit/s", unit)
	}
	if n *= rateUnits[i].bytes; math.Abs(n) > math.MaxInt64/2 {
		return 0, fmt.Errorf("%s is out of range; want 0, or %s..%s", s, LeastRate, MostRate)
	}
	return Rate(math.Round(n)), nil
}

// String is r in the largest decimal unit that leaves a whole number.
func (r Rate) String() string {
	if r == 0 {
		return "0"
	}
	for _, u := range rateUnits[:3] {
		if unit := Rate(u.bytes); r%unit == 0 {
			return strconv.FormatInt(int64(r/unit), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(r), 10) + "B/s"
}

// bandwidth checks each of them.
func (v *validator) bandwidth(path string, l Bandwidth) {
	v.rate(path+".bandwidth_up", l.BandwidthUp)
	v.rate(path+".bandwidth_down", l.BandwidthDown)
	v.rate(path+".connection_bandwidth_up", l.ConnectionBandwidthUp)
	v.rate(path+".connection_bandwidth_down", l.ConnectionBandwidthDown)
}

func (v *validator) rate(path string, r Rate) {
	if r != 0 && (r < LeastRate || r > MostRate) {
		v.wrong(path, "%s is out of range; want 0, or %s..%s", r, LeastRate, MostRate)
	}
}
