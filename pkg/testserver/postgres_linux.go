package testserver

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Postgres is a PostgreSQL server with a fresh cluster, whose superuser postgres
// needs no password.
type Postgres struct {
	Port      int    // on 127.0.0.1
	SocketDir string // holds its unix socket, .s.PGSQL.<Port>

	t        testing.TB
	data     string // the cluster's directory
	settings []string
	process  *process
}

// settings of every server: no time is spent on what matters only after a crash of
// the machine, and rows come back in the order in which they went in.
var settings = []string{
	"fsync=off", "full_page_writes=off",
	"synchronize_seqscans=off", "max_connections=200",
	"listen_addresses=127.0.0.1",
}

// StartPostgres starts a server for t. Settings, such as "log_connections=on", are
// those of postgresql.conf.
func StartPostgres(t testing.TB, more ...string) *Postgres {
	t.Helper()
	initdb := PostgresProgram(t, "initdb")
	dir := directory(t, "postgres")
	p := &Postgres{
		Port: FreePort(t), SocketDir: dir,
		t: t, data: filepath.Join(dir, "data"), settings: slices.Concat(settings, more),
	}
	own(t, dir)
	if out, err := p.command(initdb, "--pgdata", p.data, "--no-sync", "--auth=trust",
		"--username=postgres", "--encoding=UTF8", "--no-locale").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	p.Restart()
	t.Cleanup(p.stop)
	return p
}

// Address is the server's host:port.
func (p *Postgres) Address() string { return fmt.Sprintf("127.0.0.1:%d", p.Port) }

// Socket is the path of the server's unix socket.
func (p *Postgres) Socket() string {
	return filepath.Join(p.SocketDir, fmt.Sprintf(".s.PGSQL.%d", p.Port))
}

// Restart starts a server that was killed or stopped, with the same port and data,
// and returns when it has recovered: a replica, when it takes "read-only connections".
func (p *Postgres) Restart() {
	p.t.Helper()
	args := []string{"-D", p.data, "-p", strconv.Itoa(p.Port), "-k", p.SocketDir}
	for _, s := range p.settings {
		args = append(args, "-c", s)
	}
	var err error
	if p.process, err = start(p.command(PostgresProgram(p.t, "postgres"), args...), "ready to accept "); err != nil {
		p.t.Fatal(err)
	}
}

// Kill kills the server and all its processes, as a crash of its machine's operator
// would (kill -9), and returns when they are gone.
func (p *Postgres) Kill() {
	p.t.Helper()
	p.kill()
	<-p.process.ended
}

// kill stops the postmaster first, so that no child is born between the look at its
// children and their end.
func (p *Postgres) kill() {
	postmaster := p.process.cmd.Process.Pid
	p.process.signal(syscall.SIGSTOP)
	for stat(postmaster).state != "T" && p.process.running() {
		time.Sleep(time.Millisecond)
	}
	for _, child := range children(postmaster) {
		syscall.Kill(child, syscall.SIGKILL)
	}
	p.process.signal(syscall.SIGKILL)
}

// stop ends the server by an immediate shutdown, which takes its children along.
func (p *Postgres) stop() {
	if p.process.running() {
		p.process.stop(p.t, syscall.SIGQUIT)
	} else {
		p.removeSharedMemory()
	}
	p.process.output.showIfFailed(p.t, "postgres")
}

// removeSharedMemory removes the System V segment that a killed server leaves
// behind. The seventh line of postmaster.pid names its key and its id.
func (p *Postgres) removeSharedMemory() {
	pidFile, err := os.ReadFile(filepath.Join(p.data, "postmaster.pid"))
	if err != nil {
		return
	}
	lines := strings.Split(string(pidFile), "\n")
	if len(lines) < 7 {
		return
	}
	var key, id int
	if _, err := fmt.Sscan(lines[6], &key, &id); err == nil {
		unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	}
}

// command makes a command that runs in the server's directory, as the server's
// user, and dies with this process: by SIGQUIT, upon which a postmaster takes its
// children along.
func (p *Postgres) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = p.SocketDir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT, Credential: unprivileged(p.t)}
	return cmd
}

// own gives dir to the server's user.
func own(t testing.TB, dir string) {
	t.Helper()
	if c := unprivileged(t); c != nil {
		if err := os.Chown(dir, int(c.Uid), int(c.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// unprivileged is whom a server runs as, which does not want to be root: nil for
// the user of this process if that is not root either.
func unprivileged(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	t.Fatal("PostgreSQL does not run as root, and there is no user postgres or nobody")
	return nil
}

// PostgresProgram is the path of postgres, psql, pgbench or another program of the
// newest PostgreSQL that is installed. Debian keeps most of them out of PATH.
func PostgresProgram(t testing.TB, name string) string {
	t.Helper()
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(versions) > 0 {
		return slices.MaxFunc(versions, func(a, b string) int { return cmp.Compare(majorVersion(a), majorVersion(b)) })
	}
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name, "postgresql postgresql-contrib")
	}
	return path
}

// majorVersion is 15 for /usr/lib/postgresql/15/bin/psql.
func majorVersion(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}
