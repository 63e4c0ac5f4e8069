package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
	"github.com/mattn/go-isatty"
	"github.com/spf13/pflag"
)

// pollEvery is how often a command that waits looks.
const pollEvery = 250 * time.Millisecond

// waiting is whether and how long a command waits for what it has begun.
type waiting struct {
	wait    bool
	timeout time.Duration // 0 = as long as it takes
}

func (w *waiting) flags(fs *pflag.FlagSet, until string) {
	fs.BoolVar(&w.wait, "wait", false, "wait until "+until)
	fs.DurationVar(&w.timeout, "timeout", 0, "`duration` to wait at most, after which the exit status is 1; 0s = no limit")
}

func (w *waiting) check() error {
	switch {
	case w.timeout < 0:
		return usage(fmt.Errorf("--timeout %s: want 0s or more", w.timeout))
	case w.timeout > 0 && !w.wait:
		return usage(errors.New("--timeout needs --wait"))
	}
	return nil
}

// untilIdle waits until no session of the backends lives.
func (w *waiting) untilIdle(c *call, where []client.Place) error {
	return w.until(c, where, func(at client.Place) (string, error) {
		live, err := sessionsAt(c, at)
		if live == 0 {
			return "", err
		}
		return show.Plural(live, "live session"), err
	})
}

// untilUsable waits until the backends get new sessions.
func (w *waiting) untilUsable(c *call, where []client.Place) error {
	return w.until(c, where, func(at client.Place) (string, error) {
		b, err := c.Backend(c.ctx, at.Pool, at.Backend)
		if err != nil || b.Usable {
			return "", err
		}
		return cmp.Or(b.Excluded, b.Health), nil
	})
}

// sessionsAt is how many sessions of a backend live, removed or not.
func sessionsAt(c *call, at client.Place) (int, error) {
	page, err := c.Sessions(c.ctx, client.SessionQuery{Pool: at.Pool, Backend: at.Backend, Limit: 1})
	return page.Total, err
}

// until waits for every backend in turn, until missing says that nothing is. On a terminal
// it shows what is.
func (w *waiting) until(c *call, where []client.Place, missing func(client.Place) (string, error)) error {
	ctx, cancel := c.ctx, context.CancelFunc(func() {})
	if w.timeout > 0 {
		ctx, cancel = context.WithTimeoutCause(c.ctx, w.timeout, errPatience)
	}
	defer cancel()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	p := progress{shown: isatty.IsTerminal(os.Stderr.Fd())}
	defer p.clear()
	for _, at := range where {
		for {
			why, err := missing(at)
			if err != nil {
				return err
			}
			if why == "" {
				break
			}
			p.tell(show.Clean(at.String() + ": " + why))
			select {
			case <-poll.C:
				continue
			case <-ctx.Done():
			}
			if context.Cause(ctx) == errPatience {
				return failed(fmt.Errorf("wait for %s: after %s still %s", at, show.Seconds(w.timeout.Seconds()), show.Clean(why)))
			}
			return ctx.Err()
		}
	}
	return nil
}

var errPatience = errors.New("waited long enough")

// progress is one line on a terminal that is written over.
type progress struct {
	shown bool
	last  string
}

func (p *progress) tell(line string) {
	if p.shown && line != p.last {
		fmt.Fprint(os.Stderr, "\r\x1b[K"+show.Cut(line, 78))
		p.last = line
	}
}

func (p *progress) clear() {
	if p.last != "" {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}
