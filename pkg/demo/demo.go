// Package demo shows limeload at work: three small backends in this process, a real
// server with its admin API and dashboard in front of them, and clients that keep it
// busy.
//
//	backend.go   the three servers, each of which can be stopped and started
//	traffic.go   the clients: a few long sessions, many short ones
//	serve.go     limeload itself, as a program of its own would run it
//	demo.go      what a person types and reads
//
// A person drains a backend in the dashboard, or stops one from the keyboard, and sees
// the sessions move. The terminal stays quiet: it tells what changed and nothing else.
package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// names are the backends': three kinds of lime.
var names = []string{"key", "makrut", "persian"}

// lookEvery is how often the demo looks for what it should tell.
const lookEvery = 200 * time.Millisecond

// Options of the demo.
type Options struct {
	Version string    // as the dashboard shows it
	In      io.Reader // what the person types; nil for nothing
	Out     io.Writer // what they read
}

// Run runs the demo until ctx ends.
func Run(ctx context.Context, o Options) error {
	backends, err := startBackends()
	if err != nil {
		return err
	}
	defer closeAll(backends)
	f, err := serve(backends, o.Version)
	if err != nil {
		return err
	}
	defer f.stop()
	ctx, cancel := context.WithCancel(ctx)
	t := startTraffic(ctx, f.clients)
	defer t.Wait()
	defer cancel()

	d := &demo{out: o.Out, front: f, backends: backends, health: map[string]string{}}
	d.tellHealth() // notes how things are; there is nothing to tell yet
	d.welcome()
	typed := make(chan string)
	if o.In != nil {
		go readLines(ctx, o.In, typed)
	}
	d.tell(ctx, typed)
	return nil
}

type demo struct {
	out      io.Writer
	front    *front
	backends []*backend
	health   map[string]string // by backend, with its mode, as it was told last
}

func (d *demo) welcome() {
	fmt.Fprintf(d.out, `limeload is at work in front of three small backends.

  dashboard  %s
  clients    %s

`, d.front.dashboard, d.front.clients)
	for i, b := range d.backends {
		fmt.Fprintf(d.out, "  %d  %-8s %s\n", i+1, b.name, b.addr)
	}
	host, port, _ := net.SplitHostPort(d.front.clients)
	fmt.Fprintf(d.out, `
Try: drain a backend in the dashboard, and see its sessions move to the others;
     type 2 and Enter to stop the second backend, and again to start it;
     nc %s %s    from another terminal, to be a client yourself.
Ctrl-C ends the demo.

`, host, port)
}

// tell is the demo's one loop: all that is printed is printed here.
func (d *demo) tell(ctx context.Context, typed <-chan string) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case line := <-typed:
			d.toggle(strings.TrimSpace(line))
		case <-tick.C:
			d.tellHealth()
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
			d.say("you stopped %s: its clients come back and are sent to the others", b.name)
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

// tellHealth tells what probes or a person at the dashboard changed.
func (d *demo) tellHealth() {
	for _, p := range d.front.Snapshot().Pools {
		for _, b := range p.Backends {
			was, now := d.health[b.Name], b.Health.String()
			if mode := b.Mode.String(); mode != "ready" {
				now = "in " + mode
			}
			first := was == "" || was == "unchecked" && now == "up"
			if !first && was != now {
				d.say("%s", strings.TrimRight(b.Name+" is "+now+"  "+b.Check.Last.Text(), " "))
			}
			d.health[b.Name] = now
		}
	}
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
