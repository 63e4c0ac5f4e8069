package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestPositions(t *testing.T) {
	const doc = `top = 1
a.b = 2
"a key".c = 3

[t]
  x = [
    1, 2,
    [ 3 ],
  ]
[[l]]
n = 1
[l.sub]
m = 2
[[l.in]]
[[l]]
[[l.in]]
[[l.in]]
k = { i = 1, j.k = [ { z = 0 } ] }
[implicit.inner]
`
	got := positions([]byte(doc))
	for path, want := range map[string]string{
		"":                    "1:1",
		"top":                 "1:1",
		"a":                   "2:1",
		"a.b":                 "2:3",
		`"a key"`:             "3:1",
		`"a key".c`:           "3:9",
		"t":                   "5:2",
		"t.x":                 "6:3",
		"t.x[0]":              "7:5",
		"t.x[1]":              "7:8",
		"t.x[2][0]":           "8:7",
		"l":                   "10:3",
		"l[0]":                "10:3",
		"l[0].n":              "11:1",
		"l[0].sub":            "12:4",
		"l[0].sub.m":          "13:1",
		"l[0].in[0]":          "14:5",
		"l[1]":                "15:3",
		"l[1].in":             "16:5",
		"l[1].in[0]":          "16:5",
		"l[1].in[1]":          "17:5",
		"l[1].in[1].k":        "18:1",
		"l[1].in[1].k.i":      "18:7",
		"l[1].in[1].k.j":      "18:14",
		"l[1].in[1].k.j.k":    "18:16",
		"l[1].in[1].k.j.k[0]": "18:22",
		"implicit":            "19:2",
		"implicit.inner":      "19:11",
	} {
		o, ok := got[path]
		if at := fmt.Sprintf("%d:%d", o.line, o.column); !ok || at != want {
			t.Errorf("%s: got %s (%v); want %s", path, at, ok, want)
		}
	}
}

// Brackets cost a byte each in a file; their paths must not cost the square.
func TestPositionsOfDeepDocumentsStaySmall(t *testing.T) {
	const depth = 5000
	for name, doc := range map[string]string{
		"arrays":      "x = " + strings.Repeat("[", depth) + strings.Repeat("]", depth),
		"dotted keys": "x" + strings.Repeat(".x", depth) + " = 1",
		"tables":      "[x" + strings.Repeat(".x", depth) + "]\ny = 1",
	} {
		if got := len(positions([]byte(doc))); got > 20 {
			t.Errorf("%s: got %d positions; want a dozen or so", name, got)
		}
	}
}

func TestProblemTakesTheNearestPlace(t *testing.T) {
	s := source{file: "f.toml", at: map[string]origin{
		"":        {line: 1, column: 1},
		"pool[0]": {line: 4, column: 3},
		"pool[1]": {flag: "--backend"},
	}}
	for path, want := range map[string]string{
		"listener":                  "f.toml:1: listener: wrong",
		"pool[0]":                   "f.toml:4: pool[0]: wrong",
		"pool[0].name":              "f.toml:4: pool[0].name: wrong",
		"pool[0].backend[7].weight": "f.toml:4: pool[0].backend[7].weight: wrong",
		"pool[1]":                   "--backend: wrong",
		"pool[1].name":              "--backend: name: wrong",
	} {
		if got := s.problem(path, "wrong").String(); got != want {
			t.Errorf("got %s; want %s", got, want)
		}
	}
}

func TestReportedCoversWhatIsInside(t *testing.T) {
	var s source
	s.report("pool[1].backend[1]", "wrong")
	for path, want := range map[string]bool{
		"pool[1].backend[1]":        true,
		"pool[1].backend[1].weight": true,
		"pool[1].backend[10]":       false,
		"pool[1].backend":           false,
		"pool[1]":                   false,
	} {
		if got := s.reported(path); got != want {
			t.Errorf("%s: got %v; want %v", path, got, want)
		}
	}
}

func TestUnindexed(t *testing.T) {
	for path, want := range map[string]string{
		"log":                "log",
		"pool[0].backend":    "pool.backend",
		"pool[12].health":    "pool.health",
		"pool[0].backend[3]": "pool.backend",
	} {
		if got := unindexed(path); got != want {
			t.Errorf("%s: got %s; want %s", path, got, want)
		}
	}
}
