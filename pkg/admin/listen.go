package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/limeload/limeload/pkg/config"
)

// ErrTaken is Listen's error when another process serves the default socket: a
// second limeload on the machine then runs without one.
var ErrTaken = errors.New("another instance serves it")

// Listen opens what the configuration says; nil if that is off. Where the default
// cannot be had, the error says why, and a server may run without.
func Listen(c config.AdminListen) (net.Listener, error) {
	switch {
	case c.Default:
		return listenDefault()
	case c.Address.IsZero():
		return nil, nil
	case c.Address.Network == config.Unix:
		return listenUnix(c.Address.Path)
	}
	ln, err := net.Listen("tcp", c.Address.String())
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	return ln, nil
}

// DefaultSocket is the path of the default socket: in the directory that systemd made
// for the service, else the system's for root, else the user's own. It is empty where
// there is none of them.
func DefaultSocket() string {
	switch {
	case os.Getenv("RUNTIME_DIRECTORY") != "":
		first, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":") // systemd.exec(5)
		return filepath.Join(first, "admin.sock")
	case os.Geteuid() == 0:
		return "/run/limeload/admin.sock"
	case os.Getenv("XDG_RUNTIME_DIR") != "":
		return filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "limeload", "admin.sock")
	}
	return ""
}

// errNoDefault is for somebody else than root outside a login session: in a container,
// say, or started by cron.
var errNoDefault = errors.New("admin: no default socket: neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR is set; want [admin] listen or --admin")

func listenDefault() (net.Listener, error) {
	path := DefaultSocket()
	if path == "" {
		return nil, errNoDefault
	}
	// The system says no more than "invalid argument" of a path that is too long.
	if _, err := config.ParseAddress("unix:" + path); err != nil {
		return nil, fmt.Errorf("admin: default socket: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	return listenUnix(path)
}

// listenUnix makes a socket that only its owner may use. A file that nobody listens
// on is left over from a process that was killed, and is replaced.
func listenUnix(path string) (net.Listener, error) {
	ln, err := bindUnix(path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if c, dialErr := net.Dial("unix", path); dialErr == nil {
			c.Close()
			return nil, fmt.Errorf("admin: %s: %w", path, ErrTaken)
		} else if !isSocket(path) {
			return nil, fmt.Errorf("admin: %w: what is there is no socket", err)
		} else if !errors.Is(dialErr, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("admin: %w", err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
		ln, err = bindUnix(path)
	}
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	return ln, nil
}

// bindUnix has the mode right from the first moment: a chmod afterwards would leave
// one in which others can connect. The umask is the whole process's, so this is for
// its start.
func bindUnix(path string) (net.Listener, error) {
	defer syscall.Umask(syscall.Umask(0o177))
	return net.Listen("unix", path)
}

func isSocket(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&os.ModeSocket != 0
}
