package config

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParsePrefix(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/8":            "10.0.0.0/8",
		"10.1.2.3":              "10.1.2.3/32",
		"0.0.0.0/0":             "0.0.0.0/0",
		"2001:DB8::/32":         "2001:db8::/32",
		"2001:db8::1":           "2001:db8::1/128",
		"::/0":                  "::/0",
		"::ffff:10.0.0.0/104":   "10.0.0.0/8",
		"::ffff:10.1.2.3":       "10.1.2.3/32",
		"::ffff:0.0.0.0/96":     "0.0.0.0/0",
		"::ffff:192.0.2.64/122": "192.0.2.64/26",
	} {
		got, err := ParsePrefix(in)
		if err != nil || got.String() != want {
			t.Errorf("ParsePrefix(%q): got %s, %v; want %s", in, got, err, want)
		}
	}
}

// The common mistakes and their messages are in testdata/limits.toml.
func TestParsePrefixRefuses(t *testing.T) {
	for _, in := range []string{
		"", "10", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/+8", "/8", "10.0.0.0/33", "10.0.0.1/8", "::1/64",
		"::ffff:10.0.0.0/95", "::ffff:0:0/0", "fe80::1%eth0", "fe80::%eth0/64", "example.org", "10.0.0.0/8 ", "10.0.0.0-10.0.0.9",
	} {
		if got, err := ParsePrefix(in); err == nil {
			t.Errorf("ParsePrefix(%q): got %s; want an error", in, got)
		}
	}
}

func TestParsePrefixes(t *testing.T) {
	got, err := ParsePrefixes("deny.txt", []byte("\ufeff# blocked\n\n 10.0.0.0/8 # all of it\r\n2001:db8::1#one\n\t192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	want := []ListedPrefix{
		{netip.MustParsePrefix("10.0.0.0/8"), 3},
		{netip.MustParsePrefix("2001:db8::1/128"), 4},
		{netip.MustParsePrefix("192.0.2.1/32"), 5},
	}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got %v; want %v", got, want)
	}
}

func TestParsePrefixesTellsWhere(t *testing.T) {
	_, err := ParsePrefixes("/etc/deny.txt", []byte("10.0.0.0/8\n10.0.0.300\n\n::ffff:0:0/90\n"))
	want := `/etc/deny.txt:2: "10.0.0.300" is not a network; want one such as "10.0.0.0/8" or "2001:db8::/32"
/etc/deny.txt:4: "::ffff:0:0/90" is IPv4-mapped and shorter than /96; write IPv4 as "0.0.0.0/0"`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	_, err = ParsePrefixes("a", []byte(strings.Repeat("x\n", 100_000)))
	var all Problems
	if !errors.As(err, &all) || len(all) != maxListProblems {
		t.Errorf("got %d problems of a file of nothing else; want %d", len(all), maxListProblems)
	}
	if _, err = ParsePrefixes("a", []byte("10.0.0.1\n"+strings.Repeat(" ", 70_000))); err == nil || !strings.Contains(err.Error(), "a:2: the line is longer") {
		t.Errorf("a long line: got %v; want it told with its number", err)
	}
}

// FuzzParsePrefixes holds that no list panics, that what is accepted reads back as
// itself, and that what is refused is told with its line.
func FuzzParsePrefixes(f *testing.F) {
	for _, s := range []string{"", "10.0.0.0/8", "::ffff:10.0.0.0/104 # x\n2001:db8::/32", "::ffff:0:0/95", "a\n#\n10.0.0.1/8", "10.0.0.0/8\x00", "fe80::1%e\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParsePrefixes("list", data)
		if err != nil {
			var all Problems
			if !errors.As(err, &all) {
				t.Fatalf("got %T %v; want Problems", err, err)
			}
			for _, p := range all {
				if p.Line < 1 || p.Text == "" || strings.ContainsAny(p.String(), "\n\r\x1b\x00") {
					t.Errorf("got %+v; want a line and one printable line of text", p)
				}
			}
			return
		}
		for _, p := range list {
			if a := p.Addr(); a.Is4In6() || a.Zone() != "" || p.Prefix != p.Masked() {
				t.Errorf("line %d: got %v; want a network in its one form", p.Line, p)
			}
			if again, err := ParsePrefix(p.Prefix.String()); err != nil || again != p.Prefix {
				t.Errorf("line %d: %v reads back as %v, %v", p.Line, p.Prefix, again, err)
			}
		}
	})
}

func TestSize(t *testing.T) {
	for in, want := range map[string]Size{
		"0B": 0, "512MiB": 512 << 20, "2GB": 2e9, "64kB": 64000, "65536B": 65536, "1TiB": 1 << 40, "3KiB": 3072,
	} {
		got, err := ParseSize(in)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q): got %d, %v; want %d", in, got, err, want)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%d is written %q, which reads as %d, %v", got, got, again, err)
		}
	}
	for _, in := range []string{"", "MiB", "512", "-1MB", "1.5GB", "1Mib", "9999999999TiB", "1 MB", "1MBB"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("ParseSize(%q): got %d; want an error", in, got)
		}
	}
}
