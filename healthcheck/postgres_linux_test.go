package healthcheck

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestTCPLeavesPostgresLogEmpty probes a PostgreSQL that logs every connection
// it accepts.
func TestTCPLeavesPostgresLogEmpty(t *testing.T) {
	bin := postgresBinaries(t)
	port := closedPort(t, "127.0.0.1").AddrPort.Port()
	log, stop := startPostgres(t, bin, port)
	to := net.JoinHostPort("127.0.0.1", fmt.Sprint(port))

	slow := probeManyTimes(t, Address{AddrPort: netip.MustParseAddrPort(to)}, 200)
	marker, err := net.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	_, markerPort, _ := net.SplitHostPort(marker.LocalAddr().String())
	log.await(t, "connection received: host=127.0.0.1 port="+markerPort)
	marker.Close()
	stop() // and with it end the processes that serve connections, their logs written

	if got := strings.Count(log.String(), "connection received"); got < 1 || got > 1+slow {
		t.Errorf("logged connections: got %d; want the marker's, and at most %d of slow probes:\n%s", got, slow, log)
	}
}

// postgresBinaries is the directory of the newest PostgreSQL's programs.
func postgresBinaries(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) > 0 {
		return filepath.Dir(slices.Max(found))
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("PostgreSQL is not installed; CI has to have it")
	}
	t.Skip("PostgreSQL is not installed")
	return ""
}

// startPostgres starts a server with an empty cluster on 127.0.0.1:port.
func startPostgres(t *testing.T, bin string, port uint16) (log *serverLog, stop func()) {
	t.Helper()
	dir, as := postgresHome(t)
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", dir, "-A", "trust", "-N", "--locale=C")
	initdb.SysProcAttr, initdb.Dir = as, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	log = new(serverLog)
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", dir, "-p", fmt.Sprint(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "log_connections=on", "-c", "log_min_messages=debug1", "-c", "fsync=off")
	server.SysProcAttr, server.Dir = as, dir
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		server.Process.Signal(syscall.SIGINT) // "fast shutdown"
		server.Wait()
	})
	t.Cleanup(stop)
	log.await(t, "database system is ready to accept connections")
	return log, stop
}

// postgresHome is an empty directory for a cluster and the user who owns it:
// PostgreSQL refuses to run as root.
func postgresHome(t *testing.T) (dir string, as *syscall.SysProcAttr) {
	t.Helper()
	dir = t.TempDir()
	if os.Getuid() != 0 {
		return dir, nil
	}
	owner, err := user.Lookup("postgres")
	if err != nil {
		owner, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil { // let the owner reach dir
		t.Fatal(err)
	}
	return dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// serverLog collects what a process writes.
type serverLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *serverLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// await waits until text has been logged.
func (l *serverLog) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(6 * patience); !strings.Contains(l.String(), text); {
		if time.Now().After(deadline) {
			t.Fatalf("log: got\n%s\nwant %q in it", l, text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
