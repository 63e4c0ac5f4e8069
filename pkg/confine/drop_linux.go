package confine

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// Capability is a part of root's power that may be kept (capabilities(7)).
type Capability int

const (
	NetBindService Capability = unix.CAP_NET_BIND_SERVICE // ports below 1024
	NetRaw         Capability = unix.CAP_NET_RAW          // raw sockets, for ICMP probes
)

// Drop makes the process run as id, in no other group, with the capabilities in keep
// and no others, and without a way to get more: not by a set-user-ID program, not by
// one with file capabilities (no_new_privs, prctl(2)). It is for every thread and for
// all that are made later.
//
// Only root can become another user. A process that runs as id already keeps what
// capabilities it has: who started it so has chosen them.
//
// If it fails, the process may be in between: it must not go on.
func Drop(id Identity, keep ...Capability) error {
	if os.Getuid() == id.UID && os.Geteuid() == id.UID && os.Getegid() == id.GID && id.UID != 0 {
		return noNewPrivileges()
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("become user %s: this process runs as user %d, and only root can change that", id.Name, os.Geteuid())
	}
	if id.UID == 0 {
		return fmt.Errorf("become user %s: is root; want one without its power", id.Name)
	}
	set := capabilitySet(keep)
	boundBy(set)
	steps := []struct {
		what string
		do   func() error
	}{
		{"keep capabilities", func() error { return prctl(unix.PR_SET_KEEPCAPS, 1) }},
		{"leave groups", func() error { return syscall.Setgroups([]int{}) }},
		{"set group", func() error { return syscall.Setresgid(id.GID, id.GID, id.GID) }},
		{"set user", func() error { return syscall.Setresuid(id.UID, id.UID, id.UID) }},
		{"set capabilities", func() error { return setCapabilities(set) }},
		{"forget to keep capabilities", func() error { return prctl(unix.PR_SET_KEEPCAPS, 0) }},
		{"set no_new_privs", noNewPrivileges},
		{"look back", func() error { return isDropped(id) }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("become user %s: %s: %w", id.Name, step.what, err)
		}
	}
	return nil
}

func noNewPrivileges() error { return prctl(unix.PR_SET_NO_NEW_PRIVS, 1) }

// prctl sets what is a thread's own on all of them.
func prctl(option int, value uintptr) error {
	if _, _, e := psx.Syscall6(unix.SYS_PRCTL, uintptr(option), value, 0, 0, 0, 0); e != 0 {
		return os.NewSyscallError("prctl", e)
	}
	return nil
}

func capabilitySet(all []Capability) (set uint64) {
	for _, c := range all {
		set |= 1 << c
	}
	return set
}

// boundBy takes the other capabilities out of the bounding set, so that no program that
// is run could have them. The kernel ends the list of those it knows with EINVAL. Where
// it is not permitted (a container without CAP_SETPCAP), no_new_privs does the same.
func boundBy(set uint64) {
	for c := range uintptr(64) {
		if set&(1<<c) == 0 && prctl(unix.PR_CAPBSET_DROP, c) != nil {
			return
		}
	}
}

// setCapabilities makes set all that is permitted and effective; nothing is inheritable.
func setCapabilities(set uint64) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	low, high := uint32(set), uint32(set>>32)
	data := [2]unix.CapUserData{{Effective: low, Permitted: low}, {Effective: high, Permitted: high}}
	if _, _, e := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); e != 0 {
		return os.NewSyscallError("capset", e)
	}
	return nil
}

// isDropped makes sure: a drop that was believed and did not happen is worse than none.
func isDropped(id Identity) error {
	real, effective, saved := unix.Getresuid()
	rgid, egid, sgid := unix.Getresgid()
	for _, got := range []int{real, effective, saved} {
		if got != id.UID {
			return errors.New("the user did not change")
		}
	}
	for _, got := range []int{rgid, egid, sgid} {
		if got != id.GID {
			return errors.New("the group did not change")
		}
	}
	return nil
}
