package testserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// status is what /proc says of a process; zero if there is none.
type status struct {
	state  string // "R" runs, "S" sleeps, "T" is stopped, "Z" is dead
	parent int
}

// stat reads proc_pid_stat(5): "pid (name) state ppid ...", where a name may hold
// anything.
func stat(pid int) status {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return status{}
	}
	fields := strings.Fields(string(line[strings.LastIndexByte(string(line), ')')+1:]))
	if len(fields) < 2 {
		return status{}
	}
	parent, _ := strconv.Atoi(fields[1])
	return status{fields[0], parent}
}

// children lists the processes whose parent is pid.
func children(pid int) []int {
	var found []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if child, err := strconv.Atoi(filepath.Base(dir)); err == nil && stat(child).parent == pid {
			found = append(found, child)
		}
	}
	return found
}
