package main

import (
	"slices"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
)

// warnForgotten tells of changes that a state file should keep and does not have: they
// are in effect, but a restart would forget them.
func warnForgotten(c *call, where []client.Place) error {
	status, err := c.Status(c.ctx)
	if err != nil || status.StateFile == "" {
		return err
	}
	overrides, err := c.Overrides(c.ctx)
	if err != nil {
		return err
	}
	for _, o := range overrides {
		at := client.Place{Pool: o.Pool, Backend: o.Backend}
		if slices.Contains(where, at) && !o.Persisted {
			c.remark("warning: %s: %s could not be written, so a restart would forget this; the log says why", show.Clean(at.String()), show.Clean(status.StateFile))
		}
	}
	return nil
}
