package main

import (
	"os"
	"runtime"
	"runtime/debug"

	usageOf "github.com/limeload/limeload/pkg/usage"
	"github.com/spf13/cobra"
)

// version and commit are set by the linker (see Makefile); without that they come
// from what the Go command recorded.
var version, commit string

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "limeload",
		Short: "A TCP load balancer that knows databases",
		Long: `limeload accepts TCP connections, picks a healthy backend for each, and moves
bytes both ways without copying them through user space.

  limeload serve --listen :5432 --backend 10.0.0.11:5432 --backend 10.0.0.12:5432
  limeload check 10.0.0.11:5432 10.0.0.12:5432`,
		Version:       versionText(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(&results{File: os.Stdout}) // before cobra adds its own commands, which keep what they find
	root.SetVersionTemplate("limeload {{.Version}}\n")
	group(root, "run", "Run it:", newServe(), newCheck(), newValidate(), newDemo())
	group(root, "operate", "Operate it while it runs:",
		newStatus(), newBackends(), newSessions(), newExplain(), newEvents(), newTop(), newConfig(), newReload())
	strictArgs(root)
	usageOf.Explain(root)
	return root
}

// group adds commands that the help shows under a title.
func group(root *cobra.Command, id, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, c := range commands {
		c.GroupID = id
	}
	root.AddCommand(commands...)
}

// strictArgs makes a wrong argument of cobra's own commands a usage error, as it is
// everywhere else: by default they explain themselves, and succeed.
func strictArgs(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, topic []string) error {
				about, rest, err := root.Find(topic)
				if err != nil || len(rest) > 0 {
					return usageOf.Argument(about, rest)
				}
				return nil
			}
		case "completion":
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
}

// versionText is the version with the commit and the Go version it was built with.
func versionText() string {
	return versionOf() + " (commit " + commitOf() + ", " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + ")"
}

func versionOf() string {
	info, ok := debug.ReadBuildInfo()
	switch {
	case version != "":
		return version
	case ok && info.Main.Version != "":
		return info.Main.Version
	}
	return "(devel)"
}

func commitOf() string {
	if commit != "" {
		return commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}
