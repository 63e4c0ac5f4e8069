package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size int64

// units are powers of 1024 and of 1000, the greatest of each first.
var units = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// ParseSize parses a whole number with a unit: 512MiB, 2GB, 65536B.
func ParseSize(s string) (Size, error) {
	digits := strings.TrimRight(s, "TGMKkiB")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !isDigits(digits) {
		return 0, fmt.Errorf("%q is not a size; want one such as \"512MiB\" or \"2GB\"", s)
	}
	for _, u := range units {
		if u.name == s[len(digits):] {
			if n > (1<<62)/u.bytes {
				return 0, fmt.Errorf("%s is out of range", s)
			}
			return Size(n * u.bytes), nil
		}
	}
	return 0, fmt.Errorf("size %q has no unit; want B, kB, MB, GB, TB, or KiB, MiB, GiB, TiB", s)
}

// String is the size in the greatest unit that divides it, as ParseSize reads it.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && int64(s)%u.bytes == 0 && (int64(s)/u.bytes < 10000 || u.bytes > 1000) {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// size reads a size, or a number of bytes.
func (d *decoder) size(path string, raw any, dst *Size) {
	if n, ok := raw.(int64); ok {
		*dst = Size(n)
		return
	}
	text(d, path, raw, dst, ParseSize)
}
