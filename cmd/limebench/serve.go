package main

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/limeload/limeload/splice/loadgen"
)

func newServe() *cobra.Command {
	var f struct {
		listen       []string
		role, verify string
		threads      int
	}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Be the other end: echo, take or send bytes",
		Long: `serve answers "limebench run", and echoes to anybody else.

What it does with a connection is chosen by the first byte that the client sends: U
for an upload, D for a download, anything else for an echo. "limebench run" sends the
right one. With --role every connection gets the same, for clients that do not know
of this.

It runs until it is interrupted, and then prints what it did.`,
		Example: `  limebench serve
  limebench serve --listen 127.0.0.1:7007 --listen 127.0.0.2:7007 --threads 2
  limebench serve --listen :19 --role source`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := loadgen.ServerOptions{Threads: f.threads}
			var err error
			if o.Role, err = loadgen.ParseRole(f.role); err != nil {
				return err
			}
			if o.Verify, err = loadgen.ParseVerify(f.verify); err != nil {
				return err
			}
			if o.Addresses, err = resolve(f.listen); err != nil {
				return err
			}
			if f.threads < 0 {
				return fmt.Errorf("threads %d: want 0 or more", f.threads)
			}
			return failed(serve(cmd, o))
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.listen, "listen", "l", []string{"127.0.0.1:7007"}, "`address` to listen on; may be given several times; port 0 is any free one")
	flags.StringVar(&f.role, "role", "auto", "what to do with connections: auto, echo, sink or source")
	flags.StringVar(&f.verify, "verify", "full", "how much of an upload to compare: full, sample (1 read in 17) or none")
	flags.IntVarP(&f.threads, "threads", "t", 0, "loops; 0 is one for each CPU")
	return cmd
}

func serve(cmd *cobra.Command, o loadgen.ServerOptions) error {
	s, err := loadgen.Listen(o)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, a := range s.Addresses() {
		fmt.Fprintf(cmd.OutOrStdout(), "listening on %s (%s)\n", a, o.Role)
	}
	<-cmd.Context().Done()
	st := s.Stats()
	fmt.Fprintf(cmd.OutOrStdout(), "%d connections, %s in, %s out, %d wrong reads\n", st.Accepted, bytesText(st.BytesIn), bytesText(st.BytesOut), st.Corrupt)
	if st.Corrupt > 0 {
		return fmt.Errorf("%d reads of uploads held wrong bytes", st.Corrupt)
	}
	return nil
}

// resolve is the addresses that the names stand for. An empty host is every address
// of the machine.
func resolve(names []string) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	for _, name := range names {
		a, err := net.ResolveTCPAddr("tcp", name)
		if err != nil {
			return nil, err
		}
		ap := a.AddrPort()
		if a.IP == nil {
			ap = netip.AddrPortFrom(netip.IPv6Unspecified(), ap.Port())
		}
		out = append(out, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
	}
	return out, nil
}
