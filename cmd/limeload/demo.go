package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/limeload/limeload/pkg/demo"
	"github.com/spf13/cobra"
)

func newDemo() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show limeload and its dashboard in front of three small backends",
		Long: `Run limeload in front of three backends that live in the same process, with clients
that keep it busy. It prints the dashboard's URL: drain a backend there, or stop one
from the keyboard, and see the sessions move. Ctrl-C ends it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if err := demo.Run(ctx, demo.Options{Version: versionText(), In: c.InOrStdin(), Out: c.OutOrStdout()}); err != nil {
				return failed(err)
			}
			return nil
		},
	}
}
