package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// size is a flag that takes a number of bytes: 64, 4KiB, 1M.
type size int

func (s *size) String() string { return strconv.Itoa(int(*s)) }
func (s *size) Type() string   { return "bytes" }

func (s *size) Set(text string) error {
	n, err := parseSize(text)
	*s = size(n)
	return err
}

// shifts are the units that a size may have, all powers of two: a kB here is a KiB.
var shifts = map[string]uint{
	"": 0, "b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20, "g": 30, "gb": 30, "gib": 30,
}

// parseSize reads a whole number with a unit or none.
func parseSize(text string) (int, error) {
	unit := strings.TrimLeft(text, "0123456789")
	n, err := strconv.ParseUint(strings.TrimSuffix(text, unit), 10, 63)
	shift, known := shifts[strings.ToLower(unit)]
	if err != nil || !known || n > math.MaxInt>>shift {
		return 0, errors.New("want a number of bytes such as 64, 4KiB or 1M")
	}
	return int(n << shift), nil
}

// sizeText is n bytes for a person.
func sizeText(n int) string {
	for _, u := range []struct {
		size int
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size && n%u.size == 0 {
			return fmt.Sprintf("%d %s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
