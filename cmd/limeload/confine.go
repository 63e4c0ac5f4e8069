package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/confine"
	"github.com/limeload/limeload/pkg/disk"
)

// confine gives up what is not needed once every listener is bound: first other files,
// while it may still look at all of them, then root.
func (p *process) confine(c *config.Config) error {
	if c.Process.Landlock {
		if err := p.restrictFiles(c); err != nil {
			return err
		}
	}
	if c.Process.User == "" {
		return nil
	}
	return p.becomeUser(c)
}

// identify finds out who is to be become, before anything is done.
func (p *process) identify(c *config.Process) (err error) {
	if c.User == "" {
		return nil
	}
	if p.identity, err = confine.Lookup(c.User, c.Group); err != nil {
		return fmt.Errorf("process.user: %w", err)
	}
	return nil
}

// becomeUser changes the user and makes sure that a reload will find its files.
func (p *process) becomeUser(c *config.Config) error {
	id := p.identity
	if os.Geteuid() == 0 {
		if err := p.handOver(c, id); err != nil {
			return fmt.Errorf("process.user: %w", err)
		}
	}
	if err := confine.Drop(id, neededCapabilities(c)...); err != nil {
		return fmt.Errorf("process.user: %w", err)
	}
	if err := p.reachable(c); err != nil {
		return fmt.Errorf("process.user: as user %s: %w", id.Name, err)
	}
	p.log.Info().Str("user", id.Name).Int("uid", id.UID).Int("gid", id.GID).Msg("privileges dropped")
	return nil
}

// handOver gives the user the unix sockets that root made, so that it can remove them,
// and the directory of the default admin socket.
func (p *process) handOver(c *config.Config, id confine.Identity) error {
	var paths []string
	for _, l := range c.Listeners {
		for _, a := range l.Listen {
			if a.Network == config.Unix {
				paths = append(paths, a.Path)
			}
		}
	}
	if p.adminSocket != "" {
		paths = append(paths, p.adminSocket)
		if c.Admin.Listen.Default {
			paths = append(paths, filepath.Dir(p.adminSocket))
		}
	}
	for _, path := range paths {
		if err := os.Lchown(path, id.UID, id.GID); err != nil {
			return err
		}
	}
	return nil
}

// neededCapabilities are those without which the configuration would not work after the
// change of user.
func neededCapabilities(c *config.Config) (needed []confine.Capability) {
	if listensLow(c) {
		needed = append(needed, confine.NetBindService)
	}
	if c.Probes(config.HealthICMP) {
		needed = append(needed, confine.NetRaw)
	}
	return needed
}

// listensLow reports whether a listener has a port that only the privileged may bind: it
// has to be bound again when its address changes hands at a reload.
func listensLow(c *config.Config) bool {
	for _, l := range c.Listeners {
		for _, a := range l.Listen {
			if a.Network != config.Unix && a.Port != 0 && a.Port < unprivilegedPort() {
				return true
			}
		}
	}
	return false
}

// unprivilegedPort is the lowest port that anybody may bind (ip(7),
// ip_unprivileged_port_start).
func unprivilegedPort() uint16 {
	port := uint16(1024)
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
		fmt.Sscan(string(b), &port)
	}
	return port
}

// reachable looks at what will be read and written later. Better that the start fails
// than a reload at night.
func (p *process) reachable(c *config.Config) error {
	var wrong []error
	paths := c.Paths()
	if p.file != "" {
		paths.Read = append(paths.Read, p.file)
	}
	for _, path := range paths.Read {
		if path == c.Admin.TokenFile {
			continue // was read, and is not read again
		}
		f, err := os.Open(path)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("a reload needs it: %w", err))
			continue
		}
		f.Close()
	}
	for _, dir := range paths.Change {
		switch file := c.Admin.StateFile; {
		case confine.CanWrite(dir):
		case file != "" && filepath.Dir(file) == dir:
			wrong = append(wrong, fmt.Errorf("admin.state_file: cannot make files in %s", dir))
		default:
			p.log.Warn().Str("directory", dir).Msg("not writable: nothing in it can be replaced or removed")
		}
	}
	return errors.Join(wrong...)
}

// restrictFiles puts Landlock in force, as far as the kernel has it, and says so.
func (p *process) restrictFiles(c *config.Config) error {
	paths := p.permitted(c)
	confined, err := confine.Restrict(paths)
	if err != nil {
		return fmt.Errorf("process.landlock: %w", err)
	}
	p.confined = confined
	if confined.ABI == 0 {
		p.log.Warn().Msg("landlock: this kernel has none, so files are not restricted")
		return nil
	}
	p.log.Info().Int("abi", confined.ABI).Strs("read", paths.Read).Strs("run", paths.Run).Strs("write", paths.Write).
		Str("network", "not restricted").Msg("landlock in force")
	return nil
}

// systemFiles are read by the Go runtime and the resolver, by TLS for its authorities,
// and for the figures of the process.
var systemFiles = []string{
	"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
	"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", // modules of the C library's resolver
	"/etc/localtime", "/usr/share/zoneinfo", "/proc", "/sys/fs/cgroup",
	"/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
}

// programFiles are what a program that is run as a probe needs itself.
var programFiles = []string{"/bin", "/lib", "/lib64", "/usr", "/etc/ld.so.cache", "/etc/passwd", "/etc/group"}

// permitted is all that the process and its probes have to do with.
func (p *process) permitted(c *config.Config) confine.Paths {
	named := c.Paths()
	if p.file != "" {
		named.Read = append(named.Read, p.file)
	}
	out := confine.Paths{Read: systemFiles, Run: named.Run, Write: append(named.Change, os.DevNull)}
	for _, path := range append(named.Read, "/etc/resolv.conf") {
		out.Read = append(out.Read, surroundings(path)...)
	}
	if len(named.Run) > 0 {
		out.Run = append(out.Run, programFiles...)
	}
	if p.adminSocket != "" {
		out.Write = append(out.Write, filepath.Dir(p.adminSocket))
	}
	return out
}

// surroundings are the directories of a file and of what it links to: a file that is
// replaced by another of its name is another one to the kernel. Where that would be all
// of the system's configuration, it is the file alone.
func surroundings(path string) (dirs []string) {
	around := func(file string) {
		if dir := filepath.Dir(file); dir == "/" || dir == "/etc" {
			dirs = append(dirs, file)
		} else {
			dirs = append(dirs, dir)
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	around(path)
	if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
		around(real)
	}
	return dirs
}

// permits tells which files of a new configuration the process cannot reach any more.
// The error is of type config.Problems.
func (p *process) permits(ctx context.Context, c *config.Config) error {
	if p.confined == nil {
		return nil
	}
	var wrong config.Problems
	paths := c.Paths()
	for _, all := range [][]string{paths.Read, paths.Run, paths.Change} {
		for _, path := range all {
			// Permits follows links, and would wait for as long as the file system does.
			if _, err := p.disk.Stat(ctx, path); errors.Is(err, disk.ErrSilent) {
				wrong = append(wrong, config.Problem{Path: "process.landlock", Text: err.Error()})
				continue
			}
			if err := p.confined.Permits(path); err != nil {
				wrong = append(wrong, config.Problem{Path: "process.landlock", Text: err.Error() + "; that needs a restart"})
			}
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return wrong
}
