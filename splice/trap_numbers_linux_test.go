package splice_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestTrapNumbers: every trap of docs/development.md has a test with its number, and
// every number a line there.
func TestTrapNumbers(t *testing.T) {
	doc, err := os.ReadFile("../docs/development.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("trap_*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var tests []byte
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests = append(tests, text...)
	}
	told := numbers(doc, `(?m)^\| (\d+) \|`)
	tested := numbers(tests, `(?m)^func TestTrap0?(\d+)`)
	if len(told) != 23 {
		t.Errorf("docs/development.md tells of %d traps; want 23", len(told))
	}
	if !slices.Equal(told, tested) {
		t.Errorf("the traps %v are told and %v tested; want the same", told, tested)
	}
}

// numbers are what the expression's group finds in text, each once.
func numbers(text []byte, expression string) (found []string) {
	for _, m := range regexp.MustCompile(expression).FindAllSubmatch(text, -1) {
		found = append(found, string(m[1]))
	}
	slices.Sort(found)
	return slices.Compact(found)
}
