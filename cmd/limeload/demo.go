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
		Short: "Show limeload in front of three small backends",
		Long: `Run limeload in front of three backends that live in the same process, with a
client that keeps asking who is there. Stop a backend and see the traffic move.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if err := demo.Run(ctx, c.InOrStdin(), c.OutOrStdout()); err != nil {
				return failed(err)
			}
			return nil
		},
	}
}
