package confine

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Paths are files and directories; a directory stands for all that is in it, now and
// later. Those that are missing are passed over.
type Paths struct {
	Read  []string // may be read
	Run   []string // may be read and executed
	Write []string // anything may be done with them
}

// Confinement is what Restrict has put in force.
type Confinement struct {
	// ABI is the kernel's version of Landlock, 0 for none: then nothing is restricted.
	ABI   int
	paths Paths
}

// Permits answers an error if path, which need not exist, could not be read. On a nil
// Confinement everything can.
func (c *Confinement) Permits(path string) error {
	if c == nil || c.ABI == 0 {
		return nil
	}
	at := resolved(path)
	for _, all := range [][]string{c.paths.Read, c.paths.Run, c.paths.Write} {
		for _, p := range all {
			if root := resolved(p); at == root || strings.HasPrefix(at, strings.TrimSuffix(root, "/")+"/") {
				return nil
			}
		}
	}
	return fmt.Errorf("%s: not among the files and directories that were permitted at the start", path)
}

// resolved is path without symbolic links, as far as it exists: the kernel looks at
// where they lead.
func resolved(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if dir, name := filepath.Split(path); name != "" && dir != path {
		return filepath.Join(resolved(filepath.Clean(dir)), name)
	}
	return path
}
