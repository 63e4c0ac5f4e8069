package testserver

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Redis is a Redis server without persistence.
type Redis struct {
	Port int    // on 127.0.0.1
	Dir  string // holds its files

	t       testing.TB
	options []string
	process *process
}

// StartRedis starts a server for t. Options are words of its command line, such as
// "--requirepass", "secret".
func StartRedis(t testing.TB, options ...string) *Redis {
	t.Helper()
	r := &Redis{Port: FreePort(t), Dir: directory(t, "redis"), t: t, options: options}
	r.Restart("Ready to accept connections")
	t.Cleanup(func() {
		r.process.stop(t, syscall.SIGKILL)
		r.process.output.showIfFailed(t, "redis-server")
	})
	return r
}

// Restart starts a server that was killed, with the same port and files, and returns
// when it has written ready.
func (r *Redis) Restart(ready string) {
	r.t.Helper()
	args := slices.Concat([]string{"--bind", "127.0.0.1", "--port", strconv.Itoa(r.Port),
		"--save", "", "--appendonly", "no", "--dir", r.Dir}, r.options)
	cmd := exec.Command(RedisProgram(r.t, "redis-server"), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if r.process, err = start(cmd, ready); err != nil {
		r.t.Fatal(err)
	}
}

// Kill kills the server (kill -9), and returns when it is gone.
func (r *Redis) Kill() {
	r.process.signal(syscall.SIGKILL)
	<-r.process.ended
}

// StartReplica starts a server that replicates from r, for t.
func (r *Redis) StartReplica(t testing.TB, options ...string) *Redis {
	t.Helper()
	return StartRedis(t, append([]string{"--replicaof", fmt.Sprintf("127.0.0.1 %d", r.Port)}, options...)...)
}

// Do runs a command and returns its answer as redis-cli prints it.
func (r *Redis) Do(words ...string) string {
	r.t.Helper()
	args := append([]string{"-p", strconv.Itoa(r.Port)}, words...)
	out, err := exec.Command(RedisProgram(r.t, "redis-cli"), args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("redis-cli: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// Log is what the server has written since it was last started.
func (r *Redis) Log() string { return r.process.output.String() }

// Address is the server's host:port.
func (r *Redis) Address() string { return fmt.Sprintf("127.0.0.1:%d", r.Port) }

// RedisProgram is the path of redis-server, redis-benchmark or another program that
// comes with them.
func RedisProgram(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name, "redis-server redis-tools")
	}
	return path
}
