package healthcheck

import (
	"context"
	"os/exec"

	"golang.org/x/sys/unix"
)

// awaitGroup waits for the end of a command, kills what is left of its process group
// then, or all of it when ctx ends, and answers what Wait does.
//
// The group is killed while its leader is dead but not yet waited for: until then the
// kernel gives its ID to nobody else.
func awaitGroup(ctx context.Context, cmd *exec.Cmd) error {
	exited := make(chan struct{})
	go awaitExit(cmd.Process.Pid, exited)
	select {
	case <-exited:
	case <-ctx.Done():
		killGroup(cmd.Process.Pid)
		<-exited
	}
	killGroup(cmd.Process.Pid)
	return cmd.Wait()
}

// awaitExit closes exited when the process has ended, and leaves it to be waited for.
func awaitExit(pid int, exited chan<- struct{}) {
	defer close(exited)
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}
