package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// maxEvent bounds a line of the stream, in bytes.
	maxEvent = 1 << 20

	// silence is after how long without a byte a stream counts as broken. The server
	// says something every 15 seconds.
	silence = 45 * time.Second
)

// ErrStreamEnded is Follow's error when the server ends the stream, as it does when it
// stops, or the connection breaks.
var ErrStreamEnded = errors.New("the stream of events ended")

// Events lists those that are kept, after the one with an ID; 0 is all of them.
func (c *Client) Events(ctx context.Context, after uint64) (all []Event, err error) {
	return all, c.get(ctx, resource("events"), afterQuery(after), &all)
}

// Follow calls tell for each event after the one with an ID, those that are kept first, and
// then as they happen. It returns when the stream breaks, or with tell's error; who wants
// more calls again with the last ID.
func (c *Client) Follow(ctx context.Context, after uint64, tell func(Event) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	res, err := c.open(ctx, http.MethodGet, resource("events"), afterQuery(after), nil, "text/event-stream")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	watch := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watch.Stop()
	err = readEvents(res.Body, func() { watch.Reset(silence) }, tell)
	switch {
	case context.Cause(ctx) == errSilent:
		return &Unreachable{Address: c.at.shown, Err: errSilent}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

var errSilent = fmt.Errorf("nothing heard for %s", silence)

func afterQuery(after uint64) url.Values {
	if after == 0 {
		return nil
	}
	return url.Values{"after": {strconv.FormatUint(after, 10)}}
}

// readEvents reads server-sent events (HTML Living Standard, 9.2). Of their fields only
// data counts: it has the others. heard is called for every line.
func readEvents(r io.Reader, heard func(), tell func(Event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var data strings.Builder
	for lines.Scan() {
		heard()
		line := lines.Text()
		if value, ok := strings.CutPrefix(line, "data:"); ok {
			data.WriteString(strings.TrimPrefix(value, " "))
			data.WriteByte('\n')
			continue
		}
		if line != "" || data.Len() == 0 {
			continue // another field, a comment, or an event without data
		}
		var e Event
		if err := json.Unmarshal([]byte(data.String()), &e); err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		data.Reset()
		if err := tell(e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrStreamEnded, cause(err))
	}
	return ErrStreamEnded
}
