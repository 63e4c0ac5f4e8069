package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Redacted stands in place of a secret that is set.
const Redacted = "(redacted)"

// Tables is the whole configuration as nested tables under the keys of the file, every
// default included, for encoders: texts, numbers, booleans, and slices and maps of them.
// Durations and addresses are texts as the file has them; secrets are Redacted.
func (c *Config) Tables() map[string]any {
	return tablesOf(reflect.ValueOf(c).Elem())
}

func tablesOf(v reflect.Value) map[string]any {
	out := map[string]any{}
	for _, f := range fieldsOf(v.Type()) {
		out[f.key] = plain(f, f.of(v))
	}
	return out
}

// plain is the value of a key without any type of ours: what has a text in the file has it
// here.
func plain(f field, v reflect.Value) any {
	switch x := v.Interface().(type) {
	case string:
		if f.secret && x != "" {
			return Redacted
		}
		return x
	case time.Duration:
		return shortDuration(x)
	case *regexp.Regexp: // may be nil
		return regexpText(x)
	case HostName:
		return string(x)
	case fmt.Stringer:
		return x.String()
	}
	switch {
	case isTable(v.Type()):
		return tablesOf(v)
	case v.Kind() == reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(f, v.Index(i))
		}
		return list
	}
	return v.Interface() // a number or a boolean
}

// TOML is the whole configuration as a file would have it, every default included. Secrets
// are Redacted: but for them, reading it gives the same configuration again.
func (c *Config) TOML() string {
	var b strings.Builder
	writeTable(&b, "", reflect.ValueOf(c).Elem())
	return b.String()
}

// writeTable writes the values of a table first and then the tables in it, because a line
// belongs to the header above it.
func writeTable(b *strings.Builder, path string, v reflect.Value) {
	fields := fieldsOf(v.Type())
	for _, f := range fields {
		if t := f.of(v).Type(); !isTable(t) && !isTables(t) {
			fmt.Fprintf(b, "%s = %s\n", f.key, tomlValue(plain(f, f.of(v))))
		}
	}
	for _, f := range fields {
		at, value := join(path, f.key), f.of(v)
		switch {
		case isTable(value.Type()):
			fmt.Fprintf(b, "\n[%s]\n", at)
			writeTable(b, at, value)
		case isTables(value.Type()):
			for i := range value.Len() {
				fmt.Fprintf(b, "\n[[%s]]\n", at)
				writeTable(b, at, value.Index(i))
			}
		}
	}
}

// isTables tells an array of tables.
func isTables(t reflect.Type) bool { return t.Kind() == reflect.Slice && isTable(t.Elem()) }

// tomlValue writes a value. JSON's texts, numbers, booleans and arrays are TOML's, but for
// one control character that JSON leaves as it is.
func tomlValue(v any) string {
	if table, ok := v.(map[string]string); ok {
		return inlineTable(table)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("config: encode %T: %v", v, err)) // plain gives nothing that could fail
	}
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\x7f", `\u007f`)
}

func inlineTable(table map[string]string) string {
	pairs := make([]string, 0, len(table))
	for _, key := range slices.Sorted(maps.Keys(table)) {
		pairs = append(pairs, tomlValue(key)+" = "+tomlValue(table[key]))
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}
