package server

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// resident is the process's memory as the system counts it: pages that are its own and
// lie in memory now (RssAnon of /proc/self/status). Pages of files, such as those of
// the program, are not in it: the system takes them back when it needs to. Nor is what
// the kernel holds for sockets.
//
// The file stays open, so that it can be read after privileges and files were given
// up.
type resident struct{ statm *os.File }

func openResident() (memory, error) {
	f, err := os.Open("/proc/self/statm")
	if err != nil {
		return nil, err
	}
	return &resident{f}, nil
}

func (r *resident) used() (int64, error) {
	var b [256]byte
	n, err := r.statm.ReadAt(b[:], 0)
	if n == 0 {
		return 0, err
	}
	pages, err := anonymous(b[:n])
	return pages * int64(os.Getpagesize()), err
}

func (r *resident) Close() error { return r.statm.Close() }

// anonymous takes the resident pages that are not of files from what statm says:
// "size resident shared text lib data dt", in pages (proc_pid_statm(5)).
func anonymous(statm []byte) (int64, error) {
	fields := bytes.Fields(statm)
	if len(fields) < 3 {
		return 0, fmt.Errorf("read /proc/self/statm: got %q", statm)
	}
	all, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read /proc/self/statm: %w", err)
	}
	shared, err := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read /proc/self/statm: %w", err)
	}
	return max(all-shared, 0), nil
}
