package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
	"github.com/spf13/cobra"
)

// sessionKeys are what sessions can be sorted by; with - before it the greatest first.
var sessionKeys = []string{"id", "client", "backend", "age", "idle", "bytes_up", "bytes_down", "bytes"}

// maxPage is how many sessions the API answers at once.
const maxPage = 1000

func newSessions() *cobra.Command {
	var r remote
	var q client.SessionQuery
	list := r.run(func(c *call) error { return listSessions(c, q, r.json()) })
	c := &cobra.Command{
		Use:   "sessions",
		Short: "List and cut the live sessions of a running limeload",
		Long: `List the live sessions of a running limeload, the oldest first, or cut some. Bytes are
exact; idle is how long no byte went either way, up to 5 s more or less exactly.`,
		Example: `  limeload sessions --backend postgres/pg-1 --sort -idle
  limeload sessions --client 10.1.0.0/16
  limeload sessions kill 1-48213`,
		Args: cobra.NoArgs,
		RunE: list,
	}
	r.flags(c.PersistentFlags())
	ls := &cobra.Command{
		Use:     "list [--listener NAME] [--pool NAME] [--backend NAME] [--client ADDR]",
		Short:   "List live sessions",
		Long:    "List live sessions, the oldest first. Filters that are given must all match.",
		Example: "  limeload sessions list --pool postgres --sort -bytes --limit 20",
		Args:    cobra.NoArgs,
		RunE:    list,
	}
	sessionFlags(c, &r, &q)
	sessionFlags(ls, &r, &q)
	c.AddCommand(ls, newSessionsKill(&r))
	return c
}

func sessionFlags(c *cobra.Command, r *remote, q *client.SessionQuery) {
	f := c.Flags()
	f.StringVar(&q.Listener, "listener", "", "only of this listener, by `name`")
	f.StringVar(&q.Pool, "pool", "", "only of this pool, by `name`")
	f.StringVar(&q.Backend, "backend", "", "only of this backend, by `name`: POOL/BACKEND, or BACKEND alone where one pool has it")
	f.StringVar(&q.Client, "client", "", "only of these clients, by `address`: an IP address, IP:port, a prefix such as 10.1.0.0/16, or unix")
	f.StringVar(&q.Text, "match", "", "only those of which something that is shown contains this `text`")
	f.StringVar(&q.Sort, "sort", "-age", "sort by this `key`, with - before it the greatest first: "+strings.Join(sessionKeys, ", "))
	f.IntVar(&q.Limit, "limit", 100, "`number` of sessions to list; 0 = all")
	f.IntVar(&q.Offset, "offset", 0, "`number` of sessions to leave out before the first one")
	complete(c, "listener", r.completeListeners)
	complete(c, "pool", r.completePools)
	complete(c, "backend", r.completeBackends)
	complete(c, "sort", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		all := slices.Clone(sessionKeys)
		for _, k := range sessionKeys {
			all = append(all, "-"+k)
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	})
}

func listSessions(c *call, q client.SessionQuery, asJSON bool) error {
	switch {
	case !slices.Contains(sessionKeys, strings.TrimPrefix(q.Sort, "-")):
		return usage(fmt.Errorf("--sort %s: want one of %s, or - and one of them", q.Sort, strings.Join(sessionKeys, ", ")))
	case q.Limit < 0 || q.Offset < 0:
		return usage(errors.New("--limit and --offset: want 0 or more"))
	}
	if err := c.checkNames(&q); err != nil {
		return err
	}
	page, err := pages(c, q)
	if err != nil {
		return err
	}
	if asJSON {
		return c.writeJSON(page)
	}
	if err := c.table(sessionTable(page.Sessions)); err != nil {
		return err
	}
	if shown := len(page.Sessions); shown < page.Total {
		c.remark("%d of %d sessions; --limit, --offset or a filter show others", shown, page.Total)
	}
	return nil
}

// checkNames refuses to look for what does not exist: the API would answer that it has
// no sessions. A backend's name becomes that of one pool's backend.
func (c *call) checkNames(q *client.SessionQuery) error {
	if q.Listener != "" {
		all, err := c.Listeners(c.ctx)
		if err == nil {
			_, err = client.FindListener(all, q.Listener)
		}
		if err != nil {
			return err
		}
	}
	if q.Pool == "" && q.Backend == "" {
		return nil
	}
	pools, err := c.Pools(c.ctx)
	if err != nil {
		return err
	}
	if q.Pool != "" {
		p, err := client.FindPool(pools, q.Pool)
		if err != nil {
			return err
		}
		pools = []client.Pool{*p}
	}
	if q.Backend == "" {
		return nil
	}
	at, err := client.Find(pools, q.Backend)
	q.Pool, q.Backend = at.Pool, at.Backend
	return err
}

// pages asks for as many pages as q's limit needs. Sessions come and go in between: one
// that moved to another page may be missing.
func pages(c *call, q client.SessionQuery) (all client.Sessions, err error) {
	want := q.Limit
	all.Sessions = []client.Session{}
	for {
		q.Limit = maxPage
		if want > 0 {
			q.Limit = min(maxPage, want-len(all.Sessions))
		}
		page, err := c.Sessions(c.ctx, q)
		if err != nil {
			return all, err
		}
		all.Total = page.Total
		all.Sessions = append(all.Sessions, page.Sessions...)
		q.Offset += len(page.Sessions)
		if len(page.Sessions) < q.Limit || len(all.Sessions) == want {
			return all, nil
		}
	}
}

func sessionTable(sessions []client.Session) *show.Table {
	t := show.NewTable("ID", "CLIENT", "LISTENER", "BACKEND", "STATE", ">AGE", ">IDLE", ">UP", ">DOWN")
	for i := range sessions {
		s := &sessions[i]
		t.Row(s.ID, clientOf(s), s.Listener, s.Pool+"/"+s.Backend, s.State, show.Seconds(s.Age), show.Seconds(s.Idle),
			show.Bytes(float64(s.BytesUp)), show.Bytes(float64(s.BytesDown)))
	}
	return t
}

// clientOf is a session's client as --client reads it.
func clientOf(s *client.Session) string {
	if s.ClientPort == 0 {
		return s.Client
	}
	return net.JoinHostPort(s.Client, strconv.Itoa(s.ClientPort))
}

func newSessionsKill(r *remote) *cobra.Command {
	var backend string
	c := &cobra.Command{
		Use:   "kill ID... | kill --backend POOL/BACKEND",
		Short: "Cut live sessions",
		Long: `Cut sessions by their ID, or all that a backend has. Both sides are reset, and the log
says that they were killed. It does not keep clients from coming back: drain the
backend first.`,
		Example: `  limeload sessions kill 1-48213
  limeload sessions kill --backend postgres/pg-1`,
		RunE: r.run(func(c *call) error {
			switch {
			case backend == "" && len(c.args) == 0:
				return usage(errors.New("sessions kill: which? Name some by ID, or use --backend"))
			case backend != "" && len(c.args) > 0:
				return usage(errors.New("sessions kill: IDs and --backend do not go together"))
			case backend != "":
				return killBackend(c, backend, r.json())
			}
			return killSessions(c, r.json())
		}),
	}
	c.Flags().StringVar(&backend, "backend", "", "every session of this backend, by `name`")
	complete(c, "backend", r.completeBackends)
	return c
}

// killedJSON is how many sessions were cut.
type killedJSON struct {
	Killed int `json:"killed"`
}

func killBackend(c *call, name string, asJSON bool) error {
	where, err := c.find([]string{name})
	if err != nil {
		return err
	}
	n, err := c.KillBackend(c.ctx, where[0].Pool, where[0].Backend)
	switch {
	case err != nil:
		return err
	case asJSON:
		return c.writeJSON(killedJSON{n})
	}
	_, err = fmt.Fprintf(c.out, "killed %s of %s\n", show.Plural(n, "session"), show.Clean(where[0].String()))
	return err
}

// killSessions cuts those that still live: that another one has ended is what was wanted.
func killSessions(c *call, asJSON bool) error {
	n := 0
	var gone []error
	for _, id := range c.args {
		err := c.KillSession(c.ctx, id)
		switch {
		case err == nil:
			n++
		case client.IsUnknown(err):
			gone = append(gone, fmt.Errorf("session %s: no such session, or it has ended", id))
			continue
		default:
			return err
		}
		if !asJSON {
			fmt.Fprintf(c.out, "killed session %s\n", show.Clean(id))
		}
	}
	if asJSON {
		if err := c.writeJSON(killedJSON{n}); err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		return failed(errors.Join(gone...))
	}
	return nil
}
