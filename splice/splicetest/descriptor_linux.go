package splicetest

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// openDescriptors is the set of this process's descriptors, and what they are.
func openDescriptors(t testing.TB) map[int]string {
	t.Helper()
	open, err := listDescriptors()
	if err != nil {
		t.Fatal(err)
	}
	return open
}

func listDescriptors() (map[int]string, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	open := make(map[int]string)
	for _, entry := range entries {
		// The directory's own descriptor is gone by now, and so has no link.
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			fd, _ := strconv.Atoi(entry.Name())
			open[fd] = target
		}
	}
	return open, nil
}

// WatchDescriptors answers a function for the end of a TestMain: its error names the
// descriptors that are open and were not when WatchDescriptors was called. Those of
// the Go runtime's own poller do not count.
func WatchDescriptors() (leaked func() error) {
	before, err := listDescriptors()
	return func() error {
		after, err2 := listDescriptors()
		if err != nil || err2 != nil {
			return nil
		}
		var left []string
		for fd, target := range after {
			if before[fd] != target && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
				left = append(left, fmt.Sprintf("%d (%s)", fd, target))
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("descriptors left open: %v", left)
		}
		return nil
	}
}
