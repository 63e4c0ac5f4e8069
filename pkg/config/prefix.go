package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ParsePrefix parses a network (10.0.0.0/8, 2001:db8::/32) or an address, which is
// the network of itself. What is written as IPv4-mapped IPv6 is IPv4; a mapped
// network shorter than /96 would hold all of IPv4 and more, and is refused. So are
// bits beyond the length: they are a slip, of either.
func ParsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q has a zone, which no network has", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network; want one such as \"10.0.0.0/8\" or \"2001:db8::/32\"", s)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q is IPv4-mapped and shorter than /96; write IPv4 as \"0.0.0.0/0\"", s)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its length; want \"%s\", or \"%s\" alone", s, p.Masked(), p.Addr())
	}
	return p, nil
}

// ListedPrefix is a line of a file.
type ListedPrefix struct {
	netip.Prefix
	Line int
}

// maxListProblems is how many lines of a list are complained of.
const maxListProblems = 20

// ParsePrefixes reads the content of a file of networks; name stands for it in problems.
// Each line has one network as ParsePrefix reads it; what follows a # is a comment, and
// empty lines and spaces around do not matter. The error, of type Problems, has a line
// each, twenty at most.
func ParsePrefixes(name string, data []byte) (list []ListedPrefix, err error) {
	var wrong Problems
	lines := bufio.NewScanner(bytes.NewReader(withoutMark(data)))
	n := 0
	for lines.Scan() {
		n++
		s, _, _ := strings.Cut(lines.Text(), "#")
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		p, err := ParsePrefix(s)
		if err != nil {
			wrong = append(wrong, Problem{File: name, Line: n, Column: 1, Text: err.Error()})
			if len(wrong) == maxListProblems {
				return nil, wrong
			}
			continue
		}
		list = append(list, ListedPrefix{p, n})
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		wrong = append(wrong, Problem{File: name, Line: n + 1, Column: 1, Text: "the line is longer than 64 KiB"})
	}
	if wrong != nil {
		return nil, wrong
	}
	return list, nil
}
