package metrics

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

var update = flag.Bool("update", false, "write the tables of docs/metrics.md anew")

const pageFile = "../../docs/metrics.md"

// entry is a metric as the page shows it.
type entry struct{ section, name, kind, labels, help string }

// catalogue lists every metric of ours, in the order of the page.
func catalogue() (all []entry) {
	info := Build{}.info()
	all = append(all, entry{"process", info.GetName(), "gauge", "`version` `commit` `goversion`", info.GetHelp()})
	all = append(all, entries("process", "", process)...)
	all = append(all, entries("listener", "`listener`", listeners)...)
	all = append(all, entries("pool", "`pool`", pools)...)
	all = append(all, entries("backend", "`pool` `backend`", backends)...)
	return append(all, entries("loop", "`loop`", loops)...)
}

func entries[T any](section, labels string, fs []family[T]) (all []entry) {
	for _, f := range fs {
		e := entry{section, prefix + f.name, strings.ToLower(dto.MetricType_name[int32(f.kind)]), labels, f.help}
		if f.by != "" {
			e.labels = strings.TrimSpace(e.labels + " `" + f.by + "`: " + strings.Join(f.values, " "))
		}
		all = append(all, e)
	}
	return all
}

// table is a section of the page.
func table(section string) string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, e := range catalogue() {
		if e.section == section {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", e.name, e.kind, e.labels, e.help)
		}
	}
	return b.String()
}

// The tables of docs/metrics.md are those of the code.
func TestPage(t *testing.T) {
	page := read(t, pageFile)
	want := page
	for _, section := range []string{"process", "listener", "pool", "backend", "loop"} {
		begin, end := "<!-- "+section+" -->\n", "<!-- end -->\n"
		before, rest, ok := strings.Cut(want, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s: got no %q with an end", pageFile, strings.TrimSpace(begin))
		}
		want = before + begin + table(section) + end + after
	}
	if page == want {
		return
	}
	if !*update {
		t.Fatalf("%s differs from the code; go test ./pkg/metrics -run TestPage -update writes it", pageFile)
	}
	if err := os.WriteFile(pageFile, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
