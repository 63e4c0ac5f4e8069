package healthcheck

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// insideNamespace runs the calling test once more, alone, in a process with a
// network namespace of its own. There it answers true, with lo up, and the
// test goes on; outside it reports how that went and answers false.
func insideNamespace(t *testing.T) bool {
	t.Helper()
	const marker = "HEALTHCHECK_TEST_NAMESPACE"
	if os.Getenv(marker) == t.Name() {
		run(t, "ip", "link", "set", "lo", "up")
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), marker+"="+t.Name())
	cmd.SysProcAttr = newNamespace()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skipf("network namespace: %v", err)
	}
	switch err := cmd.Wait(); {
	case err != nil:
		t.Errorf("in a network namespace: %v\n%s", err, out.Bytes())
	case strings.Contains(out.String(), "--- SKIP"):
		t.Skipf("in a network namespace:\n%s", out.Bytes())
	default:
		t.Logf("in a network namespace:\n%s", out.Bytes())
	}
	return false
}

// newNamespace asks for a network namespace, and for a user namespace in which
// that is permitted when this process is not root.
func newNamespace() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
	return attr
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// setSysctl sets a sysctl of this process's network namespace; name is a path
// below /proc/sys.
func setSysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
		t.Skip(err) // a read-only /proc, as in most containers
	}
}

// Where addRouter's routes lead.
const (
	unreachable4, unreachable6 = "10.99.1.1", "fd99:1::1" // the router says "host unreachable"
	prohibited4, prohibited6   = "10.99.2.1", "fd99:2::1" // "administratively prohibited"
	blackhole4, blackhole6     = "10.99.3.1", "fd99:3::1" // nothing
	router4, router6           = "10.99.0.1", "fd99::1"
)

// addRouter gives this namespace a neighbour, in a namespace of its own, that
// forwards nothing and says so in different ways.
func addRouter(t *testing.T) {
	t.Helper()
	router := exec.Command("sh", "-e")
	router.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	router.Stderr = os.Stderr
	stdin, _ := router.StdinPipe()
	stdout, _ := router.StdoutPipe()
	if err := router.Start(); err != nil {
		t.Skipf("router's namespace: %v", err)
	}
	t.Cleanup(func() { stdin.Close(); router.Wait() })

	run(t, "ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
	run(t, "ip", "link", "set", "far", "netns", fmt.Sprint(router.Process.Pid))
	fmt.Fprintln(stdin, `
		ip link set lo up; ip link set far up
		ip addr add 10.99.0.1/24 dev far; ip addr add fd99::1/64 dev far nodad
		cd /proc/sys/net
		echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding
		echo 0 > ipv4/icmp_ratelimit; echo 0 > ipv6/icmp/ratelimit
		ip route add unreachable 10.99.1.0/24; ip route add unreachable fd99:1::/64
		ip route add prohibit    10.99.2.0/24; ip route add prohibit    fd99:2::/64
		ip route add blackhole   10.99.3.0/24; ip route add blackhole   fd99:3::/64
		echo ready`)
	run(t, "ip", "link", "set", "near", "up")
	run(t, "ip", "addr", "add", "10.99.0.2/24", "dev", "near")
	run(t, "ip", "addr", "add", "fd99::2/64", "dev", "near", "nodad")
	run(t, "ip", "route", "add", "default", "via", router4)
	run(t, "ip", "route", "add", "default", "via", router6)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("router: got %q, %v; want ready", line, err)
	}
	t.Cleanup(func() { run(t, "ip", "link", "del", "near") })
	awaitLink(t)
}

// awaitLink waits until the router answers over both families, by a refusal: a
// new link takes a moment to carry packets.
func awaitLink(t *testing.T) {
	t.Helper()
	for _, ip := range []string{router4, router6} {
		to := Address{AddrPort: netip.AddrPortFrom(netip.MustParseAddr(ip), 1)}
		deadline := time.Now().Add(patience)
		for probe(t, NewTCP(), to, 100*time.Millisecond).Reason != ReasonRefused {
			if time.Now().After(deadline) {
				t.Fatalf("router %s does not answer", ip)
			}
		}
	}
}

// awaitLocalRoute waits until packets to an IPv6 address that was just added
// are delivered here: the kernel adds the address's route a moment after "ip
// addr add" has returned, from a work queue, even without duplicate detection.
func awaitLocalRoute(t *testing.T, ip string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		out, err := exec.Command("ip", "-6", "route", "show", "table", "local", ip).CombinedOutput()
		if err != nil {
			t.Fatalf("ip route show: %v: %s", err, out)
		}
		if strings.HasPrefix(string(out), "local "+ip) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("local route of %s: got %q; want one", ip, out)
		}
	}
}
