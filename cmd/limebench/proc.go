package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of the CPU times in /proc. It is a constant of the
// interface between kernel and user space (USER_HZ), whatever the kernel's own HZ.
const ticksPerSecond = 100

// procStat is what /proc/PID/stat says of a process, all threads together.
type procStat struct {
	parent int
	cpu    time.Duration // user and system
}

// parseProcStat reads the one line of /proc/PID/stat (proc_pid_stat(5)). The name in
// parentheses may hold anything, parentheses too.
func parseProcStat(text string) (s procStat, err error) {
	_, after, ok := cutLast(text, ")")
	fields := strings.Fields(after)
	if !ok || len(fields) < 13 {
		return s, fmt.Errorf("read process state: got %q", text)
	}
	parent, err1 := strconv.Atoi(fields[1])
	user, err2 := strconv.ParseUint(fields[11], 10, 64)
	system, err3 := strconv.ParseUint(fields[12], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return s, fmt.Errorf("read process state: %w", err)
	}
	return procStat{parent, ticks(user + system)}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func ticks(n uint64) time.Duration { return time.Duration(n) * time.Second / ticksPerSecond }

// parseMachineStat reads the CPU time that the machine has spent on anything from the
// first line of /proc/stat: user, nice, system, irq and softirq, not idle, iowait or
// what a hypervisor took. Guests are part of user and nice (proc_stat(5)).
func parseMachineStat(text string) (time.Duration, error) {
	first, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(first)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("read machine state: got %q", first)
	}
	var sum uint64
	for _, i := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read machine state: %w", err)
		}
		sum += n
	}
	return ticks(sum), nil
}

// parseKB finds a line such as "Pss:   12 kB" and answers it in bytes.
func parseKB(text, name string) (uint64, error) {
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		fields := strings.Fields(value)
		if len(fields) != 2 || fields[1] != "kB" {
			return 0, fmt.Errorf("read %s: got %q", name, line)
		}
		n, err := strconv.ParseUint(fields[0], 10, 54)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", name, err)
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("read %s: no such line", name)
}

// tree is the process and all that come from it, children of children too.
func tree(pid int) []int {
	parents := map[int]int{}
	entries, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range entries {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if s, err := readProcStat(child); err == nil {
			parents[child] = s.parent
		}
	}
	return descendants(parents, pid)
}

// descendants is root and all whose parents lead to it.
func descendants(parents map[int]int, root int) []int {
	out := []int{root}
	for i := 0; i < len(out); i++ {
		for child, parent := range parents {
			if parent == out[i] && child != out[i] {
				out = append(out, child)
			}
		}
	}
	return out
}

func readProcStat(pid int) (procStat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	return parseProcStat(string(text))
}

// processCPU is the CPU time that a process tree has spent.
func processCPU(pids []int) (sum time.Duration, err error) {
	for _, pid := range pids {
		s, err := readProcStat(pid)
		if err != nil {
			return 0, err
		}
		sum += s.cpu
	}
	return sum, nil
}

// processMemory is the memory of a process tree in bytes: what it has for itself and
// its share of what it shares (PSS), else all that is resident.
func processMemory(pids []int) (sum uint64, err error) {
	for _, pid := range pids {
		n, err := readMemory(pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func readMemory(pid int) (uint64, error) {
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid)); err == nil {
		return parseKB(string(text), "Pss")
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseKB(string(text), "VmRSS")
}

// machineCPU is the CPU time that the machine has spent.
func readMachineCPU() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseMachineStat(string(text))
}
