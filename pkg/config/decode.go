package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// decoder lays a parsed document over a Config. The tags of the structs in
// config.go are the keys; the types of their fields are what value knows.
type decoder struct {
	src      *source
	mismatch *SyntaxError // the first value of a wrong type, in the file's order
}

// table lays a TOML table over a struct. A key that is not in doc leaves its
// field, and with it the default, alone.
func (d *decoder) table(path string, doc map[string]any, v reflect.Value) {
	known := fieldsOf(v.Type())
	for key, raw := range doc {
		i := slices.IndexFunc(known, func(f field) bool { return f.key == key })
		if i < 0 {
			d.src.report(join(path, key), unknownKey(key, known))
			continue
		}
		d.value(join(path, key), raw, known[i].of(v))
	}
}

// value lays one TOML value over one field.
func (d *decoder) value(path string, raw any, v reflect.Value) {
	switch dst := v.Addr().Interface().(type) {
	case *string:
		scalar(d, path, raw, dst)
	case *bool:
		scalar(d, path, raw, dst)
	case *int:
		d.integer(path, raw, dst)
	case *time.Duration:
		text(d, path, raw, dst, ParseDuration)
	case *Rate:
		text(d, path, raw, dst, ParseRate)
	case *Address:
		text(d, path, raw, dst, ParseAddress)
	case *AdminListen:
		text(d, path, raw, dst, parseAdminListen)
	case *HostName:
		text(d, path, raw, dst, ParseHostName)
	case *[]HostName:
		list(d, path, raw, dst, zero[HostName])
	case *netip.Addr:
		text(d, path, raw, dst, parseSource)
	case *[]string:
		d.chain(path, raw, dst)
	case *[]Address:
		list(d, path, raw, dst, zero[Address])
	case *[]netip.Addr:
		list(d, path, raw, dst, zero[netip.Addr])
	case *Reference:
		text(d, path, raw, dst, ParseReference)
	case *MaxLag:
		text(d, path, raw, dst, parseMaxLag)
	case *Hex:
		text(d, path, raw, dst, parseHex)
	case **regexp.Regexp:
		text(d, path, raw, dst, parseRegexp)
	case *StatusRange:
		text(d, path, raw, dst, parseStatus)
	case *map[string]string:
		d.strings(path, raw, dst)
	case *[]StatusRange:
		list(d, path, raw, dst, zero[StatusRange])
	case *[]Step:
		list(d, path, raw, dst, zero[Step])
	case *[]Probe:
		list(d, path, raw, dst, DefaultProbe)
	case *Size:
		d.size(path, raw, dst)
	case *netip.Prefix:
		text(d, path, raw, dst, ParsePrefix)
	case *[]netip.Prefix:
		list(d, path, raw, dst, zero[netip.Prefix])
	case *Files:
		list(d, path, raw, (*[]string)(dst), zero[string])
	case *[]Listener:
		list(d, path, raw, dst, DefaultListener)
	case *[]Pool:
		list(d, path, raw, dst, DefaultPool)
	case *[]Backend:
		list(d, path, raw, dst, DefaultBackend)
	default:
		d.subtable(path, raw, v)
	}
}

func (d *decoder) subtable(path string, raw any, v reflect.Value) {
	doc, ok := raw.(map[string]any)
	if !ok {
		d.wrongType(path, raw, v.Type())
		return
	}
	d.table(path, doc, v)
}

// list lays a TOML array over a slice, every element over a fresh default. An
// element that cannot be read keeps its place, so that indexes in paths stay
// those of the file.
func list[T any](d *decoder, path string, raw any, dst *[]T, fresh func() T) {
	elems, ok := raw.([]any)
	if !ok {
		d.wrongType(path, raw, reflect.TypeFor[[]T]())
		return
	}
	*dst = make([]T, len(elems))
	for i, raw := range elems {
		(*dst)[i] = fresh()
		d.value(index(path, i), raw, reflect.ValueOf(&(*dst)[i]).Elem())
	}
}

func zero[T any]() (z T) { return }

// strings reads a table in which every key is free, and every value a string.
func (d *decoder) strings(path string, raw any, dst *map[string]string) {
	doc, ok := raw.(map[string]any)
	if !ok {
		d.wrongType(path, raw, reflect.TypeFor[map[string]string]())
		return
	}
	if *dst = nil; len(doc) > 0 { // an empty table is none
		*dst = make(map[string]string, len(doc))
	}
	for key, raw := range doc {
		var value string
		scalar(d, join(path, key), raw, &value)
		(*dst)[key] = value
	}
}

// chain reads algorithms and the like: one as a string, or several as an array.
func (d *decoder) chain(path string, raw any, dst *[]string) {
	if name, ok := raw.(string); ok {
		*dst = []string{name}
		return
	}
	list(d, path, raw, dst, zero[string])
}

func scalar[T any](d *decoder, path string, raw any, dst *T) {
	v, ok := raw.(T)
	if !ok {
		d.wrongType(path, raw, reflect.TypeFor[T]())
		return
	}
	*dst = v
}

func (d *decoder) integer(path string, raw any, dst *int) {
	n, ok := raw.(int64)
	if !ok {
		d.wrongType(path, raw, reflect.TypeFor[int]())
		return
	}
	if *dst = int(n); int64(*dst) != n { // only where an int has 32 bits
		d.src.report(path, fmt.Sprintf("%d is out of range", n))
	}
}

// text reads a string that means something else. What does not parse is a
// problem among others: the field keeps its default, and Validate is silent
// about it.
func text[T any](d *decoder, path string, raw any, dst *T, parse func(string) (T, error)) {
	s, ok := raw.(string)
	if !ok {
		d.wrongType(path, raw, reflect.TypeFor[T]())
		return
	}
	v, err := parse(s)
	if err != nil {
		d.src.report(path, err.Error())
		return
	}
	*dst = v
}

// wrongType notes the mismatch unless an earlier one in the file is known
// already: tables are walked in no order.
func (d *decoder) wrongType(path string, raw any, want reflect.Type) {
	p := d.src.problem(path, fmt.Sprintf("got %s; want %s", typeName(raw), wanted(want, path)))
	if m := d.mismatch; m == nil || p.Line < m.Line || p.Line == m.Line && p.Column < m.Column {
		d.mismatch = &SyntaxError{p}
	}
}

// typeName is how TOML calls the type of a parsed value.
func typeName(raw any) string {
	switch raw.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}

// wanted says what to write where a value of type t belongs.
func wanted(t reflect.Type, path string) string {
	switch t {
	case reflect.TypeFor[string]():
		return "a string"
	case reflect.TypeFor[bool]():
		return "true or false"
	case reflect.TypeFor[int]():
		return "an integer"
	case reflect.TypeFor[time.Duration]():
		return `a duration in quotes, such as "5s"`
	case reflect.TypeFor[Rate]():
		return `a bandwidth in quotes, such as "10MB/s"`
	case reflect.TypeFor[Address](), reflect.TypeFor[AdminListen]():
		return `an address in quotes, such as "10.0.0.11:5432"`
	case reflect.TypeFor[HostName]():
		return `a host name in quotes, such as "lb1.example.net"`
	case reflect.TypeFor[[]HostName]():
		return `an array of host names, such as ["lb1.example.net"]`
	case reflect.TypeFor[Reference]():
		return `a string, such as "file:/path" or "env:NAME"`
	case reflect.TypeFor[MaxLag]():
		return `a string, such as "16MB" or "10s"`
	case reflect.TypeFor[Hex]():
		return `a string, such as "00 ff"`
	case reflect.TypeFor[*regexp.Regexp]():
		return "a regular expression in quotes"
	case reflect.TypeFor[StatusRange]():
		return `a string, such as "200-399"`
	case reflect.TypeFor[[]StatusRange]():
		return `an array of strings, such as ["200-399"]`
	case reflect.TypeFor[netip.Addr]():
		return `an IP address in quotes, such as "10.0.0.2"`
	case reflect.TypeFor[[]string]():
		return "a string, or an array of strings"
	case reflect.TypeFor[[]Address]():
		return `an array of addresses, such as [":5432"]`
	case reflect.TypeFor[Size]():
		return `a size in quotes, such as "512MiB", or a number of bytes`
	case reflect.TypeFor[netip.Prefix]():
		return `a network in quotes, such as "10.0.0.0/8"`
	case reflect.TypeFor[[]netip.Prefix]():
		return `an array of networks, such as ["10.0.0.0/8"]`
	case reflect.TypeFor[[]netip.Addr]():
		return `an array of IP addresses, such as ["10.0.0.2"]`
	}
	if t.Kind() == reflect.Slice {
		return "an array of tables, each written under [[" + unindexed(path) + "]]"
	}
	if strings.HasSuffix(path, "]") {
		return "a table"
	}
	return "a table, written under [" + unindexed(path) + "]"
}

// ParseDuration is time.ParseDuration with errors that say what to write.
func ParseDuration(s string) (time.Duration, error) {
	v, err := time.ParseDuration(s)
	if err == nil {
		return v, nil
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil && isDigits(strings.ReplaceAll(s, ".", "")) {
		return 0, fmt.Errorf("duration %q has no unit; want %q or %q, for example", s, s+"s", s+"ms")
	}
	return 0, fmt.Errorf("%q is not a duration; want one such as \"250ms\", \"5s\" or \"1m30s\"", s)
}

// field is one key of a table.
type field struct {
	key      string
	required bool
	secret   bool  // its value is shown to nobody
	index    []int // of the struct's field, as reflect counts those of embedded structs
}

// of is the field in a table.
func (f field) of(v reflect.Value) reflect.Value { return v.FieldByIndex(f.index) }

// fieldsOf returns the keys of a table in the order of the struct, those of an embedded
// struct in its place. The tag is toml:"KEY", toml:"KEY,required" or toml:"KEY,secret".
// They are the same for all that ask: a validation of many pools asks often.
func fieldsOf(t reflect.Type) []field {
	known, ok := fieldsByType.Load(t)
	if !ok {
		known, _ = fieldsByType.LoadOrStore(t, findFields(t))
	}
	return known.([]field)
}

var fieldsByType sync.Map // reflect.Type to []field

func findFields(t reflect.Type) []field {
	var fields []field
	for _, f := range reflect.VisibleFields(t) {
		if tag, ok := f.Tag.Lookup("toml"); ok {
			key, opt, _ := strings.Cut(tag, ",")
			fields = append(fields, field{key, opt == "required", opt == "secret", f.Index})
		}
	}
	return fields
}

// unknownKey says what may have been meant, or else what there is.
func unknownKey(key string, known []field) string {
	keys := make([]string, len(known))
	for i, f := range known {
		keys[i] = f.key
	}
	if s, ok := closest(key, keys); ok {
		return fmt.Sprintf("unknown key; did you mean %q?", s)
	}
	slices.Sort(keys)
	return "unknown key; this table has " + strings.Join(keys, ", ")
}
