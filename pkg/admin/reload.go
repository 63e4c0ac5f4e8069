package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
)

// reload reads the configuration again. It answers what changed or would change;
// a configuration that cannot be applied is a 422 with every problem in errors.
func (a *api) reload(ctx context.Context, in *struct {
	DryRun         bool `query:"dry_run" doc:"Only answer what would change"`
	ResetOverrides bool `query:"reset_overrides" doc:"Go back to what the file says of modes, weights and backends"`
}) (*body[[]Change], error) {
	changes, err := a.o.Reload(ctx, server.Reload{Source: "api", DryRun: in.DryRun, ResetOverrides: in.ResetOverrides})
	switch {
	case errors.Is(err, server.ErrClosed):
		return nil, failure(err)
	case err != nil:
		return nil, problems(err)
	}
	return &body[[]Change]{newChanges(changes)}, nil
}

// problems turns what keeps a configuration from being applied into one answer.
func problems(err error) error {
	var details []error
	var found config.Problems
	if errors.As(err, &found) {
		for _, p := range found {
			details = append(details, &huma.ErrorDetail{Message: p.String(), Location: p.Path})
		}
	} else {
		for line := range strings.Lines(err.Error()) {
			details = append(details, &huma.ErrorDetail{Message: strings.TrimSuffix(line, "\n")})
		}
	}
	if errors.Is(err, server.ErrIncomplete) {
		return huma.Error500InternalServerError("the reload is incomplete", details...)
	}
	count := "1 problem"
	if len(details) != 1 {
		count = fmt.Sprintf("%d problems", len(details))
	}
	return huma.Error422UnprocessableEntity("nothing was changed: "+count, details...)
}

func (a *api) overrides(context.Context, *struct{}) (*body[[]BackendOverride], error) {
	out := []BackendOverride{}
	for _, o := range a.s.Overrides() {
		out = append(out, BackendOverride{Pool: o.Pool, Backend: o.Backend, Override: *newOverride(&o)})
	}
	return &body[[]BackendOverride]{out}, nil
}
