package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	const base = `
[[listener]]
name = "pg"
listen = [":5432"]
pool = "pg"
[[pool]]
name = "pg"
backend = [{ name = "a", address = "10.0.0.1:1" }, { name = "b", address = "10.0.0.2:1" }]
`
	tests := []struct {
		name, to string
		want     []string
	}{
		{"the same", base, nil},
		{"the order of backends",
			strings.Replace(base, `{ name = "a", address = "10.0.0.1:1" }, { name = "b", address = "10.0.0.2:1" }`,
				`{ name = "b", address = "10.0.0.2:1" }, { name = "a", address = "10.0.0.1:1" }`, 1),
			[]string{"pool.pg.backend: [a b] -> [b a]"}},
		{"a weight", strings.Replace(base, `"10.0.0.2:1"`, `"10.0.0.2:1", weight = 5`, 1),
			[]string{"pool.pg.backend.b.weight: 1 -> 5"}},
		{"a backend added and one removed", strings.Replace(base, `name = "b"`, `name = "c"`, 1),
			[]string{"pool.pg.backend.b: removed", "pool.pg.backend.c: added"}},
		{"addresses", strings.Replace(base, `[":5432"]`, `[":5432", "127.0.0.1:5433"]`, 1),
			[]string{"listener.pg.listen: [:5432] -> [:5432 127.0.0.1:5433]"}},
		{"nested tables and durations", base + `[pool.health]
interval = "5s"
`, []string{`pool.pg.health.interval: "2s" -> "5s"`}},
		{"a secret", strings.Replace(base, "[[pool]]", "[[pool]]\nalgorithm = \"ip-hash\"\nhash_key = \"xyzzy\"", 1),
			[]string{`pool.pg.algorithm: [least-connections] -> [ip-hash]`, "pool.pg.hash_key: (secret) -> (another secret)"}},
		{"the process", "engine = { threads = 3 }\n" + base, []string{"engine.threads: 0 -> 3"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			from, err := Parse("from", []byte(base))
			if err != nil {
				t.Fatal(err)
			}
			to, err := Parse("to", []byte(test.to))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range Diff(from, to) {
				got = append(got, c.String())
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("differences (-want +got):\n%s", d)
			}
		})
	}
}
