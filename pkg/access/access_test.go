package access

import (
	"net/netip"
	"testing"
)

func written(deny bool, prefixes ...string) (all []Rule) {
	for i, p := range prefixes {
		all = append(all, Rule{Prefix: netip.MustParsePrefix(p), Deny: deny, Line: i + 1})
	}
	return all
}

func TestList(t *testing.T) {
	l := New(true,
		Source{"lime.toml", written(false, "10.0.0.0/8", "10.1.2.0/24", "2001:db8::/32", "192.0.2.1/32")},
		Source{"deny.txt", written(true, "10.1.0.0/16", "192.0.2.1/32", "2001:db8:1::/48", "10.1.2.3/32")},
	)
	for _, test := range []struct {
		address string
		denied  bool
		rule    string
	}{
		{"10.0.0.1", false, "allow 10.0.0.0/8 (lime.toml:1)"},
		{"10.1.0.1", true, "deny 10.1.0.0/16 (deny.txt:1)"},
		{"10.1.2.1", false, "allow 10.1.2.0/24 (lime.toml:2)"},
		{"10.1.2.3", true, "deny 10.1.2.3/32 (deny.txt:4)"},
		{"::ffff:10.1.2.3", true, "deny 10.1.2.3/32 (deny.txt:4)"},
		{"::ffff:10.0.0.1", false, "allow 10.0.0.0/8 (lime.toml:1)"},
		{"192.0.2.1", true, "deny 192.0.2.1/32 (deny.txt:2)"}, // both: denied
		{"192.0.2.2", true, "deny by default"},
		{"2001:db8::1", false, "allow 2001:db8::/32 (lime.toml:3)"},
		{"2001:db8:1::1", true, "deny 2001:db8:1::/48 (deny.txt:3)"},
		{"fe80::1%eth0", true, "deny by default"},
	} {
		a := netip.MustParseAddr(test.address)
		if got := l.Denies(a); got != test.denied {
			t.Errorf("%s: denied %v; want %v", a, got, test.denied)
		}
		if got := l.Rule(a); got != test.rule {
			t.Errorf("%s: rule %q; want %q", a, got, test.rule)
		}
	}
	if l.Denies(netip.Addr{}) {
		t.Error("a client without an address is denied; want it allowed")
	}
	if n := l.Len(); n != 7 {
		t.Errorf("got %d prefixes; want 7", n)
	}
	var everybody List
	if a := netip.MustParseAddr("192.0.2.1"); everybody.Denies(a) || everybody.Rule(a) != "allow by default" {
		t.Error("the zero List denies; want everybody allowed")
	}
}
