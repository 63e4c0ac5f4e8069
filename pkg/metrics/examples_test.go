package metrics

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	rulesFile     = "../../examples/prometheus/limeload.rules.yml"
	scrapeFile    = "../../examples/prometheus/prometheus.yml"
	dashboardFile = "../../examples/grafana/limeload.json"
)

// promtool runs Prometheus' own checker, where it is installed.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is not installed (Debian: prometheus)")
		}
		t.Skip("promtool is not installed (Debian: prometheus)")
	}
	c := exec.Command(path, args...)
	c.Stdin = strings.NewReader(stdin)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtool(t *testing.T) {
	t.Run("rules", func(t *testing.T) { promtool(t, "", "check", "rules", rulesFile) })
	t.Run("alerts fire", func(t *testing.T) { promtool(t, "", "test", "rules", "testdata/rules.test.yml") })
	t.Run("scrape configuration", func(t *testing.T) { promtool(t, "", "check", "config", "--syntax-only", scrapeFile) })
	t.Run("dashboard", func(t *testing.T) { promtool(t, "", "check", "rules", dashboardRules(t)) })
	t.Run("exposition", func(t *testing.T) {
		_, body := ask(t, Handler(two(t), Build{Version: "1"}), textFormat, "")
		promtool(t, string(body), "check", "metrics")
	})
}

// dashboardRules writes the expressions of the dashboard as recording rules, since
// that is where promtool looks for expressions. Grafana's variables get values.
func dashboardRules(t *testing.T) string {
	t.Helper()
	values := strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", ".*", "$listener", ".*", "$pool", ".*")
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for i, expr := range dashboard(t).expressions() {
		fmt.Fprintf(&rules, "  - record: panel:expression:%d\n    expr: %q\n", i, values.Replace(expr))
	}
	file := filepath.Join(t.TempDir(), "dashboard.rules.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// panels is what the tests read of a Grafana dashboard.
type panels struct {
	Panels []struct {
		ID      int
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
}

func dashboard(t *testing.T) (d panels) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d panels) expressions() (all []string) {
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDashboardIsInOrder(t *testing.T) {
	d := dashboard(t)
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q: number %d twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q: wider than the page", p.Title)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[at]; ok {
					t.Fatalf("panels %q and %q overlap", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
	}
}

// Examples and pages name only metrics that there are.
func TestExamplesNameWhatThereIs(t *testing.T) {
	known := map[string]bool{}
	for _, e := range catalogue() {
		known[e.name] = true
		if e.kind == "histogram" || e.kind == "summary" {
			known[e.name+"_sum"], known[e.name+"_count"] = true, true
			known[e.name+"_bucket"] = e.kind == "histogram"
		}
	}
	name := regexp.MustCompile(`\blimeload_[a-z0-9_]+`)
	for _, file := range []string{rulesFile, dashboardFile, "testdata/rules.test.yml", pageFile} {
		for _, n := range name.FindAllString(read(t, file), -1) {
			if !known[n] {
				t.Errorf("%s: there is no %s", file, n)
			}
		}
	}
}
