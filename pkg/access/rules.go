package access

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
)

// rule is a Rule in 24 bytes.
type rule struct {
	first  address // of its prefix
	line   uint32
	source uint16
	bits   uint8
	deny   bool
}

func (r *rule) prefix(v6 bool) netip.Prefix {
	return netip.PrefixFrom(r.first.netip(v6), int(r.bits))
}

// place orders rules by where they begin, and those that begin together from the
// shortest prefix on: each one's outer ones come before it.
func (r *rule) place(first address, bits int) int {
	return cmp.Or(r.first.compare(first), cmp.Compare(int(r.bits), bits))
}

// rules are those of one family, each prefix once, by their place.
type rules []rule

// sorted takes the rules of one family. Of a prefix that was written more than once,
// one that denies stays, else the first that was written.
func sorted(sources []Source, v6 bool) rules {
	n := 0
	for _, s := range sources {
		for i := range s.Rules {
			if s.Rules[i].Prefix.Addr().Is6() == v6 {
				n++
			}
		}
	}
	all := make(rules, 0, n)
	for number, s := range sources {
		for _, r := range s.Rules {
			if r.Prefix.Addr().Is6() == v6 {
				all = append(all, rule{
					first: toAddress(r.Prefix.Addr()), bits: uint8(r.Prefix.Bits()), deny: r.Deny,
					source: uint16(min(number, maxSources-1)), line: uint32(r.Line),
				})
			}
		}
	}
	slices.SortFunc(all, func(a, b rule) int {
		if c := a.place(b.first, int(b.bits)); c != 0 {
			return c
		}
		if a.deny != b.deny {
			return map[bool]int{true: -1, false: 1}[a.deny]
		}
		return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.line, b.line))
	})
	return slices.CompactFunc(all, func(a, b rule) bool { return a.first == b.first && a.bits == b.bits })
}

// longest is the rule with the longest prefix that a is in. It looks for the last rule
// that is not beyond a. If that one does not hold a, whatever does is no longer than
// what the two have in common: so the next place to look for is that prefix of a.
func (s rules) longest(a address) (*rule, bool) {
	for bits := 128; bits >= 0; {
		first := a.masked(bits)
		i := sort.Search(len(s), func(i int) bool { return s[i].place(first, bits) > 0 }) - 1
		if i < 0 {
			break
		}
		r := &s[i]
		common := r.first.common(a)
		if int(r.bits) <= common {
			return r, true
		}
		bits = min(common, bits-1)
	}
	return nil, false
}
