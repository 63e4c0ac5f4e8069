package admin

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Configuration is what runs.
type Configuration struct {
	Config map[string]any `json:"config" doc:"As tables under the keys of the file, every default included; secrets are (redacted)"`
	TOML   string         `json:"toml" doc:"The same as a file would have it"`
}

func (a *api) registerConfiguration(h huma.API) {
	huma.Register(h, huma.Operation{
		OperationID: "configuration", Method: http.MethodGet, Path: "/api/v1/config",
		Summary:     "The effective configuration",
		Description: "Defaults, file, flags and overrides, laid over one another in this order.",
	}, a.configuration)
}

func (a *api) configuration(context.Context, *struct{}) (*body[Configuration], error) {
	c := a.s.Config()
	return &body[Configuration]{Configuration{c.Tables(), c.TOML()}}, nil
}
