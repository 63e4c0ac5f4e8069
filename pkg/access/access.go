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
// Who asks is every client, and with a million prefixes the answer costs what it misses
// in the processor's caches. So a list is kept twice: as its rules, sorted, for people
// who ask which one decides (rules.go), and flattened to the addresses at which the
// answer changes (steps.go), where one look into a small table and one beside it tell.
//
// A List is immutable and may be asked by any number of goroutines. IPv4-mapped IPv6
// addresses are IPv4 here, in lists as in questions.
package access

import (
	"fmt"
	"net/netip"
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
	families [2]family // IPv4 and IPv6
	names    []string  // of sources
	deny     bool      // the default
}

// family is what a list says of the addresses of one kind.
type family struct {
	rules rules
	steps steps
}

// maxSources is what a rule can tell apart.
const maxSources = 1 << 16

// New makes a list; denyOthers is for addresses that no rule matches. At most 65536
// sources have names.
func New(denyOthers bool, sources ...Source) *List {
	l := &List{deny: denyOthers}
	for _, s := range sources {
		l.names = append(l.names, s.Name)
	}
	for v6 := range l.families {
		f := &l.families[v6]
		f.rules = sorted(sources, v6 == 1)
		f.steps = flatten(f.rules, denyOthers)
	}
	return l
}

// Len is the number of different prefixes.
func (l *List) Len() int { return len(l.families[0].rules) + len(l.families[1].rules) }

// Denies reports whether an address may not come in. The zero Addr, of a client that
// has none, is not in any prefix and may.
func (l *List) Denies(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	a = a.Unmap()
	return l.family(a).steps.until(toAddress(a))&1 != 0 != l.deny
}

// Rule is what decides about an address, for people: "deny 10.1.0.0/16 (blocked.txt:3)",
// or "deny by default".
func (l *List) Rule(a netip.Addr) string {
	if !a.IsValid() {
		return "allow: no address"
	}
	a = a.Unmap()
	r, ok := l.family(a).rules.longest(toAddress(a))
	if !ok {
		return word(l.deny) + " by default"
	}
	prefix := r.prefix(a.Is6())
	switch {
	case l.names[r.source] == "":
		return word(r.deny) + " " + prefix.String()
	case r.line == 0:
		return fmt.Sprintf("%s %s (%s)", word(r.deny), prefix, l.names[r.source])
	}
	return fmt.Sprintf("%s %s (%s:%d)", word(r.deny), prefix, l.names[r.source], r.line)
}

func (l *List) family(a netip.Addr) *family {
	if a.Is4() {
		return &l.families[0]
	}
	return &l.families[1]
}

func word(deny bool) string {
	if deny {
		return "deny"
	}
	return "allow"
}
