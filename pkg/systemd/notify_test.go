package systemd

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manager is the service manager's end of the protocol.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "")
	t.Setenv("WATCHDOG_PID", "")
	return conn
}

// hear answers the next datagram.
func hear(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestMessages(t *testing.T) {
	conn := manager(t, filepath.Join(t.TempDir(), "notify"))
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for _, tt := range []struct {
		name string
		tell func()
		want string // a regular expression
	}{
		{"ready", n.Ready, `READY=1`},
		{"reloading", n.Reloading, `RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*`},
		{"stopping, and nothing that takes it back", func() {
			n.Stopping(90 * time.Second)
			n.Reloading()
			n.Ready()
		}, `STOPPING=1\nEXTEND_TIMEOUT_USEC=90000000`},
		{"alive", n.Alive, `WATCHDOG=1`},
		{"status", func() { n.Status("2 sessions") }, `STATUS=2 sessions`},
		{"status of two lines", func() { n.Status("a\nREADY=1") }, `STATUS=a READY=1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.tell()
			if got := hear(t, conn); !regexp.MustCompile(`\A` + tt.want + `\z`).MatchString(got) {
				t.Errorf("got %q; want %q", got, tt.want)
			}
		})
	}
}

// What the manager compares with its own clock has to be that clock.
func TestReloadingTellsTheMonotonicClock(t *testing.T) {
	conn := manager(t, filepath.Join(t.TempDir(), "notify"))
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	before := monotonic()
	n.Reloading()
	after := monotonic()
	_, text, _ := strings.Cut(hear(t, conn), "MONOTONIC_USEC=")
	us, err := strconv.ParseInt(text, 10, 64)
	if at := time.Duration(us) * time.Microsecond; err != nil || at < before.Truncate(time.Microsecond) || at > after {
		t.Errorf("got %v, %v; want a time from %v to %v", at, err, before, after)
	}
}

func TestAbstractSocket(t *testing.T) {
	conn := manager(t, "@limeload-"+strconv.Itoa(os.Getpid()))
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	n.Ready()
	if got, want := hear(t, conn), "READY=1"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestWatchdog(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	for _, tt := range []struct {
		name, usec, pid string
		want            time.Duration
		fails           bool
	}{
		{"none", "", "", 0, false},
		{"for all", "3000000", "", 3 * time.Second, false},
		{"for us", "1500000", self, 1500 * time.Millisecond, false},
		{"for another process", "3000000", "1", 0, false},
		{"no number", "soon", self, 0, true},
		{"negative", "-1", self, 0, true},
		{"too large", "9999999999999999999", self, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			manager(t, filepath.Join(t.TempDir(), "notify"))
			t.Setenv("WATCHDOG_USEC", tt.usec)
			t.Setenv("WATCHDOG_PID", tt.pid)
			n, err := NewNotifier()
			if (err != nil) != tt.fails {
				t.Fatalf("error: got %v; want one: %v", err, tt.fails)
			}
			if err == nil && n.Watchdog != tt.want {
				t.Errorf("got %v; want %v", n.Watchdog, tt.want)
			}
		})
	}
}

func TestWithoutManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n, err := NewNotifier()
	if n != nil || err != nil {
		t.Fatalf("got %v, %v; want nobody to notify", n, err)
	}
	n.Ready() // and the others: nobody is told, nothing fails
	n.Reloading()
	n.Alive()
	n.Status("")
	n.Stopping(0)
	n.Close()
}

// Children must not speak for us.
func TestVariablesAreTakenOutOfTheEnvironment(t *testing.T) {
	manager(t, filepath.Join(t.TempDir(), "notify"))
	for name, value := range map[string]string{"WATCHDOG_USEC": "1", "LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a"} {
		t.Setenv(name, value)
	}
	if _, err := NewNotifier(); err != nil {
		t.Fatal(err)
	}
	if sockets, err := Sockets(); len(sockets) != 0 || err != nil {
		t.Errorf("sockets of another process: got %v, %v; want none", sockets, err)
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if value, set := os.LookupEnv(name); set {
			t.Errorf("%s: got %q; want it unset", name, value)
		}
	}
}

func TestNotifySocketThatIsNone(t *testing.T) {
	for _, name := range []string{"relative", filepath.Join(t.TempDir(), "missing")} {
		t.Setenv("NOTIFY_SOCKET", name)
		if _, err := NewNotifier(); err == nil {
			t.Errorf("%s: got no error; want one", name)
		}
	}
}
