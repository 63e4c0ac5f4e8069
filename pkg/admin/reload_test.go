package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
)

// details are those of an answer in problem details.
func details(t *testing.T, body string) (messages []string) {
	t.Helper()
	var p struct {
		Errors []struct{ Message string }
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	for _, e := range p.Errors {
		messages = append(messages, e.Message)
	}
	return messages
}

func TestReloadTellsEveryProblem(t *testing.T) {
	unknown, err := config.Parse("limeload.toml", []byte("[shutdwon]\ndelay = \"1s\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, syntax := config.Parse("limeload.toml", []byte("[shutdown\n"))
	for _, test := range []struct {
		name string
		err  error
		want []string
	}{
		{"what a file has wrong", unknown.Validate(), []string{"limeload.toml:1: listener: ", "limeload.toml:1: shutdwon: unknown key"}},
		{"no TOML", syntax, []string{"limeload.toml:1:"}},
		{"no file", errors.New("open limeload.toml: no such file or directory"), []string{"no such file"}},
		{"an address that is taken", errors.New("listener front: listen :5432: address already in use"), []string{"address already in use"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, Options{Reload: func(context.Context, server.Reload) ([]config.Change, error) { return nil, test.err }}, false)
			status, body := r.call(t, "POST", "/api/v1/reload", "")
			got := details(t, body)
			if status != 422 || len(got) != len(test.want) {
				t.Fatalf("reload: %d %s; want 422 with %d errors", status, body, len(test.want))
			}
			for i, want := range test.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("error %d: got %q; want %q in it", i, got[i], want)
				}
			}
		})
	}
	t.Run("incomplete", func(t *testing.T) {
		r := newRig(t, Options{Reload: func(context.Context, server.Reload) ([]config.Change, error) {
			return nil, fmt.Errorf("listener front: %w", server.ErrIncomplete)
		}}, false)
		if status, body := r.call(t, "POST", "/api/v1/reload", ""); status != 500 || !strings.Contains(body, "all else was changed") {
			t.Errorf("reload: %d %s; want 500 that says what was done", status, body)
		}
	})
	t.Run("while stopping", func(t *testing.T) {
		r := newRig(t, Options{Reload: func(context.Context, server.Reload) ([]config.Change, error) { return nil, server.ErrClosed }}, false)
		if status, body := r.call(t, "POST", "/api/v1/reload", ""); status != 503 {
			t.Errorf("reload: %d %s; want 503", status, body)
		}
	})
}

func TestReloadOptions(t *testing.T) {
	var got server.Reload
	r := newRig(t, Options{Reload: func(_ context.Context, r server.Reload) ([]config.Change, error) {
		got = r
		return []config.Change{
			{Path: "pool.p.backend.a.weight", Old: "1", New: "2"}, {Path: "engine.threads", Old: "1", New: "2", Restart: true},
		}, nil
	}}, false)
	for _, test := range []struct {
		query string
		want  server.Reload
	}{
		{"", server.Reload{Source: "api"}},
		{"?dry_run=true", server.Reload{Source: "api", DryRun: true}},
		{"?reset_overrides=true&dry_run=true", server.Reload{Source: "api", DryRun: true, ResetOverrides: true}},
	} {
		status, body := r.call(t, "POST", "/api/v1/reload"+test.query, "")
		want := `[{"key":"pool.p.backend.a.weight","old":"1","new":"2"},{"key":"engine.threads","old":"1","new":"2","restart":true}]`
		if status != 200 || strings.TrimSpace(body) != want {
			t.Errorf("reload%s: %d %s; want %s", test.query, status, body, want)
		}
		if got != test.want {
			t.Errorf("reload%s asked for %+v; want %+v", test.query, got, test.want)
		}
	}
	if status, body := r.call(t, "POST", "/api/v1/reload?dry_run=perhaps", ""); status != 422 {
		t.Errorf("dry_run=perhaps: %d %s; want 422", status, body)
	}
}

func TestOverridesAreListed(t *testing.T) {
	r := newRig(t, Options{}, false)
	if got := strings.TrimSpace(r.get(t, "/api/v1/overrides")); got != "[]" {
		t.Errorf("at the start: %s; want none", got)
	}
	r.call(t, "PATCH", "/api/v1/pools/pool/backends/a", `{"mode":"drain"}`)
	r.call(t, "DELETE", "/api/v1/pools/pool/backends/b", "")
	want := `[{"pool":"pool","backend":"a","mode":"drain"},{"pool":"pool","backend":"b","removed":true}]`
	if got := strings.TrimSpace(r.get(t, "/api/v1/overrides")); got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	r.call(t, "PATCH", "/api/v1/pools/pool/backends/a", `{"mode":"ready"}`)
	if got := r.get(t, "/api/v1/overrides"); strings.Contains(got, `"a"`) {
		t.Errorf("a backend that is as the file says is listed: %s", got)
	}
}
