package main

import (
	"runtime"
	"runtime/debug"

	"github.com/limeload/limeload/pkg/usage"
	"github.com/spf13/cobra"
)

// version and commit are set by the linker (see Makefile); without that they come
// from what the Go command recorded.
var version, commit string

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "limebench",
		Short: "Make TCP load, and compare TCP proxies under it",
		Long: `limebench measures what a TCP proxy, or any TCP server, can do.

  limebench serve --listen 127.0.0.1:7007            the other end: echo, sink, source
  limebench run 127.0.0.1:7007                       how fast is it?
  limebench compare --quick                          limeload, HAProxy and nginx, side by side

To measure a proxy of your own, start "limebench serve", point the proxy at it, and
"limebench run" at the proxy.`,
		Version:       versionText(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("limebench {{.Version}}\n")
	root.AddCommand(newRun(), newServe(), newCompare(), newControl(), newAsk())
	usage.Explain(root)
	return root
}

// versionText is the version with the commit and the Go version it was built with.
func versionText() string {
	v, c := version, commit
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && c == "" {
				c = s.Value
			}
		}
	}
	if v == "" {
		v = "(devel)"
	}
	if c == "" {
		c = "unknown"
	}
	return v + " (commit " + c + ", " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + ")"
}
