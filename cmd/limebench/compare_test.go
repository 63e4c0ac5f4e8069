package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestCompareEveryRow builds limeload and lets it, and what is installed of the
// others, do every kind of work for a moment.
func TestCompareEveryRow(t *testing.T) {
	if testing.Short() {
		t.Skip("builds limeload and runs for a minute")
	}
	limeload := filepath.Join(t.TempDir(), "limeload")
	if out, err := exec.Command("go", "build", "-o", limeload, "../limeload").CombinedOutput(); err != nil {
		t.Fatalf("build limeload: %v\n%s", err, out)
	}
	cmd := exec.Command("limebench", "compare", "--limeload", limeload, "--rounds", "1", "--duration", "500ms", "--warmup", "50ms",
		"--idle", "1200", "--work", "download-8,upload-8,pingpong-8,connect-8,idle", "-o", "json")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Lines) != 5 || len(r.Configurations) == 0 {
		t.Errorf("got %d lines, %d configurations; want 5 and some", len(r.Lines), len(r.Configurations))
	}
	for _, l := range r.Lines {
		for name, row := range l.Rows {
			checkRow(t, l.Name+", "+name, l.Unit, name == "direct", row)
		}
	}
}

// checkRow tells which figures a row lacks.
func checkRow(t *testing.T, what, unit string, direct bool, row rowReport) {
	t.Helper()
	want := []metric{throughput, p50, p999, machineCPU}
	switch {
	case len(row.Medians) == 0 && direct:
		return // idle
	case row.Medians[total].Rounds > 0:
		want = []metric{memory, idleCPU}
	case unit == "GB":
		want = []metric{throughput, machineCPU}
	}
	if !direct && row.Medians[total].Rounds == 0 {
		want = append(want, proxyCPU)
	}
	for _, m := range want {
		if row.Medians[m].Rounds != 1 {
			t.Errorf("%s: got no %s", what, m)
		}
	}
}
