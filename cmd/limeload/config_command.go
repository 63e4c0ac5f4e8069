package main

import (
	"io"

	"github.com/spf13/cobra"
)

func newConfig() *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:   "config",
		Short: "Show the configuration that a running limeload runs",
		Long: `Show what runs: defaults, file, flags and overrides laid over one another, as a file
would have it. Secrets that are set show as (redacted). With -o json it is an object
under the keys of the file.`,
		Example: `  limeload config
  limeload config -o json`,
		Args: cobra.NoArgs,
		RunE: r.run(func(c *call) error {
			conf, err := c.Config(c.ctx)
			switch {
			case err != nil:
				return err
			case r.json():
				return c.writeJSON(conf.Config)
			}
			_, err = io.WriteString(c.out, conf.TOML)
			return err
		}),
	}
	r.flags(c.Flags())
	return c
}
