package config

import (
	"fmt"
	"reflect"
	"slices"
)

// Change is one difference between two configurations.
type Change struct {
	Path     string // as in pool.postgres.backend.pg-1.weight: tables go by their name
	Old, New string // as literals; empty if there was or is none

	// What keeps the change from taking effect at once; Diff sets neither.
	Restart    bool // it cannot be made while the process runs
	Overridden bool // a person's override lies over it
}

// String is the change as a person reads it.
func (c Change) String() string {
	text := c.Path
	switch {
	case c.Old == "" && c.New == "":
	case c.Old == "":
		text += ": added"
	case c.New == "":
		text += ": removed"
	default:
		text += ": " + c.Old + " -> " + c.New
	}
	if c.Restart {
		text += " (needs a restart)"
	}
	if c.Overridden {
		text += " (overridden)"
	}
	return text
}

// BackendPath is the Path of a change of one backend's key.
func BackendPath(pool, backend, key string) string {
	return join(join(join(join("pool", pool), "backend"), backend), key)
}

// present stands for a whole table that was added or removed.
const present = "present"

// Diff lists what differs from one configuration to the next, in the order of the
// keys. Listeners, pools and backends are compared by name; a backend that has
// another address is another backend.
func Diff(from, to *Config) []Change {
	return diffTable("", reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem())
}

func diffTable(path string, from, to reflect.Value) (changes []Change) {
	for _, f := range fieldsOf(from.Type()) {
		at, a, b := join(path, f.key), f.of(from), f.of(to)
		switch {
		case reflect.DeepEqual(a.Interface(), b.Interface()):
		case a.Kind() == reflect.Slice && a.Len()+b.Len() == 0: // one of them was written as []
		case isTable(a.Type()):
			changes = append(changes, diffTable(at, a, b)...)
		case isTables(a.Type()) && isNamed(a.Type().Elem()):
			changes = append(changes, diffTables(at, byName(a), byName(b))...)
		case isTables(a.Type()):
			changes = append(changes, diffPlaces(at, a, b)...)
		case f.secret:
			changes = append(changes, Change{Path: at, Old: "(secret)", New: "(another secret)"})
		default:
			changes = append(changes, Change{Path: at, Old: written(a), New: written(b)})
		}
	}
	return changes
}

// isNamed tells an array of tables whose elements have names.
func isNamed(t reflect.Type) bool {
	if !isTable(t) {
		return false
	}
	_, ok := t.FieldByName("Name")
	return ok
}

// diffPlaces compares arrays of tables without names, place by place.
func diffPlaces(path string, from, to reflect.Value) (changes []Change) {
	for i := range max(from.Len(), to.Len()) {
		switch at := index(path, i); {
		case i >= to.Len():
			changes = append(changes, Change{Path: at, Old: present})
		case i >= from.Len():
			changes = append(changes, Change{Path: at, New: present})
		default:
			changes = append(changes, diffTable(at, from.Index(i), to.Index(i))...)
		}
	}
	return changes
}

// named is an element of an array of tables.
type named struct {
	name  string
	value reflect.Value
}

func diffTables(path string, from, to []named) (changes []Change) {
	was, is := valuesOf(from), valuesOf(to)
	for _, a := range from {
		if b, ok := is[a.name]; ok {
			changes = append(changes, diffTable(join(path, a.name), a.value, b)...)
		} else {
			changes = append(changes, Change{Path: join(path, a.name), Old: present})
		}
	}
	for _, b := range to {
		if _, ok := was[b.name]; !ok {
			changes = append(changes, Change{Path: join(path, b.name), New: present})
		}
	}
	// The order counts, for the algorithm first: it is told where it is all there is.
	if len(changes) == 0 && !slices.Equal(names(from), names(to)) {
		changes = append(changes, Change{Path: path, Old: fmt.Sprint(names(from)), New: fmt.Sprint(names(to))})
	}
	return changes
}

// valuesOf finds tables by their names.
func valuesOf(all []named) map[string]reflect.Value {
	values := make(map[string]reflect.Value, len(all))
	for _, n := range all {
		values[n.name] = n.value
	}
	return values
}

func names(all []named) []string {
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.name
	}
	return names
}

func byName(tables reflect.Value) []named {
	all := make([]named, tables.Len())
	for i := range all {
		v := tables.Index(i)
		all[i] = named{v.FieldByName("Name").String(), v}
	}
	return all
}

// written is a value as the file has it, or close to that for lists.
func written(v reflect.Value) string {
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return fmt.Sprint(v.Interface())
	}
	_, s := literal(v)
	return s
}
