// Package demo shows limeload at work: three small backends in this process, a
// real server in front of them, and a client that keeps asking who is there. A
// person stops and starts backends and sees the traffic move.
package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
	"github.com/rs/zerolog"
)

// names are the backends'.
var names = []string{"key", "makrut", "persian"}

const (
	// Address is where the demo listens if the port is free, else on any port.
	Address = "127.0.0.1:5400"

	askEvery  = 100 * time.Millisecond
	tellEvery = time.Second
)

// Run runs the demo until ctx ends. It reads what the person types from in and
// tells what happens on out.
func Run(ctx context.Context, in io.Reader, out io.Writer) error {
	backends, err := startBackends()
	if err != nil {
		return err
	}
	defer closeAll(backends)
	s, stop, err := startServer(backends)
	if err != nil {
		return err
	}
	defer stop()
	d := &demo{out: out, server: s, backends: backends, at: s.Addr("default").String()}
	d.welcome()
	typed := make(chan string)
	go readLines(ctx, in, typed)
	answers := make(chan string)
	go d.ask(ctx, answers)
	d.tell(ctx, typed, answers)
	return nil
}

type demo struct {
	out      io.Writer
	server   *server.Server
	backends []*backend
	at       string

	health map[string]string // as it was told last
	counts map[string]int    // answers since the last line
}

func (d *demo) welcome() {
	fmt.Fprintf(d.out, "limeload listens on %s, in front of three backends:\n\n", d.at)
	for i, b := range d.backends {
		fmt.Fprintf(d.out, "  %d  %-8s %s\n", i+1, b.name, b.addr)
	}
	fmt.Fprintf(d.out, `
A client connects ten times a second; each second a line shows who answered.
Try: type 2 and Enter to stop the second backend, and again to start it.
     nc %s    from another terminal, to ask yourself.
Ctrl-C ends the demo.

`, strings.Replace(d.at, ":", " ", 1))
}

// tell is the demo's one loop: all that is printed is printed here.
func (d *demo) tell(ctx context.Context, typed, answers <-chan string) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	d.counts, d.health = map[string]int{}, map[string]string{}
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-answers:
			d.counts[name]++
		case line := <-typed:
			d.toggle(strings.TrimSpace(line))
		case <-tick.C:
			d.tellHealth()
			d.tellCounts()
		}
	}
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// toggle stops or starts the backend that a person named by its number or name.
func (d *demo) toggle(word string) {
	for i, b := range d.backends {
		if word != b.name && word != fmt.Sprint(i+1) {
			continue
		}
		if b.running() {
			b.stop()
			d.say("you stopped %s: sessions move to the others at once, probes will notice", b.name)
		} else if err := b.start(); err != nil {
			d.say("%s does not start: %v", b.name, err)
		} else {
			d.say("you started %s", b.name)
		}
		return
	}
	if word != "" {
		d.say("%q is no backend: type 1, 2 or 3", word)
	}
}

func (d *demo) tellHealth() {
	for _, p := range d.server.Snapshot().Pools {
		for _, b := range p.Backends {
			now := b.Health.String()
			if was := d.health[b.Name]; was != "" && was != now {
				d.say("%s", strings.TrimRight(b.Name+" is "+now+"  "+b.Check.Last.Text(), " "))
			}
			d.health[b.Name] = now
		}
	}
}

func (d *demo) tellCounts() {
	var line strings.Builder
	for _, b := range d.backends {
		n := d.counts[b.name]
		fmt.Fprintf(&line, "%-8s %-11s ", b.name, strings.Repeat("#", min(n, 10)))
	}
	if n := d.counts[""]; n > 0 {
		fmt.Fprintf(&line, "no answer %d", n)
	}
	d.say("%s", strings.TrimRight(line.String(), " "))
	clear(d.counts)
}

// ask connects again and again and sends who answered, "" if nobody did.
func (d *demo) ask(ctx context.Context, answers chan<- string) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		name, _ := askOnce(ctx, d.at)
		select {
		case answers <- name:
		case <-ctx.Done():
			return
		}
	}
}

func askOnce(ctx context.Context, at string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", at)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(strings.TrimPrefix(line, greeting)), err
}

func readLines(ctx context.Context, in io.Reader, lines chan<- string) {
	scanner := bufio.NewScanner(in)
	for scanner.Scan() {
		select {
		case lines <- scanner.Text():
		case <-ctx.Done():
			return
		}
	}
}

// startServer runs limeload in front of the backends. The function that comes with
// it stops it and waits.
func startServer(backends []*backend) (*server.Server, func(), error) {
	s, err := serverAt(Address, backends)
	if err == nil {
		return s, func() { stopServer(s) }, nil
	}
	if s, err = serverAt("127.0.0.1:0", backends); err != nil {
		return nil, nil, err
	}
	return s, func() { stopServer(s) }, nil
}

func serverAt(listen string, backends []*backend) (*server.Server, error) {
	algorithm, interval, drain := "round-robin", "200ms", "0s"
	flags := config.Flags{Listen: []string{listen}, Algorithm: &algorithm, HealthInterval: &interval, DrainTimeout: &drain}
	for _, b := range backends {
		flags.Backend = append(flags.Backend, b.addr+",name="+b.name)
	}
	cfg := config.Default()
	if err := errors.Join(cfg.Overlay(flags), cfg.Validate()); err != nil {
		return nil, err
	}
	s, err := server.New(cfg, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Run(context.Background()) }()
	select {
	case <-s.Started():
		return s, nil
	case err := <-failed:
		return nil, err
	}
}

func stopServer(s *server.Server) { s.Shutdown(context.Background()) }
