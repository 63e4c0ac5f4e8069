package main

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestParseProcStat(t *testing.T) {
	const tail = " S 41 42 42 0 -1 4194560 1000 2000 3 4 150 50 7 8 20 0 4 0 123456 1000000 500"
	for name, c := range map[string]struct {
		text string
		want procStat
		ok   bool
	}{
		"plain":              {"42 (haproxy)" + tail, procStat{41, 2 * time.Second}, true},
		"a name with blanks": {"42 (nginx: worker process)" + tail, procStat{41, 2 * time.Second}, true},
		"a name with )":      {"42 (a) S 9 9 (b))" + tail, procStat{41, 2 * time.Second}, true},
		"cut short":          {"42 (haproxy) S 41 42", procStat{}, false},
		"no name":            {"42 haproxy" + tail, procStat{}, false},
		"not a number":       {"42 (x) S 41 42 42 0 -1 4194560 1000 2000 3 4 many 50 7", procStat{}, false},
		"nothing":            {"", procStat{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseProcStat(c.text)
			if got != c.want || (err == nil) != c.ok {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func FuzzParseProcStat(f *testing.F) {
	f.Add("42 (nginx: worker) S 41 42 42 0 -1 4194560 1000 2000 3 4 150 50 7 8")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = parseProcStat(text) })
}

func TestParseMachineStat(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want time.Duration
		ok   bool
	}{
		"all but idle, iowait and steal": {"cpu  100 20 300 9999 9999 4 5 9999 7 0\ncpu0 1 2 3", 4290 * time.Millisecond, true},
		"of another format":              {"intr 1 2 3 4 5 6 7 8\n", 0, false},
		"cut short":                      {"cpu  100 20 300\n", 0, false},
		"not a number":                   {"cpu  100 x 300 1 1 1 1 1\n", 0, false},
		"nothing":                        {"", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseMachineStat(c.text)
			if got != c.want || (err == nil) != c.ok {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestParseKB(t *testing.T) {
	const rollup = "55d0-7ffc ---p 00000000 00:00 0   [rollup]\nRss:    1744 kB\nPss:     209 kB\nPss_Anon:  80 kB\n"
	for name, c := range map[string]struct {
		text string
		want uint64
		ok   bool
	}{
		"among others": {rollup, 209 << 10, true},
		"not there":    {"Rss: 1744 kB\nPss_Anon: 80 kB\n", 0, false},
		"other unit":   {"Pss: 12 MB\n", 0, false},
		"no unit":      {"Pss: 12\n", 0, false},
		"no number":    {"Pss: x kB\n", 0, false},
		"too large":    {"Pss: 99999999999999999999 kB\n", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseKB(c.text, "Pss")
			if got != c.want || (err == nil) != c.ok {
				t.Errorf("got %d, %v; want %d", got, err, c.want)
			}
		})
	}
}

func TestDescendants(t *testing.T) {
	got := descendants(map[int]int{1: 0, 10: 1, 11: 10, 12: 10, 13: 12, 20: 1, 21: 20}, 10)
	slices.Sort(got)
	if want := []int{10, 11, 12, 13}; !slices.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
}

// TestOwnProcess reads the files of a real process: this one.
func TestOwnProcess(t *testing.T) {
	pids := tree(os.Getpid())
	if pids[0] != os.Getpid() {
		t.Fatalf("got %v; want %d first", pids, os.Getpid())
	}
	before, err := readCPU(pids[:1])
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		after, err := readCPU(pids[:1])
		if err != nil {
			t.Fatal(err)
		}
		if d := after.since(before); d.proxy >= 20*time.Millisecond && d.machine >= 20*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("this loop costs no CPU time, or the machine's does not include it")
		}
	}
	if n, err := processMemory(pids[:1]); err != nil || n < 1<<20 {
		t.Errorf("got %d bytes, %v; want more than a MiB", n, err)
	}
}
