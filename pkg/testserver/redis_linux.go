package testserver

import (
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
)

// Redis is a running Redis server without persistence.
type Redis struct {
	Port int // on 127.0.0.1
}

// StartRedis starts a server for t.
func StartRedis(t testing.TB) *Redis {
	t.Helper()
	program := RedisProgram(t, "redis-server")
	r := &Redis{Port: FreePort(t)}
	cmd := exec.Command(program, "--bind", "127.0.0.1", "--port", strconv.Itoa(r.Port),
		"--save", "", "--appendonly", "no", "--dir", directory(t, "redis"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p, err := start(cmd, "Ready to accept connections")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop(t, syscall.SIGKILL)
		p.output.showIfFailed(t, "redis-server")
	})
	return r
}

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
