//go:build !linux

package healthcheck

import (
	"context"
	"os/exec"
)

// awaitGroup waits for the end of a command, kills its process group when ctx ends
// before, and answers what Wait does. What a command leaves behind that ends in time
// stays: without waitid(2), nothing keeps its group's ID from being somebody else's.
func awaitGroup(ctx context.Context, cmd *exec.Cmd) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		killGroup(cmd.Process.Pid)
		return <-ended
	}
}
