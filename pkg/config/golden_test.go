package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/limeload/limeload/pkg/config"
)

var update = flag.Bool("update", false, "write testdata/*.problems anew")

// TestProblems compares what is said of each testdata/NAME.toml with
// NAME.problems beside it. Read together they are the list of what limeload
// refuses, and in which words; no .problems file means that all is well.
func TestProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("got files %v, error %v; want testdata", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			golden := strings.TrimSuffix(file, ".toml") + ".problems"
			got := problemsOf(t, file)
			if *update {
				writeGolden(t, golden, got)
			}
			want, err := os.ReadFile(golden)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// problemsOf is what limeload validate would print: a line per problem.
func problemsOf(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(filepath.Base(file), data)
	if err == nil {
		err = c.Validate()
	}
	if err == nil {
		return ""
	}
	return err.Error() + "\n"
}

func writeGolden(t *testing.T, file, problems string) {
	t.Helper()
	if problems == "" {
		return
	}
	if err := os.WriteFile(file, []byte(problems), 0o644); err != nil {
		t.Fatal(err)
	}
}
