package show

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestUnits(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Count(0), "0"}, {Count(1), "1"}, {Count(0.25), "0.3"}, {Count(9.94), "9.9"}, {Count(9.96), "10"}, {Count(999), "999"},
		{Count(999.6), "1k"}, {Count(1000), "1k"}, {Count(1234), "1.2k"}, {Count(48213), "48k"}, {Count(1.5e6), "1.5M"},
		{Count(math.MaxUint64), "18E"}, {Count(-1), "-"}, {Count(math.NaN()), "-"},
		{Bytes(0), "0B"}, {Bytes(999), "999B"}, {Bytes(1000), "1KiB"}, {Bytes(1024), "1KiB"}, {Bytes(1536), "1.5KiB"},
		{Bytes(40 << 20), "40MiB"}, {Bytes(1 << 62), "4EiB"},
		{Seconds(0), "0s"}, {Seconds(0.0001), "1ms"}, {Seconds(0.85), "850ms"}, {Seconds(0.9999), "1s"}, {Seconds(4.4), "4s"},
		{Seconds(59.6), "1m"}, {Seconds(192), "3m12s"}, {Seconds(3600), "1h"}, {Seconds(5*3600 + 7*60 + 9), "5h7m"},
		{Seconds(2*86400 + 4*3600), "2d4h"}, {Seconds(-1), "0s"}, {Seconds(math.Inf(1)), "53375995583650d7h"},
		{Plural(1, "session"), "1 session"}, {Plural(0, "session"), "0 sessions"},
	} {
		if c.got != c.want {
			t.Errorf("got %s; want %s", c.got, c.want)
		}
	}
}

// No number is wider than its column.
func TestUnitsFit(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range 100000 {
		n := math.Exp(r.Float64() * math.Log(math.MaxUint64))
		if got := Count(n); len(got) > 5 {
			t.Fatalf("seed %d: count of %g: got %s", seed, n, got)
		}
		if got := Bytes(n); len(got) > 7 {
			t.Fatalf("seed %d: bytes of %g: got %s", seed, n, got)
		}
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 3, 2, 3, 0, 0, 0, time.UTC)
	then := now.Add(-192 * time.Second)
	if got := Ago(now, &then); got != "3m12s" {
		t.Errorf("got %s", got)
	}
	if got := Ago(then, &now); got != "0s" { // a clock that is behind the server's
		t.Errorf("got %s", got)
	}
	if got := Ago(now, nil); got != "-" {
		t.Errorf("got %s", got)
	}
	if got := Clock(now, then); got != "02:56:48" {
		t.Errorf("got %s", got)
	}
	if got := Clock(now, now.AddDate(0, 0, -1)); got != "2026-03-01 03:00:00" {
		t.Errorf("got %s", got)
	}
}

// A peer's words reach the terminal without what it would obey.
func FuzzClean(f *testing.F) {
	f.Add("ERROR: \"x\" \x1b[2J\r\n\u009b31m \xff é 漢")
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: got %q", s, got)
		}
	})
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"connection refused":     "connection refused",
		"\x1b[31mred\nnext":      `\x1b[31mred\nnext`,
		"\u202egnirts \"x\"":     `\u202egnirts "x"`,
		"FATAL: Datenbank \"ä\"": "FATAL: Datenbank \"ä\"",
	} {
		if got := Clean(in); got != want {
			t.Errorf("%q: got %s; want %s", in, got, want)
		}
	}
}

func TestCutAndPad(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Cut("postgres", 8), "postgres"}, {Cut("postgres", 5), "post…"}, {Cut("é漢x", 2), "é…"}, {Cut("x", 0), ""},
		{CutFront("postgres", 5), "…gres"}, {CutFront("pg", 5), "pg"}, {CutFront("pg", 0), ""},
		{Pad("é", 3, false), "é  "}, {Pad("7", 3, true), "  7"}, {Pad("postgres", 3, true), "po…"},
	} {
		if c.got != c.want {
			t.Errorf("got %q; want %q", c.got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	table := NewTable("NAME", ">ACTIVE", "NOTE")
	table.Row("pg-1", "7")
	table.Row("größer-2", "1234567", "down\x07")
	table.Row("", "")
	var b strings.Builder
	table.Write(&b)
	want := `NAME       ACTIVE  NOTE
pg-1            7
größer-2  1234567  down\a
-               -
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	empty, without := NewTable("NAME", "NOTE"), NewTable("NAME", "NOTE")
	without.Row("pg-1", "")
	b.Reset()
	empty.Write(&b)
	without.Write(&b)
	if got, want := b.String(), "NAME  NOTE\nNAME\npg-1\n"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

// On a narrow screen the last column goes below, and then the longest texts are cut: no
// line is longer, and no number is cut.
func TestTableFits(t *testing.T) {
	table := NewTable("NAME", "ADDRESS", ">ACTIVE", "NOTE")
	table.Row("postgres-primary-01", "10.0.0.11:5432", "7", "health is down: connection refused")
	table.Row("pg-2", "10.0.0.12:5432", "1234567")
	for _, c := range []struct {
		width int
		want  string
	}{
		{0, `NAME                 ADDRESS          ACTIVE  NOTE
postgres-primary-01  10.0.0.11:5432        7  health is down: connection refused
pg-2                 10.0.0.12:5432  1234567
`},
		{60, `NAME                 ADDRESS          ACTIVE
postgres-primary-01  10.0.0.11:5432        7
    health is down: connection refused
pg-2                 10.0.0.12:5432  1234567
`},
		{36, `NAME          ADDRESS         ACTIVE
postgr…ry-01  10.0.0…1:5432        7
    health is down: connection
    refused
pg-2          10.0.0…2:5432  1234567
`},
		{10, `NAME      ADDRESS    ACTIVE
post…-01  10.0…432        7
    health
    is
    down:
    connection
    refused
pg-2      10.0…432  1234567
`},
	} {
		var b strings.Builder
		table.Fit(c.width).Write(&b)
		if b.String() != c.want {
			t.Errorf("%d wide: got\n%swant\n%s", c.width, b.String(), c.want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text, indent string
		width        int
		want         string
	}{
		{"", "  ", 10, ""},
		{"one two", "", 0, "one two\n"},
		{"one two three", "", 7, "one two\nthree\n"},
		{"one two three", "  ", 9, "  one two\n  three\n"},
		{"a-word-that-is-too-long b", " ", 5, " a-word-that-is-too-long\n b\n"},
	} {
		if got := Wrap(c.text, c.width, c.indent); got != c.want {
			t.Errorf("%q in %d: got %q; want %q", c.text, c.width, got, c.want)
		}
	}
}

func TestBars(t *testing.T) {
	for _, c := range []struct {
		name   string
		points []float64
		width  int
		most   float64
		want   string
	}{
		{"none", nil, 3, 0, "   "},
		{"all zero", []float64{0, 0}, 3, 0, "   "},
		{"to the highest", []float64{0, 1, 4, 8}, 4, 0, " ▂▅█"},
		{"to a scale", []float64{1, 4, 16}, 3, 8, "▂▅█"},
		{"the least there is", []float64{0.001, 8}, 2, 0, "▁█"},
		{"the latest that fit", []float64{9, 9, 1, 2}, 2, 0, "▅█"},
	} {
		if got := Bars(c.points, c.width, c.most); got != c.want {
			t.Errorf("%s: got %q; want %q", c.name, got, c.want)
		}
	}
}
