package confine

import (
	"fmt"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// What a rule grants. Those for directories have rights that a file cannot have.
const (
	readFile = ll.AccessFSReadFile
	readDir  = readFile | ll.AccessFSReadDir
	runFile  = readFile | ll.AccessFSExecute
	runDir   = readDir | ll.AccessFSExecute
)

// Restrict has the kernel refuse every access to files but those in p, for every thread
// and every child (landlock(7)). What is open stays so. The network is not restricted,
// and neither is a connect to a unix socket.
//
// Where the kernel knows no Landlock nothing is restricted, and the ABI of the answer is
// 0; an older one restricts less (before 3 files may be truncated). An error means that
// nothing is.
func Restrict(p Paths) (*Confinement, error) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		return &Confinement{}, nil
	}
	var rules []landlock.Rule
	add := func(paths []string, dir, file func(string) landlock.Rule) {
		for _, path := range paths {
			info, err := os.Stat(path)
			switch {
			case err != nil: // missing, or out of reach anyway
			case info.IsDir():
				rules = append(rules, dir(path))
			default:
				rules = append(rules, file(path))
			}
		}
	}
	grant := func(rights landlock.AccessFSSet) func(string) landlock.Rule {
		return func(path string) landlock.Rule { return landlock.PathAccess(rights, path).IgnoreIfMissing() }
	}
	add(p.Read, grant(readDir), grant(readFile))
	add(p.Run, grant(runDir), grant(runFile))
	add(p.Write,
		func(path string) landlock.Rule { return landlock.RWDirs(path).IgnoreIfMissing() },
		func(path string) landlock.Rule { return landlock.RWFiles(path).IgnoreIfMissing() })
	// Version 8 is the last whose rights are all about files: later ones would also
	// restrict connects to unix sockets.
	if err := landlock.V8.BestEffort().RestrictPaths(rules...); err != nil {
		return nil, fmt.Errorf("landlock: %w", err)
	}
	return &Confinement{ABI: abi, paths: p}, nil
}
