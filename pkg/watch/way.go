package watch

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxLinks is how many links a way may have, as in the kernel (path_resolution(7)).
const maxLinks = 40

// way is how a path leads to its file, as things are now.
type way struct {
	names map[string]bool // links and the file; or the first name that is missing
	dirs  map[string]bool // that hold them, without links
}

// wayTo follows an absolute path.
func wayTo(path string) way {
	w := way{names: map[string]bool{}, dirs: map[string]bool{}}
	for range maxLinks {
		end, rest := firstLink(path)
		w.names[end] = true
		w.dirs[filepath.Dir(end)] = true
		target, err := os.Readlink(end)
		if err != nil {
			break // the file, or what is missing
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(end), target)
		}
		path = filepath.Join(target, rest)
	}
	return w
}

// firstLink is the first part of a path that is a link or missing, or else all of it,
// and what follows.
func firstLink(path string) (end, rest string) {
	end = string(filepath.Separator)
	parts := strings.Split(strings.TrimPrefix(filepath.Clean(path), end), end)
	for i, part := range parts {
		end = filepath.Join(end, part)
		info, err := os.Lstat(end)
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return end, filepath.Join(parts[i+1:]...)
		}
	}
	return end, ""
}
