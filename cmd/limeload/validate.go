package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/limeload/limeload/pkg/disk"
	"github.com/limeload/limeload/pkg/server"
	"github.com/spf13/cobra"
)

func newValidate() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "validate -c FILE",
		Short: "Look for problems in a configuration file",
		Long: `Report every problem of a configuration file at once, each with its line and what
would be right; those of the files of its access lists, and of the certificates that
probes trust, as well. Nothing is resolved, connected or listened on.`,
		Example: `  limeload validate -c /etc/limeload/limeload.toml`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return usage(errors.New("validate: which file? Use -c FILE"))
			}
			cfg, err := loadConfig(context.Background(), &disk.Disk{}, file, nil)
			if err != nil {
				return err
			}
			if err := errors.Join(server.CheckAccess(cfg), server.CheckAuthorities(cfg)); err != nil {
				return usage(err)
			}
			backends := 0
			for i := range cfg.Pools {
				backends += len(cfg.Pools[i].Backends)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: fine (listeners: %d, pools: %d, backends: %d)\n",
				file, len(cfg.Listeners), len(cfg.Pools), backends)
			return nil
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration `file`")
	return c
}
