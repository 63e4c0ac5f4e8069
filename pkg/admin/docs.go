package admin

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsFile embed.FS

var docsPage = template.Must(template.ParseFS(docsFile, "docs.html"))

// docs is the description of h as a page for people. It is made once: the description
// does not change.
func docs(h huma.API) http.HandlerFunc {
	var page bytes.Buffer
	err := docsPage.Execute(&page, newDescription(h.OpenAPI()))
	return func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			problem(w, http.StatusInternalServerError, err.Error())
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		w.Write(page.Bytes())
	}
}

// description is what the page tells.
type description struct {
	Title, Version string
	Operations     []operation
	Types          []typeDescription
}

type operation struct {
	ID, Method, Path     string
	Summary, Description string
	Parameters           []property
	Body                 *typeName
	Answers              []answer
}

type answer struct {
	Status, Type string // Type is the content type
	Body         *typeName
}

// property is a parameter of an operation or a field of a type.
type property struct {
	Name, In string // In is path, query or header; empty for fields
	Type     typeName
	Required bool
	Doc      string
}

// typeName is a type as a person reads it: words, and then the name of a type that is
// described further down, if there is one.
type typeName struct{ Words, Link string }

type typeDescription struct {
	Name, Doc string
	Fields    []property
}

func newDescription(doc *huma.OpenAPI) description {
	out := description{Title: doc.Info.Title, Version: doc.Info.Version}
	for path, item := range doc.Paths {
		for method, op := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put,
			http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		} {
			if op != nil {
				out.Operations = append(out.Operations, newOperation(method, path, op))
			}
		}
	}
	slices.SortFunc(out.Operations, func(a, b operation) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Method, b.Method))
	})
	for name, schema := range doc.Components.Schemas.Map() {
		out.Types = append(out.Types, typeDescription{name, schema.Description, fields(schema)})
	}
	slices.SortFunc(out.Types, func(a, b typeDescription) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func newOperation(method, path string, op *huma.Operation) operation {
	out := operation{ID: op.OperationID, Method: method, Path: path, Summary: op.Summary, Description: op.Description}
	for _, p := range op.Parameters {
		if p.In != "header" {
			out.Parameters = append(out.Parameters, property{p.Name, p.In, nameOf(p.Schema), p.Required, meaning(p.Description, p.Schema)})
		}
	}
	if op.RequestBody != nil {
		for _, m := range op.RequestBody.Content {
			t := nameOf(m.Schema)
			out.Body = &t
		}
	}
	for status, r := range op.Responses {
		if len(r.Content) == 0 {
			out.Answers = append(out.Answers, answer{Status: status})
		}
		for content, m := range r.Content {
			t := nameOf(m.Schema)
			out.Answers = append(out.Answers, answer{status, content, &t})
		}
	}
	slices.SortFunc(out.Answers, func(a, b answer) int {
		return cmp.Or(strings.Compare(a.Status, b.Status), strings.Compare(a.Type, b.Type))
	})
	return out
}

func fields(s *huma.Schema) (all []property) {
	for name, p := range s.Properties {
		all = append(all, property{Name: name, Type: nameOf(p), Required: slices.Contains(s.Required, name), Doc: meaning(p.Description, p)})
	}
	slices.SortFunc(all, func(a, b property) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// meaning adds to a sentence the values that a schema allows.
func meaning(doc string, s *huma.Schema) string {
	var more []string
	if len(s.Enum) > 0 {
		more = append(more, "One of "+strings.Trim(strings.Join(strings.Fields(fmt.Sprintf("%q", s.Enum)), ", "), "[]"))
	}
	if s.Minimum != nil && s.Maximum != nil {
		more = append(more, fmt.Sprintf("Range %.0f..%.0f", *s.Minimum, *s.Maximum))
	}
	if s.Default != nil {
		more = append(more, fmt.Sprintf("Default %v", s.Default))
	}
	for _, m := range more {
		doc = strings.TrimPrefix(strings.TrimSuffix(doc, ".")+". "+m, ". ")
	}
	return doc
}

// nameOf is the name of a schema's type.
func nameOf(s *huma.Schema) typeName {
	switch {
	case s == nil:
		return typeName{Words: "anything"}
	case s.Ref != "":
		return typeName{Link: s.Ref[strings.LastIndex(s.Ref, "/")+1:]}
	case s.Type == huma.TypeArray:
		t := nameOf(s.Items)
		return typeName{"array of " + t.Words, t.Link}
	case s.Type == huma.TypeObject:
		if of, ok := s.AdditionalProperties.(*huma.Schema); ok {
			t := nameOf(of)
			return typeName{"table of " + t.Words, t.Link}
		}
	}
	name := s.Type
	if s.Format == "date-time" {
		name = "timestamp"
	}
	if s.Nullable {
		name += " or null"
	}
	return typeName{Words: cmp.Or(name, "anything")}
}
