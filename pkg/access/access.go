// Package access decides by a client's address whether it may come in.
//
// A List is made of prefixes that are allowed or denied. Of those that an address is
// in, the longest decides, wherever it was written; a prefix that is both allowed and
// denied is denied. What matches none gets the list's default.
//
//	allow 10.0.0.0/8        10.1.2.3  -> allowed
//	deny  10.1.0.0/16       10.1.2.3  -> denied: 16 is longer than 8
//	allow 10.1.2.0/24       10.1.2.3  -> allowed
//
// A List is immutable and may be asked by any number of goroutines. IPv4-mapped IPv6 addresses are IPv4
// here, in lists as in questions.
package access

import (
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"
)

// Rule is one prefix of a list.
type Rule struct {
	Prefix netip.Prefix // masked, not IPv4-mapped
	Deny   bool
	Line   int // where it was written; 0 = unknown
}

// Source is a place where rules were written.
type Source struct {
	Name  string // of a file; "" = unknown
	Rules []Rule
}

// List answers who may come in. The zero value allows everybody.
type List struct {
	table bart.Table[verdict]
	names []string // of sources
	deny  bool     // the default
}

// verdict is a rule but for its prefix, which the table has. 8 bytes.
type verdict struct {
	line   uint32
	source uint16
	deny   bool
}

// maxSources is what a verdict can tell apart.
const maxSources = 1 << 16

// New makes a list; denyOthers is for addresses that no rule matches. At most 65536
// sources have names.
func New(denyOthers bool, sources ...Source) *List {
	l := &List{deny: denyOthers}
	for n, s := range sources {
		l.names = append(l.names, s.Name)
		for _, r := range s.Rules {
			v := verdict{line: uint32(r.Line), source: uint16(min(n, maxSources-1)), deny: r.Deny}
			l.table.Modify(r.Prefix, func(had verdict, ok bool) (verdict, bool) {
				if ok && (had.deny || !v.deny) {
					return had, false // the first one, unless it is denied after all
				}
				return v, false
			})
		}
	}
	return l
}

// Len is the number of different prefixes.
func (l *List) Len() int { return l.table.Size() }

// Denies reports whether an address may not come in. The zero Addr, of a client that
// has none, is not in any prefix and may.
func (l *List) Denies(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	if v, ok := l.table.Lookup(a.Unmap()); ok {
		return v.deny
	}
	return l.deny
}

// Rule is what decides about an address, for people: "deny 10.1.0.0/16 (blocked.txt:3)",
// or "deny by default".
func (l *List) Rule(a netip.Addr) string {
	if !a.IsValid() {
		return "allow: no address"
	}
	a = a.Unmap().WithZone("")
	prefix, v, ok := l.table.LookupPrefixLPM(netip.PrefixFrom(a, a.BitLen()))
	switch {
	case !ok:
		return word(l.deny) + " by default"
	case l.names[v.source] == "":
		return word(v.deny) + " " + prefix.String()
	case v.line == 0:
		return fmt.Sprintf("%s %s (%s)", word(v.deny), prefix, l.names[v.source])
	}
	return fmt.Sprintf("%s %s (%s:%d)", word(v.deny), prefix, l.names[v.source], v.line)
}

func word(deny bool) string {
	if deny {
		return "deny"
	}
	return "allow"
}
