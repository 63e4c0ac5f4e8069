package main

import (
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/limeload/limeload/healthcheck"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
	"github.com/limeload/limeload/splice"
)

var update = flag.Bool("update", false, "rewrite what is generated in docs/")

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The table of keys in docs/configuration.md is what the code says.
func TestConfigurationReference(t *testing.T) {
	const open, end = "-update` -->\n", "<!-- /keys -->"
	doc := read(t, "docs/configuration.md")
	before, rest, _ := strings.Cut(doc, open)
	got, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatal("docs/configuration.md has lost its marks")
	}
	want := keyTable()
	if *update {
		if err := os.WriteFile("../../docs/configuration.md", []byte(before+open+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("the table of keys is out of date: go test ./cmd/limeload -run %s -update", t.Name())
	}
}

func keyTable() string {
	var b strings.Builder
	b.WriteString("\n| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, k := range config.Keys() {
		def := "`" + k.Default + "`"
		if k.Required {
			def = "required"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Path, k.Type, def, strings.ReplaceAll(k.Doc, "|", `\|`))
	}
	b.WriteString("\n")
	return b.String()
}

// Every example, and every TOML block in the documentation, is a valid file.
func TestExamplesLoad(t *testing.T) {
	files, _ := filepath.Glob("../../examples/*.toml")
	if len(files) == 0 {
		t.Fatal("no examples")
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			cfg, err := config.Load(f)
			if err == nil {
				err = cfg.Validate()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```")
	for _, name := range []string{"README.md", "docs/configuration.md", "docs/dashboard.md", "docs/health.md"} {
		for i, m := range blocks.FindAllStringSubmatch(read(t, name), -1) {
			t.Run(fmt.Sprintf("%s-%d", filepath.Base(name), i), func(t *testing.T) {
				cfg, err := config.Parse(name, []byte(m[1]))
				if err == nil {
					err = cfg.Validate()
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// An operator who meets a reason in a log finds it in the documentation.
func TestReasonsAreDocumented(t *testing.T) {
	doc := read(t, "docs/operations.md")
	for _, r := range splice.Reasons() {
		if !strings.Contains(doc, "| `"+r.String()+"` |") {
			t.Errorf("docs/operations.md does not explain the reason %s", r)
		}
	}
}

// Likewise a reason for which a client was refused.
func TestRefusalsAreDocumented(t *testing.T) {
	doc := read(t, "docs/limits.md")
	for r := range server.Refusal(server.NumRefusals) {
		if !strings.Contains(doc, "| `"+r.String()+"` |") {
			t.Errorf("docs/limits.md does not explain the reason %s", r)
		}
	}
}

// Links between the documents lead somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)`)
	docs, _ := filepath.Glob("../../docs/*.md")
	for _, doc := range append(docs, "../../README.md") {
		b, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s: the link %s leads nowhere", filepath.Base(doc), m[1])
			}
		}
	}
}

// Each prober has a section, which tells how to try it.
func TestProbersAreDocumented(t *testing.T) {
	doc := read(t, "docs/health.md")
	for _, kind := range config.HealthTypes() {
		if kind == config.HealthNone || kind == config.HealthHTTPS {
			continue // the latter is with http
		}
		if !regexp.MustCompile(`(?m)^### (.*, )?` + kind + `(, .*)?$`).MatchString(doc) {
			t.Errorf("docs/health.md has no section on %s", kind)
		}
	}
}

// Whoever reads the JSON of check finds its fields and codes in the documentation.
func TestCheckFieldsAreDocumented(t *testing.T) {
	doc := read(t, "docs/health.md")
	for f := range fieldNames(outcomeJSON{}) {
		if !strings.Contains(doc, "`"+f+"`") {
			t.Errorf("docs/health.md does not explain the field %s", f)
		}
	}
	for _, r := range healthcheck.Reasons() {
		if !strings.Contains(doc, "`"+string(r)+"`") {
			t.Errorf("docs/health.md does not explain the code %s", r)
		}
	}
}

// fieldNames are the names that JSON has for the fields of a struct.
func fieldNames(v any) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !yield(name) {
				return
			}
		}
	}
}
