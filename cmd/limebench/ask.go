package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// answers are what a program got that asked the same again and again. Durations are
// seconds, from when a request was due until the last byte of its answer was there.
type answers struct {
	Requests int     `json:"requests"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	Max      float64 `json:"max"`
	Bytes    int64   `json:"bytes"` // of the last answer, as they came over the wire
}

// newAsk is for control, which runs it as a process of its own: what asks must not
// disturb what makes load.
func newAsk() *cobra.Command {
	var f struct {
		every, duration time.Duration
		accept          string
	}
	cmd := &cobra.Command{
		Use:    "ask [flags] URL",
		Short:  "Ask over HTTP again and again, and tell how long the answers took",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), f.duration)
			defer cancel()
			r, err := http.NewRequest(http.MethodGet, args[0], nil)
			if err != nil {
				return err
			}
			r.Header.Set("Accept", f.accept)
			r.Header.Set("Accept-Encoding", "gzip") // which http.Client then leaves as it came
			a, err := ask(ctx, r, f.every)
			if err != nil {
				return failed(err)
			}
			return writeJSON(cmd.OutOrStdout(), a)
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&f.every, "every", time.Second, "time from one request to the next")
	flags.DurationVarP(&f.duration, "duration", "d", 10*time.Second, "how long to ask")
	flags.StringVar(&f.accept, "accept", "*/*", "formats that are taken")
	return cmd
}

// ask makes the first request half of every after the begin, then one after each
// every; one that would be due while another is under way comes late, and its wait
// counts. The one that is under way when ctx ends is waited for.
func ask(ctx context.Context, r *http.Request, every time.Duration) (answers, error) {
	var took []float64
	var a answers
	for due := time.Now().Add(every / 2); ; due = due.Add(every) {
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return a.sum(took), nil
		}
		n, err := get(r)
		if err != nil {
			return a, err
		}
		a.Bytes = n
		took = append(took, time.Since(due).Seconds())
	}
}

// get is one request; it answers the length of the body.
func get(r *http.Request) (int64, error) {
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer w.Body.Close()
	n, err := io.Copy(io.Discard, w.Body)
	if err == nil && w.StatusCode != http.StatusOK {
		err = errors.New(w.Status)
	}
	if err != nil {
		return 0, fmt.Errorf("get %s: %w", r.URL, err)
	}
	return n, nil
}

// sum completes a with what the requests took.
func (a answers) sum(took []float64) answers {
	slices.Sort(took)
	if a.Requests = len(took); a.Requests > 0 {
		a.P50, a.P99, a.Max = took[(len(took)-1)/2], took[(len(took)*99-1)/100], took[len(took)-1]
	}
	return a
}
