package config

import (
	"strings"
	"testing"
)

func TestClosest(t *testing.T) {
	for _, test := range []struct {
		name, word string
		candidates []string
		want       string // empty for none
	}{
		{"a letter too many", "leastt-connections", Algorithms(), "least-connections"},
		{"swapped letters", "tpc", HealthTypes(), "tcp"},
		{"another separator", "ip_hash", Algorithms(), "ip-hash"},
		{"no separator", "roundrobin", Algorithms(), "round-robin"},
		{"another case", "JSON", LogFormats(), "json"},
		{"a shorter form", "leastconn", Algorithms(), "least-connections"},
		{"a longer form", "warning", LogLevels(), "warn"},
		{"the nearest of two", "postgres-3", []string{"postgres-12", "postgres-2"}, "postgres-2"},
		{"a form of two", "post", []string{"postgres-1", "postgres-2"}, ""},
		{"nothing near", "random", []string{"first", "ip-hash"}, ""},
		{"too short to tell", "x", HealthTypes(), ""},
		{"an empty word", "", HealthTypes(), ""},
		{"no candidates", "tcp", nil, ""},
		{"a word too long to compare", strings.Repeat("x", 1000), []string{strings.Repeat("x", 1001)}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, ok := closest(test.word, test.candidates); got != test.want || ok != (test.want != "") {
				t.Errorf("closest(%q, %q): got %q, %v; want %q", test.word, test.candidates, got, ok, test.want)
			}
		})
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "a", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"abcd", "acbd", 1},
	} {
		if got, back := distance(test.a, test.b), distance(test.b, test.a); got != test.want || back != test.want {
			t.Errorf("%q and %q: got %d and %d; want %d", test.a, test.b, got, back, test.want)
		}
	}
}

func TestDidYouMeanListsFewAndNotMany(t *testing.T) {
	if got, want := didYouMean("x", []string{"a", "b"}), "; want one of a, b"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
	many := strings.Split(strings.Repeat("name ", maxListed+1), " ")
	if got := didYouMean("x", many); got != "" {
		t.Errorf("got %q; want nothing", got)
	}
}
