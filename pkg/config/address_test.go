package config

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	longest := "/" + strings.Repeat("a", maxUnixPath-1)
	for _, test := range []struct {
		in   string
		want Address
		out  string // String, where it is not in
	}{
		{"10.0.0.1:5432", Address{Network: TCP, Host: "10.0.0.1", Port: 5432}, ""},
		{":5432", Address{Network: TCP, Port: 5432}, ""},
		{"localhost:0", Address{Network: TCP, Host: "localhost"}, ""},
		{"pg_1.example.org.:65535", Address{Network: TCP, Host: "pg_1.example.org.", Port: 65535}, ""},
		{"[::1]:1", Address{Network: TCP, Host: "::1", Port: 1}, ""},
		{"[fe80::1%eth0]:1", Address{Network: TCP, Host: "fe80::1%eth0", Port: 1}, ""},
		{"[2001:DB8:0::1]:01", Address{Network: TCP, Host: "2001:db8::1", Port: 1}, "[2001:db8::1]:1"},
		{"[::ffff:10.0.0.1]:1", Address{Network: TCP, Host: "10.0.0.1", Port: 1}, "10.0.0.1:1"},
		{"unix:/run/a b.sock", Address{Network: Unix, Path: "/run/a b.sock"}, ""},
		{"unix:///run//a.sock", Address{Network: Unix, Path: "/run/a.sock"}, "unix:/run/a.sock"},
		{"unix:" + longest, Address{Network: Unix, Path: longest}, ""},
	} {
		got, err := ParseAddress(test.in)
		if err != nil || got != test.want {
			t.Errorf("ParseAddress(%q): got %+v, %v; want %+v", test.in, got, err, test.want)
		}
		want := test.out
		if want == "" {
			want = test.in
		}
		if got.String() != want {
			t.Errorf("ParseAddress(%q).String(): got %q; want %q", test.in, got, want)
		}
	}
}

// The common mistakes and their messages are in testdata/addresses.toml.
func TestParseAddressRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"a colon alone after brackets":   "[::1]:",
		"text between bracket and colon": "[::1]x:1",
		"a name in brackets":             "[localhost]:1",
		"empty brackets":                 "[]:1",
		"three numbers":                  "10.0.1:5432",
		"a number as a host":             "5432:5432",
		"a space":                        " localhost:1",
		"a newline":                      "local\nhost:1",
		"a sign before the port":         "localhost:+1",
		"an empty label":                 "a..b:1",
		"a label of 64 bytes":            strings.Repeat("a", 64) + ":1",
		"a name of 254 bytes":            strings.Repeat("a.", 127) + ":1",
		"a name outside of ASCII":        "datenbänk:1",
		"a zone with a newline":          "[fe80::1%\n]:1",
		"a path with a newline":          "unix:/run/\n",
		"a path with a NUL":              "unix:/run/\x00",
		"a path that is not UTF-8":       "unix:/run/\xff",
		"a path that is empty":           "unix:",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseAddress(in); err == nil {
				t.Errorf("ParseAddress(%q): got %+v; want an error", in, got)
			}
		})
	}
}

func TestAddressIsLocal(t *testing.T) {
	for in, want := range map[string]bool{
		"127.0.0.1:1": true, "127.8.0.1:1": true, "[::1]:1": true, "LocalHost:1": true, "unix:/a": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "localhost.example.org:1": false,
	} {
		if got := mustAddress(t, in).IsLocal(); got != want {
			t.Errorf("%s: got %v; want %v", in, got, want)
		}
	}
}

func TestAddressOverlaps(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:1", "127.0.0.1:1", true},
		{"127.0.0.1:1", "127.0.0.1:2", false},
		{"127.0.0.1:1", "127.0.0.2:1", false},
		{"127.0.0.1:0", "127.0.0.1:0", false}, // two free ports
		{":1", "10.0.0.1:1", true},
		{":1", "[::]:1", true},
		{":1", "0.0.0.0:1", true},
		{":1", "example.org:1", true},
		{"0.0.0.0:1", "10.0.0.1:1", true},
		{"0.0.0.0:1", "[::]:1", false},
		{"0.0.0.0:1", "[::1]:1", false},
		{"[::]:1", "[2001:db8::1]:1", true},
		{"localhost:1", "127.0.0.1:1", true},
		{"localhost:1", "[::1]:1", true},
		{"localhost:1", "0.0.0.0:1", true},
		{"localhost:1", "LOCALHOST.:1", true},
		{"a.example:1", "b.example:1", false},
		{"unix:/a", "unix:/a", true},
		{"unix:/a", "unix:/b", false},
		{"unix:/a", ":1", false},
	} {
		a, b := mustAddress(t, test.a), mustAddress(t, test.b)
		if got, back := a.Overlaps(b), b.Overlaps(a); got != test.want || back != test.want {
			t.Errorf("%s and %s: got %v and %v; want %v", a, b, got, back, test.want)
		}
	}
}

func TestAddressReaches(t *testing.T) {
	for _, test := range []struct {
		backend, listen string
		want            bool
	}{
		{"127.0.0.1:1", ":1", true},
		{"127.9.9.9:1", "0.0.0.0:1", true},
		{"127.0.0.1:1", "127.0.0.1:1", true},
		{"127.0.0.1:1", "127.0.0.1:2", false},
		{"127.0.0.1:1", "127.0.0.2:1", false},
		{"127.0.0.1:1", "[::]:1", false},
		{"127.0.0.1:1", "10.0.0.1:1", false},
		{"127.0.0.1:1", "localhost:1", true},
		{"[::1]:1", ":1", true},
		{"[::1]:1", "[::]:1", true},
		{"[::1]:1", "0.0.0.0:1", false},
		{"0.0.0.0:1", "127.0.0.1:1", true},
		{"0.0.0.0:1", ":1", true},
		{"0.0.0.0:1", "10.0.0.1:1", false},
		{"[::]:1", "[::1]:1", true},
		{"localhost:1", ":1", true},
		{"localhost:1", "[::1]:1", true},
		{"localhost:1", "127.0.0.1:1", true},
		{"10.0.0.1:1", "10.0.0.1:1", true},
		{"10.0.0.1:1", ":1", false}, // may be another machine
		{"pg.example:1", "PG.example:1", true},
		{"pg.example:1", ":1", false},
		{"unix:/a", "unix:/a", true},
		{"unix:/a", "unix:/b", false},
		{"unix:/a", ":1", false},
	} {
		if got := mustAddress(t, test.backend).reaches(mustAddress(t, test.listen)); got != test.want {
			t.Errorf("a dial to %s reaches a socket on %s: got %v; want %v", test.backend, test.listen, got, test.want)
		}
	}
}

func mustAddress(t *testing.T, s string) Address {
	t.Helper()
	a, err := ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParseHostName(t *testing.T) {
	for _, test := range []struct {
		in   string
		want HostName
		err  string // part of it
	}{
		{"lb1", "lb1", ""},
		{"LB1.Example.NET.", "lb1.example.net", ""},
		{"", "", "empty"},
		{"10.0.0.5", "", "is an IP address"},
		{"fd00::1", "", "is an IP address"},
		{"[fd00::1]", "", "is an IP address"},
		{"lb1:5480", "", "without scheme and port"},
		{"http://lb1", "", "without scheme and port"},
		{"*.example.net", "", "is not a host name"},
		{"a..b", "", "is not a host name"},
		{"10.0.0.256", "", "is not a host name"},
	} {
		got, err := ParseHostName(test.in)
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("ParseHostName(%q): got %q, %v; want %q, an error with %q", test.in, got, err, test.want, test.err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"", ":1", "a:1", "[::1]:1", "[fe80::1%a]:1", "10.0.0.1:1", "unix:/a", "::1:1", "[[::1]]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			if err.Error() == "" || !a.IsZero() {
				t.Errorf("ParseAddress(%q): got %+v, error %q; want no address and a text", s, a, err)
			}
			return
		}
		again, err := ParseAddress(a.String())
		if err != nil || again != a {
			t.Errorf("ParseAddress(%q): got %+v, whose text %q is %+v, %v", s, a, a, again, err)
		}
		if !a.Overlaps(a) && a.Port != 0 {
			t.Errorf("%s does not overlap with itself", a)
		}
	})
}
