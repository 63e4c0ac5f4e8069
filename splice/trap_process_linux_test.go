package splice_test

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// trapProcess in the environment names the test that a process is for.
const trapProcess = "SPLICE_TRAP_PROCESS"

// alone runs a test that changes its process in a process of its own, with a network
// of its own if that is asked for, and reports whether this is it.
func alone(t *testing.T, network bool) bool {
	t.Helper()
	if os.Getenv(trapProcess) == t.Name() {
		if network {
			runCommand(t, "ip", "link", "set", "lo", "up")
		}
		return true
	}
	var pattern []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	args := []string{"-test.run=" + strings.Join(pattern, "/"), "-test.v", "-test.timeout=2m"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), trapProcess+"="+t.Name())
	if network {
		needRoot(t)
		needCommand(t, "ip")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	}
	out, err := cmd.CombinedOutput()
	if cmd.Process == nil {
		skipOutsideCI(t, "no such process may be made here: "+err.Error())
	}
	if reason, skipped := skipReason(string(out), t.Name()); err == nil && skipped {
		t.Skip(reason)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Errorf("subprocess: %v\n%s", err, out)
	}
	return false
}

// skipReason finds in the output of a process that its test was skipped.
func skipReason(out, test string) (reason string, skipped bool) {
	before, _, skipped := strings.Cut(out, "--- SKIP: "+test+" ")
	lines := strings.Split(strings.TrimSpace(before), "\n")
	return strings.TrimSpace(lines[len(lines)-1]), skipped
}

// needCommand skips a test where a program is missing.
func needCommand(t *testing.T, name string) {
	t.Helper()
	_, err := exec.LookPath(name)
	if err != nil {
		skipOutsideCI(t, err.Error())
	}
}

// skipOutsideCI skips a test that this machine cannot run. The project's own checks
// must not miss it.
func skipOutsideCI(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// needRoot skips a test that changes the machine's own ways.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skipOutsideCI(t, "needs root")
	}
}

func runCommand(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// setSysctl writes a file below /proc/sys.
func setSysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// becomeNobody gives up all privileges of the process, for good.
func becomeNobody(t *testing.T) {
	t.Helper()
	const nobody = 65534
	for _, err := range []error{
		syscall.Setgroups(nil),
		syscall.Setgid(nobody),
		syscall.Setuid(nobody),
		// Else /proc/self would be root's.
		unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// refuseSplice makes the kernel answer e to every splice(2) of the process, for
// good, as a sandbox may do.
func refuseSplice(t *testing.T, e syscall.Errno) {
	t.Helper()
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_SPLICE},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(e)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if errno == unix.ENOSYS {
		skipOutsideCI(t, "a kernel without seccomp")
	}
	if errno != 0 || thread != 0 {
		t.Fatalf("seccomp: %v, thread %d", errno, thread)
	}
}
