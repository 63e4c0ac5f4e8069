package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// MariaDB is a MariaDB server with a fresh data directory, whose superuser root needs
// no password on its unix socket.
type MariaDB struct {
	Port   int // on 127.0.0.1
	Socket string

	t       testing.TB
	dir     string
	options []string
	process *process
}

// StartMariaDB starts a server for t. Options, such as "max-connect-errors=1", are
// those of mariadbd. Its binary log is on, so that it can have replicas.
func StartMariaDB(t testing.TB, options ...string) *MariaDB {
	t.Helper()
	dir := directory(t, "mariadb")
	own(t, dir)
	m := &MariaDB{Port: FreePort(t), Socket: filepath.Join(dir, "socket"), t: t, dir: dir, options: options}
	if out, err := m.command(MariaDBProgram(t, "mariadb-install-db"), "--no-defaults", "--datadir="+m.data(),
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve").CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	m.Restart()
	t.Cleanup(func() {
		m.process.stop(t, syscall.SIGKILL)
		m.process.output.showIfFailed(t, "mariadbd")
	})
	return m
}

// Restart starts a server that was killed, with the same port and data, and returns when
// it has recovered. What was only set while it ran is forgotten.
func (m *MariaDB) Restart() {
	m.t.Helper()
	args := []string{"--no-defaults", "--datadir=" + m.data(), "--socket=" + m.Socket, "--port=" + strconv.Itoa(m.Port),
		"--bind-address=127.0.0.1", "--skip-name-resolve", "--server-id=" + strconv.Itoa(m.Port), "--log-bin=binlog",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M", "--sync-binlog=0"}
	for _, o := range m.options {
		args = append(args, "--"+o)
	}
	var err error
	if m.process, err = start(m.command(MariaDBProgram(m.t, "mariadbd"), args...), "ready for connections"); err != nil {
		m.t.Fatal(err)
	}
}

// Kill kills the server (kill -9), and returns when it is gone.
func (m *MariaDB) Kill() {
	m.process.signal(syscall.SIGKILL)
	<-m.process.ended
}

// Address is the server's host:port.
func (m *MariaDB) Address() string { return fmt.Sprintf("127.0.0.1:%d", m.Port) }

// StartReplica starts a server that replicates from m, for t.
func (m *MariaDB) StartReplica(t testing.TB, options ...string) *MariaDB {
	t.Helper()
	m.SQL("create user if not exists replication@'127.0.0.1' identified by 'replication'",
		"grant replication slave on *.* to replication@'127.0.0.1'")
	r := StartMariaDB(t, options...)
	r.SQL(fmt.Sprintf(`change master to master_host = '127.0.0.1', master_port = %d, master_user = 'replication',
		master_password = 'replication', master_connect_retry = 1, master_use_gtid = slave_pos`, m.Port), "start slave")
	return r
}

// SQL runs statements as the superuser and returns the rows that they answer, one a
// line, their columns separated by tabs.
func (m *MariaDB) SQL(statements ...string) string {
	m.t.Helper()
	out, err := m.command(MariaDBProgram(m.t, "mariadb"), "--no-defaults", "--socket="+m.Socket, "--user=root",
		"--batch", "--skip-column-names", "--execute="+strings.Join(statements, ";\n")).CombinedOutput()
	if err != nil {
		m.t.Fatalf("mariadb: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// Log is what the server has written.
func (m *MariaDB) Log() string { return m.process.output.String() }

func (m *MariaDB) data() string { return filepath.Join(m.dir, "data") }

// command makes a command that runs in the server's directory, as an unprivileged
// user, and dies with this process. Its temporary tables are there too: at its start a
// server removes those of every other one that has the same place for them.
func (m *MariaDB) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = m.dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "HOME=" + m.dir, "TMPDIR=" + m.dir, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: unprivileged(m.t)}
	return cmd
}

// MariaDBProgram is the path of mariadbd, mariadb or another program that comes with
// them. Debian keeps the server out of some users' PATH.
func MariaDBProgram(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(path); err != nil {
		missing(t, name, "mariadb-server")
	}
	return path
}
