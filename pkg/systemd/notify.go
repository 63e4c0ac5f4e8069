package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Notifier tells the service manager how the process is. Its methods may be called by
// any goroutine, and on nil, which tells nobody.
//
// A message that cannot be sent is lost: the manager acts on its own timeouts then, and
// nothing here could do better.
type Notifier struct {
	conn net.Conn

	// Watchdog is how long the manager waits for Alive before it takes the process for
	// dead; 0 means that it does not wait for one.
	Watchdog time.Duration

	mu       sync.Mutex // orders what follows
	stopping bool       // said so: there is no way back
}

// NewNotifier connects to the manager that the environment names (NOTIFY_SOCKET,
// WATCHDOG_USEC, WATCHDOG_PID), and takes these variables out of it. It is nil where
// there is no manager. The error tells what is wrong with a variable.
func NewNotifier() (*Notifier, error) {
	path, usec, pid := take("NOTIFY_SOCKET"), take("WATCHDOG_USEC"), take("WATCHDOG_PID")
	if path == "" {
		return nil, nil
	}
	if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@") {
		return nil, fmt.Errorf("NOTIFY_SOCKET %q: want an absolute path or an abstract name", path)
	}
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	n := &Notifier{conn: conn}
	if usec != "" && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		us, err := strconv.ParseInt(usec, 10, 63-10) // so that it fits in nanoseconds
		if err != nil || us <= 0 {
			conn.Close()
			return nil, fmt.Errorf("WATCHDOG_USEC %q: want a number of microseconds above 0", usec)
		}
		n.Watchdog = time.Duration(us) * time.Microsecond
	}
	return n, nil
}

// take reads an environment variable and unsets it.
func take(name string) string {
	value := os.Getenv(name)
	os.Unsetenv(name)
	return value
}

// Ready tells that the start, or a reload, is done. After Stopping it tells nothing: the
// manager would take the service for running again.
func (n *Notifier) Ready() { n.sendUnlessStopping("READY=1") }

// Reloading tells that a reload begins; Ready follows when it has ended, well or not.
// The time is what a manager that has Type=notify-reload asks for. After Stopping it tells
// nothing.
func (n *Notifier) Reloading() {
	n.sendUnlessStopping("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(monotonic().Microseconds(), 10))
}

// Stopping tells that the process ends, and may take so long: the manager's own limit
// (TimeoutStopSec) is extended, so that it does not cut a longer drain short.
func (n *Notifier) Stopping(within time.Duration) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopping = true
	n.send("STOPPING=1", "EXTEND_TIMEOUT_USEC="+strconv.FormatInt(within.Microseconds(), 10))
}

// Alive tells that the process makes progress.
func (n *Notifier) Alive() { n.send("WATCHDOG=1") }

// Status is one line for people, in systemctl status.
func (n *Notifier) Status(text string) {
	n.send("STATUS=" + strings.ReplaceAll(text, "\n", " "))
}

func (n *Notifier) sendUnlessStopping(assignments ...string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.stopping {
		n.send(assignments...)
	}
}

// send sends assignments as one datagram, which the manager reads as a whole.
func (n *Notifier) send(assignments ...string) {
	if n != nil {
		n.conn.Write([]byte(strings.Join(assignments, "\n")))
	}
}

// Close lets go of the manager's socket.
func (n *Notifier) Close() {
	if n != nil {
		n.conn.Close()
	}
}
