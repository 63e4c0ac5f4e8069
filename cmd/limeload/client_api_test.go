package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/admin"
	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/config"
	"github.com/limeload/limeload/pkg/server"
	"github.com/rs/zerolog"
)

// description is what the server says of its API.
type description struct {
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	Parameters  []struct{ Name, In string }
	RequestBody content
	Responses   map[string]content
}

type content struct {
	Content map[string]struct{ Schema schema }
}

type schema map[string]any

func describe(t *testing.T) *description {
	t.Helper()
	s, err := server.New(config.Default(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	h, err := admin.Handler(s, admin.Options{}, true)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/openapi.json", nil))
	var d description
	if err := json.NewDecoder(io.Reader(w.Body)).Decode(&d); err != nil || w.Code != http.StatusOK {
		t.Fatalf("openapi.json: %d %v", w.Code, err)
	}
	return &d
}

// The client's types are the API's, field by field, in both directions: what one of them
// gains or loses, the other must.
func TestClientKnowsTheAPI(t *testing.T) {
	d := describe(t)
	const backends, backend = "/api/v1/pools/{pool}/backends", "/api/v1/pools/{pool}/backends/{backend}"
	for _, c := range []struct {
		method, path string
		sends, reads any
	}{
		{"get", "/api/v1/status", nil, client.Status{}},
		{"get", "/api/v1/listeners", nil, []client.Listener{}},
		{"get", "/api/v1/pools", nil, []client.Pool{}},
		{"get", "/api/v1/pools/{pool}", nil, client.Pool{}},
		{"post", backends, client.NewBackend{}, client.Backend{}},
		{"get", backend, nil, client.Backend{}},
		{"patch", backend, client.Settings{}, client.Backend{}},
		{"delete", backend, nil, nil},
		{"delete", backend + "/sessions", nil, nil},
		{"get", "/api/v1/sessions", nil, client.Sessions{}},
		{"delete", "/api/v1/sessions/{id}", nil, nil},
		{"post", "/api/v1/reload", nil, []client.Change{}},
		{"get", "/api/v1/overrides", nil, []client.BackendOverride{}},
		{"get", "/api/v1/explain", nil, client.Explanation{}},
		{"get", "/api/v1/events", nil, []client.Event{}},
		{"get", "/api/v1/history", nil, client.History{}},
		{"get", "/api/v1/config", nil, client.Config{}},
	} {
		t.Run(c.method+strings.ReplaceAll(c.path, "/", "-"), func(t *testing.T) {
			op, ok := d.Paths[c.path][c.method]
			if !ok {
				t.Fatal("the API does not have it")
			}
			if c.sends != nil {
				d.compare(t, "body", op.RequestBody.Content["application/json"].Schema, reflect.TypeOf(c.sends))
			}
			for status, answer := range op.Responses {
				if strings.HasPrefix(status, "2") && c.reads != nil {
					d.compare(t, "answer", answer.Content["application/json"].Schema, reflect.TypeOf(c.reads))
				}
			}
		})
	}
}

// Parameters that the server does not know are passed over without a word, so those that
// the client sends must be there.
func TestClientSendsWhatTheAPIReads(t *testing.T) {
	d := describe(t)
	for path, want := range map[string]string{
		"get /api/v1/sessions":                           "listener pool backend client q sort limit offset",
		"get /api/v1/explain":                            "listener client",
		"get /api/v1/events":                             "after",
		"post /api/v1/reload":                            "dry_run reset_overrides",
		"delete /api/v1/pools/{pool}/backends/{backend}": "force",
	} {
		method, path, _ := strings.Cut(path, " ")
		var have []string
		for _, p := range d.Paths[path][method].Parameters {
			have = append(have, p.Name)
		}
		for _, name := range strings.Fields(want) {
			if !slices.Contains(have, name) {
				t.Errorf("%s %s: the API does not read %s", method, path, name)
			}
		}
	}
}

// The client looks for the default socket where the server opens it.
func TestClientFindsTheDefaultSocket(t *testing.T) {
	for _, env := range []string{"", "/run/lime", "/run/lime:/run/lime-2"} {
		t.Setenv("RUNTIME_DIRECTORY", env)
		if got, want := client.DefaultSocket(), admin.DefaultSocket(); got != want {
			t.Errorf("RUNTIME_DIRECTORY=%s: got %s; want %s", env, got, want)
		}
	}
}

// compare checks that a type can hold what s describes, and has nothing besides.
func (d *description) compare(t *testing.T, at string, s schema, typ reflect.Type) {
	t.Helper()
	if ref, ok := s["$ref"].(string); ok {
		s = d.Components.Schemas[ref[strings.LastIndexByte(ref, '/')+1:]]
	}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	kinds := kindsOf(s)
	switch kind := typ.Kind(); {
	case kind == reflect.Interface:
	case typ == reflect.TypeFor[time.Time](), kind == reflect.String:
		d.expect(t, at, kinds, "string")
	case kind == reflect.Bool:
		d.expect(t, at, kinds, "boolean")
	case typ.Kind() == reflect.Float64:
		if !slices.Contains(kinds, "integer") {
			d.expect(t, at, kinds, "number")
		}
	case kind >= reflect.Int && kind <= reflect.Uint64:
		d.expect(t, at, kinds, "integer")
	case kind == reflect.Slice:
		d.expect(t, at, kinds, "array")
		d.compare(t, at+"[]", object(s["items"]), typ.Elem())
	case kind == reflect.Map:
		d.expect(t, at, kinds, "object")
		if typ.Elem().Kind() != reflect.Interface {
			d.compare(t, at+"{}", object(s["additionalProperties"]), typ.Elem())
		}
	case kind == reflect.Struct:
		d.compareFields(t, at, object(s["properties"]), fieldsOf(typ))
	default:
		t.Errorf("%s: got the type %s, which is not for JSON", at, typ)
	}
}

func (d *description) expect(t *testing.T, at string, kinds []string, want string) {
	t.Helper()
	if !slices.Contains(kinds, want) {
		t.Errorf("%s: the client has %s; the API has %s", at, want, kinds)
	}
}

func (d *description) compareFields(t *testing.T, at string, properties schema, fields map[string]reflect.Type) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if fields[name] == nil {
			t.Errorf("%s.%s: the API has it; the client does not", at, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if properties[name] == nil {
			t.Errorf("%s.%s: the client has it; the API does not", at, name)
			continue
		}
		d.compare(t, at+"."+name, object(properties[name]), fields[name])
	}
}

// fieldsOf are the types of a struct's fields by their names in JSON.
func fieldsOf(typ reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(typ) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			fields[name] = f.Type
		}
	}
	return fields
}

// kindsOf are the types that a schema allows.
func kindsOf(s schema) (kinds []string) {
	switch k := s["type"].(type) {
	case string:
		return []string{k}
	case []any:
		for _, one := range k {
			kinds = append(kinds, fmt.Sprint(one))
		}
	}
	return kinds
}

func object(v any) schema {
	m, _ := v.(map[string]any)
	return m
}
