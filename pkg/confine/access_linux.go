package confine

import "golang.org/x/sys/unix"

// CanWrite reports whether files can be made in a directory.
func CanWrite(dir string) bool { return unix.Access(dir, unix.W_OK|unix.X_OK) == nil }
