package config

import (
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// A path names a key as problems write it: keys joined by dots, elements of
// arrays by their index. The document is the empty path.
//
//	pool[0].backend[2].weight

// join is the path of a key in the table at path.
func join(path, key string) string {
	if !isBareKey(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// index is the path of element i of the array at path.
func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// parent is the path of the table or array that path is in.
func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// unindexed is path as the header of a table is written: pool.backend.
func unindexed(path string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(path, "[") {
		_, after, ok := strings.Cut(part, "]")
		if !ok {
			after = part
		}
		b.WriteString(after)
	}
	return b.String()
}

func listenerPath(i int) string { return index("listener", i) }

func poolPath(i int) string { return index("pool", i) }

func backendPath(pool, i int) string { return index(poolPath(pool)+".backend", i) }

func alsoPath(health string, i int) string { return index(health+".also", i) }

// isBareKey says whether TOML reads the key without quotes.
func isBareKey(s string) bool { return s != "" && !strings.ContainsFunc(s, notLabel) }

// origin is where a value was written: in the file, or as a flag.
type origin struct {
	line, column int    // from 1; the column counts bytes
	flag         string // the flag and its value; else empty
}

// source knows where the values of a Config were written, and what was wrong
// with those that could not be stored in it.
type source struct {
	file     string            // empty without a file
	at       map[string]origin // by path
	problems []pathProblem
}

// pathProblem remembers the path of a problem, also where the problem itself
// names a flag.
type pathProblem struct {
	path string
	Problem
}

// written says whether the value at path was given, and is not a default.
func (s *source) written(path string) bool {
	_, ok := s.at[path]
	return ok
}

// report keeps a problem for Validate.
func (s *source) report(path, text string) {
	s.problems = append(s.problems, pathProblem{path, s.problem(path, text)})
}

// reported says whether there is a problem at the path already, or with what
// holds it: then its value is a stand-in.
func (s *source) reported(path string) bool {
	return slices.ContainsFunc(s.problems, func(p pathProblem) bool {
		rest, ok := strings.CutPrefix(path, p.path)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// override makes flag the origin of the value at path; what was wrong with the
// value of the file no longer matters.
func (s *source) override(path, flag string) {
	if s.at == nil {
		s.at = map[string]origin{}
	}
	s.at[path] = origin{flag: flag}
	s.problems = slices.DeleteFunc(s.problems, func(p pathProblem) bool { return p.path == path })
}

// problem places text at the path: where it was written, else where the
// nearest table around it was.
func (s *source) problem(path, text string) Problem {
	for near := path; ; near = parent(near) {
		o, ok := s.at[near]
		switch {
		case ok && o.flag != "":
			if rest, ok := strings.CutPrefix(path[len(near):], "."); ok {
				text = rest + ": " + text
			}
			return Problem{Path: o.flag, Text: text}
		case ok:
			return Problem{File: s.file, Line: o.line, Column: o.column, Path: path, Text: text}
		case near == "":
			return Problem{Path: path, Text: text}
		}
	}
}

// positions finds where each path of a document is written: a key at its name,
// an element of an array at its value, a table at its header or, without one,
// at the first key that mentions it. The document itself is at its beginning.
// data is valid TOML.
func positions(data []byte) map[string]origin {
	x := indexer{
		at:     map[string]origin{"": {line: 1, column: 1}},
		counts: map[string]int{},
	}
	for i, b := range data {
		if b == '\n' {
			x.newlines = append(x.newlines, i)
		}
	}
	var p unstable.Parser
	p.Reset(data)
	table := ""
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = x.header(e)
		case unstable.KeyValue:
			x.keyValue(table, e)
		}
	}
	return x.at
}

// indexer walks a document from top to bottom.
type indexer struct {
	at       map[string]origin
	counts   map[string]int // elements so far of arrays written as [[tables]]
	newlines []int          // offsets
}

// header enters the path of a [table] or [[table]] and returns it. On the way
// an array of tables means its last element; at the end of [[table]], a new
// one.
func (x *indexer) header(e *unstable.Node) string {
	path := ""
	for keys := e.Key(); keys.Next() && !deep(path); {
		n := keys.Node()
		path = join(path, string(n.Data))
		x.enter(path, n)
		if e.Kind == unstable.ArrayTable && keys.IsLast() {
			x.counts[path]++
		}
		if count := x.counts[path]; count > 0 {
			path = index(path, count-1)
			x.enter(path, n)
		}
	}
	return path
}

func (x *indexer) keyValue(table string, e *unstable.Node) {
	path := table
	for keys := e.Key(); keys.Next() && !deep(path); {
		path = join(path, string(keys.Node().Data))
		x.enter(path, keys.Node())
	}
	x.inside(path, e.Value())
}

// inside enters what an array or an inline table holds.
func (x *indexer) inside(path string, value *unstable.Node) {
	if deep(path) {
		return
	}
	i := 0
	for elems := value.Children(); elems.Next(); i++ {
		switch value.Kind {
		case unstable.InlineTable:
			x.keyValue(path, elems.Node())
		case unstable.Array:
			x.enter(index(path, i), elems.Node())
			x.inside(index(path, i), elems.Node())
		}
	}
}

// enter notes the first place where a path is written. Arrays in arrays have
// no place of their own and stay without: theirs is what holds them.
func (x *indexer) enter(path string, n *unstable.Node) {
	if _, ok := x.at[path]; ok || deep(path) || n.Raw.Length == 0 {
		return
	}
	line := sort.SearchInts(x.newlines, int(n.Raw.Offset))
	start := 0
	if line > 0 {
		start = x.newlines[line-1] + 1
	}
	x.at[path] = origin{line: line + 1, column: int(n.Raw.Offset) - start + 1}
}

// deep says that nothing of the configuration is so far down: from there on
// paths do not grow, so that a thousand brackets are not a million bytes.
func deep(path string) bool { return strings.Count(path, ".")+strings.Count(path, "[") > 12 }
