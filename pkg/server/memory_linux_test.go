package server

import (
	"os"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// What the process touches is counted, soon; what it only has reserved is not.
func TestResident(t *testing.T) {
	m, err := openResident()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	used := func() int64 {
		t.Helper()
		n, err := m.used()
		if err != nil || n <= 0 {
			t.Fatalf("got %d, %v; want what this process uses", n, err)
		}
		return n
	}
	// The runtime's own memory shall neither grow nor shrink meanwhile.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	debug.FreeOSMemory()
	const size = 128 << 20
	before := used()
	block, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(block)
	reserved := used()
	for i := 0; i < size; i += os.Getpagesize() {
		block[i] = 1
	}
	touched := used()
	if reserved-before > size/2 {
		t.Errorf("%d bytes more after %d were reserved; want them not counted", reserved-before, size)
	}
	if touched-before < size/2 {
		t.Errorf("%d bytes more after %d were touched; want them counted", touched-before, size)
	}
}

func TestAnonymous(t *testing.T) {
	for _, test := range []struct {
		statm string
		want  int64
		ok    bool
	}{
		{"310112 9876 4321 2048 0 60000 0\n", 5555, true},
		{"1 2 3", 0, true},
		{"1 2", 0, false},
		{"1 x 3", 0, false},
		{"1 2 x", 0, false},
		{"", 0, false},
	} {
		got, err := anonymous([]byte(test.statm))
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("%q: got %d, %v; want %d, fine %v", test.statm, got, err, test.want, test.ok)
		}
	}
}

func FuzzAnonymous(f *testing.F) {
	f.Add([]byte("310112 9876 4321 2048 0 60000 0\n"))
	f.Fuzz(func(t *testing.T, statm []byte) {
		if n, err := anonymous(statm); n < 0 || err != nil && n != 0 {
			t.Errorf("%q: got %d, %v", statm, n, err)
		}
	})
}
