package healthcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Exec is the Prober that runs a command, without a shell, and takes its exit status
// for the verdict:
//
//	0      up
//	3      unknown: the command could not tell (as limeload check and the plugins of
//	       Nagios have it)
//	other  down, as is a command that a signal ended
//
// The first line that it writes, to standard output or else to standard error, is the
// reason. A command that cannot be started is unknown. Its only phase is "exec".
//
// The address and the port are its last two arguments, and in its environment; for a
// unix socket these are its path and "". The environment has these variables and PATH,
// nothing of this process's own, which may hold secrets:
//
//	LIMELOAD_ADDRESS  LIMELOAD_PORT   HAPROXY_SERVER_ADDR  HAPROXY_SERVER_PORT
//
// Standard input is empty, and no descriptor of this process is inherited. The command
// runs in / and in a process group of its own, which is killed when the time is over
// (down, timeout) and also when the command has ended, so that it leaves nothing behind.
// What it writes beyond 64 KiB is read and thrown away.
type Exec struct {
	// Command is a program, by its path, and its arguments.
	Command []string

	// Env are further variables, as KEY=VALUE.
	Env []string

	// User and Password are LIMELOAD_USER and LIMELOAD_PASSWORD, if they are there.
	User     string
	Password Secret
}

// exitUnknown is the exit status of a command that could not tell.
const exitUnknown = 3

// Probe runs the command for a.
func (p *Exec) Probe(ctx context.Context, a Address) Result {
	start := time.Now()
	return newResult(ctx, a, "exec", start, p.run(ctx, a))
}

func (p *Exec) run(ctx context.Context, a Address) error {
	cmd, output, err := p.command(a)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		// Bare of its errno: that a program is missing says nothing about the server.
		return localf("run %s: %v", filepath.Base(p.Command[0]), cause(err))
	}
	ended := awaitGroup(ctx, cmd)
	if err := ctx.Err(); err != nil && ended != nil {
		return fmt.Errorf("run %s: %w", filepath.Base(p.Command[0]), err)
	}
	return exitVerdict(ended, output.firstLine())
}

// outputDelay is how long a process that left the group may keep the output open after
// the command has ended.
const outputDelay = 100 * time.Millisecond

// command is what to run for a, and where its output goes.
func (p *Exec) command(a Address) (*exec.Cmd, *output, error) {
	if len(p.Command) == 0 {
		return nil, nil, localf("run: no command")
	}
	password, err := p.Password.read()
	if err != nil {
		return nil, nil, err
	}
	host, port := a.Path, ""
	if a.Path == "" {
		host, port = a.AddrPort.Addr().String(), strconv.Itoa(int(a.AddrPort.Port()))
	}
	cmd := exec.Command(p.Command[0], append(p.Command[1:len(p.Command):len(p.Command)], host, port)...)
	cmd.Dir = "/"
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"LIMELOAD_ADDRESS=" + host, "LIMELOAD_PORT=" + port,
		"HAPROXY_SERVER_ADDR=" + host, "HAPROXY_SERVER_PORT=" + port,
	}, p.Env...)
	if p.User != "" {
		cmd.Env = append(cmd.Env, "LIMELOAD_USER="+p.User)
	}
	if password != "" {
		cmd.Env = append(cmd.Env, "LIMELOAD_PASSWORD="+password)
	}
	var o output
	cmd.Stdout, cmd.Stderr = &o.out, &o.err
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = outputDelay
	return cmd, &o, nil
}

// killGroup kills what is left of a process group.
func killGroup(leader int) { syscall.Kill(-leader, syscall.SIGKILL) }

// exitVerdict is what the end of a command says.
func exitVerdict(ended error, line string) error {
	var exit *exec.ExitError
	switch {
	case ended == nil, errors.Is(ended, exec.ErrWaitDelay):
		return nil
	case !errors.As(ended, &exit):
		return localf("run: %v", ended)
	}
	if line == "" {
		line = exit.String()
	}
	if exit.ExitCode() == exitUnknown {
		return &fault{Unknown, ReasonExec, errors.New(line)}
	}
	return &fault{Down, ReasonExec, errors.New(line)}
}

// output is what a command writes.
type output struct{ out, err start }

func (o *output) firstLine() string {
	if line := firstLine(o.out.String()); line != "" {
		return line
	}
	return firstLine(o.err.String())
}

// start keeps the first readLimit bytes of a stream.
type start struct {
	mu   sync.Mutex // a process may still write when the command has ended
	kept bytes.Buffer
}

func (s *start) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept.Write(b[:min(len(b), readLimit-s.kept.Len())])
	return len(b), nil
}

func (s *start) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Clone(s.kept.String())
}
