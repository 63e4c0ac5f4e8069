package admin

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// docs/api.md has every operation, and none that is not there.
func TestReferenceHasEveryOperation(t *testing.T) {
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	table, _, _ := strings.Cut(doc[strings.Index(doc, "| request | does |"):], "\n\n")
	r := newRig(t, Options{}, false)
	there := map[string]bool{}
	for _, op := range operationsOf(t, r, strings.NewReplacer()) {
		there[op[0]+" "+op[1]] = true
		if !strings.Contains(table, "`"+op[0]+" "+op[1]+"`") {
			t.Errorf("docs/api.md lacks %s %s", op[0], op[1])
		}
	}
	for _, m := range regexp.MustCompile("`([A-Z]+ /api/[^`?]*)`").FindAllStringSubmatch(table, -1) {
		if !there[m[1]] {
			t.Errorf("docs/api.md has %s, which is not there", m[1])
		}
	}
}
