package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/limeload/limeload/splice/loadgen"
)

const (
	readyTimeout = 10 * time.Second // from the start of a process until it serves
	stopTimeout  = 3 * time.Second  // from the request to end until it is killed
)

// process is a program that we started and that serves at an address.
type process struct {
	name   string
	cmd    *exec.Cmd
	log    string // file with its output
	ended  chan struct{}
	failed error // after ended
}

// startProcess starts a program, whose output goes to a file in dir.
func startProcess(dir, name, path string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(path, args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = underUs()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go p.wait()
	return p, nil
}

func (p *process) wait() {
	p.failed = p.cmd.Wait()
	close(p.ended)
}

// ready waits until an echo comes back through every address.
func (p *process) ready(ctx context.Context, addresses ...netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, a := range addresses {
		for tryEcho(ctx, a) != nil {
			select {
			case <-p.ended:
				return fmt.Errorf("%s ended: %w: %s", p.name, p.failed, p.output())
			case <-ctx.Done():
				return fmt.Errorf("%s does not serve %s: %w: %s", p.name, a, ctx.Err(), p.output())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

func tryEcho(ctx context.Context, a netip.AddrPort) error {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", a.String())
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	b := []byte{byte(loadgen.Echo)}
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err = io.ReadFull(c, b)
	return err
}

// output is the end of what the process has written, in one line.
func (p *process) output() string {
	text, _ := os.ReadFile(p.log)
	text = bytes.TrimSpace(text)
	text = text[max(len(text)-500, 0):]
	return strings.Join(strings.Fields(string(text)), " ")
}

// stop asks the process to end, and kills it if it does not.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(terminate)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// start starts the contestant and answers its configuration as well.
func (c contestant) start(ctx context.Context, s setup) (p *process, text string, err error) {
	if text, err = c.configure(s); err != nil {
		return nil, "", err
	}
	file := filepath.Join(s.Dir, c.name+"-"+c.program.config.Name())
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, "", err
	}
	if p, err = startProcess(s.Dir, c.name, c.program.path, c.program.args(file)...); err != nil {
		return nil, "", err
	}
	if err := p.ready(ctx, s.Listen); err != nil {
		p.stop()
		return nil, "", err
	}
	return p, text, nil
}

// freePort is a port that nobody uses on any of the addresses. It is below those from
// which the system takes ports for outgoing connections, so that a test with many of
// those does not take it away.
func freePort(hosts ...netip.Addr) (uint16, error) {
	for range 100 {
		port := uint16(15000 + rand.IntN(15000))
		if portIsFree(port, hosts) {
			return port, nil
		}
	}
	return 0, errors.New("find a port: none of 100 is free")
}

func portIsFree(port uint16, hosts []netip.Addr) bool {
	for _, h := range hosts {
		ln, err := net.Listen("tcp", netip.AddrPortFrom(h, port).String())
		if err != nil {
			return false
		}
		ln.Close()
	}
	return true
}
