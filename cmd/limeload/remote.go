package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// requestTimeout is how long the admin API may take for one answer. The server gives up
// on it after the same time.
const requestTimeout = 30 * time.Second

// remote is what the commands over the admin API have in common: where it is, and
// how to write what it answers.
type remote struct {
	admin, tokenFile, output string
}

func (r *remote) flags(fs *pflag.FlagSet) {
	fs.StringVar(&r.admin, "admin", "", "`address` of the admin API: host:port, unix:/path, http://host:port (default $LIMELOAD_ADMIN, else the server's own default socket)")
	fs.StringVar(&r.tokenFile, "token-file", "", "`file` with the bearer token (default $LIMELOAD_TOKEN_FILE)")
	fs.StringVarP(&r.output, "output", "o", "table", "`format`: table, json")
}

// json reports whether programs read what is written.
func (r *remote) json() bool { return r.output == "json" }

// connect makes the client that the flags, or else the environment, ask for.
func (r *remote) connect() (*client.Client, error) {
	o := client.Options{Address: r.admin, TokenFile: r.tokenFile, Timeout: requestTimeout}
	if o.Address == "" {
		o.Address = os.Getenv("LIMELOAD_ADMIN")
	}
	if o.TokenFile == "" {
		o.TokenFile = os.Getenv("LIMELOAD_TOKEN_FILE")
	}
	c, err := client.New(o)
	if err != nil {
		return nil, usage(err)
	}
	return c, nil
}

// call is one run of a command: the API, the arguments, and where results and
// remarks go.
type call struct {
	*client.Client
	ctx     context.Context // ends at SIGINT or SIGTERM
	args    []string
	out     io.Writer
	remarks io.Writer
	screen  terminal // that out is
}

// run makes a command's RunE of f.
func (r *remote) run(f func(*call) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if r.output != "table" && r.output != "json" {
			return usage(fmt.Errorf("--output %s: want table or json", r.output))
		}
		api, err := r.connect()
		if err != nil {
			return err
		}
		defer api.Close()
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		out := c.OutOrStdout()
		return statusOf(f(&call{api, ctx, args, out, c.ErrOrStderr(), terminalOf(out)}))
	}
}

// statusOf gives an error of the API its exit status: what the person named or
// wrote wrongly is their mistake, everything else a failure.
func statusOf(err error) error {
	var (
		known     *exitError
		unknown   *client.UnknownName
		ambiguous *client.AmbiguousName
		refused   *client.Error
	)
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled):
		return failed(errors.New("interrupted"))
	case errors.As(err, &unknown) || errors.As(err, &ambiguous):
		return usage(err)
	case errors.As(err, &refused):
		switch refused.Status {
		case http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity:
			return usage(err)
		}
	}
	return failed(err)
}

// table writes a table in the width of the screen.
func (c *call) table(t *show.Table) error { return t.Fit(c.screen.width).Write(c.out) }

// writeJSON writes v for programs.
func (c *call) writeJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// remark tells the person what is no result.
func (c *call) remark(format string, args ...any) {
	fmt.Fprintf(c.remarks, "limeload: "+format+"\n", args...)
}
