package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/limeload/limeload/balancer"
	"github.com/limeload/limeload/pkg/config"
)

const (
	module    = "github.com/limeload/limeload/"
	systemPkg = "golang.org/x/sys/unix"
)

// layer is what the files of a package may import: ours are packages of this
// module, theirs are modules of others ("*" for any; the standard library is
// always allowed).
type layer struct {
	pkg          string
	ours, theirs string
}

// leaves import nothing of ours.
const leaves = "splice balancer healthcheck pkg/config pkg/access pkg/limit pkg/disk "

// layers are all packages; those above use those below, and no arrow goes up. A
// new package needs a line here. What counts and what is shown are apart: nothing
// from pkg/server on down knows a library for metrics, and only a driver or a
// command may.
var layers = []layer{
	{"cmd/limeload", "healthcheck pkg/config pkg/admin pkg/metrics pkg/demo pkg/check pkg/top pkg/show pkg/client pkg/server pkg/logqueue pkg/watch pkg/systemd pkg/confine pkg/disk pkg/usage", "*"},
	{"cmd/limebench", leaves + "pkg/demo pkg/client pkg/server pkg/usage splice/loadgen", "*"},

	{"pkg/demo", leaves + "pkg/admin pkg/metrics pkg/client pkg/server splice/loadgen", "*"},
	{"pkg/admin", leaves + "pkg/admin/dashboard pkg/check pkg/client pkg/server", "*"},
	{"pkg/metrics", leaves + "pkg/client pkg/server", "*"},
	{"pkg/check", leaves + "pkg/server", ""},
	{"pkg/admin/dashboard", "", ""},
	{"pkg/soak", leaves + "pkg/proxy pkg/server", "*"},

	{"pkg/top", "pkg/show pkg/client", "charm.land/bubbletea/v2"},
	{"pkg/show", "", ""},
	{"pkg/usage", "pkg/config", "github.com/spf13/cobra github.com/spf13/pflag"},
	{"pkg/usage/usagetest", "", "github.com/spf13/cobra github.com/spf13/pflag"},

	{"pkg/client", leaves, ""},

	{"pkg/server", leaves + "pkg/proxy pkg/standing", "github.com/rs/zerolog golang.org/x/sys"},

	{"pkg/proxy", leaves + "pkg/standing", "github.com/rs/zerolog"},

	{"pkg/standing", "balancer healthcheck", ""},

	{"pkg/logqueue", "", ""},
	{"pkg/watch", "pkg/disk", "github.com/fsnotify/fsnotify"},
	{"pkg/systemd", "", "golang.org/x/sys"},
	{"pkg/confine", "", "golang.org/x/sys github.com/landlock-lsm/go-landlock kernel.org/pub/linux/libs/security/libcap/psx"},

	{"pkg/config", "", "github.com/pelletier/go-toml/v2"},
	{"healthcheck", "", "golang.org/x/sys golang.org/x/net github.com/jackc/pgx/v5 github.com/go-sql-driver/mysql"},
	{"pkg/access", "", ""},
	{"pkg/disk", "", ""},
	{"pkg/limit", "", ""},
	{"balancer", "", ""},
	{"splice", "splice/internal/sys", "golang.org/x/sys"},

	{"splice/loadgen", "splice/internal/sys", "golang.org/x/sys github.com/HdrHistogram/hdrhistogram-go"},
	{"splice/internal/sys", "", "golang.org/x/sys"},
}

// testLayers are packages for tests, which only tests import. Tests may import more
// than the package that they test: what is in belowTests, and any module of others.
const (
	testLayers = "splice/splicetest pkg/testserver pkg/usage/usagetest"
	belowTests = leaves + "pkg/server splice/loadgen " + testLayers
)

// Imports go down the table alone, in every build configuration: the files are
// read, not built.
func TestImportsGoDown(t *testing.T) {
	for _, f := range sources(t) {
		row := rowOf(f)
		if row == nil {
			t.Errorf("%s: %s has no line in the table of layers", f.name, f.pkg)
			continue
		}
		for _, imported := range f.imports() {
			if !row.allows(imported) {
				t.Errorf("%s: %s must not import %s", f.name, f.pkg, imported)
			}
		}
	}
}

// rowOf is the line for a file: for a test that of its package, and more.
func rowOf(f *source) *layer {
	i := slices.IndexFunc(layers, func(l layer) bool { return l.pkg == f.pkg })
	var row layer
	switch {
	case i >= 0:
		row = layers[i]
	case f.forTests():
		row.pkg = f.pkg
	default:
		return nil
	}
	if f.forTests() {
		row.ours += " " + row.pkg + " " + belowTests
		row.theirs = "*"
	}
	return &row
}

func (l *layer) allows(imported string) bool {
	if ours, ok := strings.CutPrefix(imported, module); ok {
		return slices.Contains(strings.Fields(l.ours), ours)
	}
	if !strings.Contains(strings.Split(imported, "/")[0], ".") {
		return imported != "C" // the standard library
	}
	return slices.ContainsFunc(strings.Fields(l.theirs), func(m string) bool {
		return m == "*" || imported == m || strings.HasPrefix(imported, m+"/")
	})
}

// The table has an order: a package is above all that it may import.
func TestLayersHaveNoArrowUp(t *testing.T) {
	for i, l := range layers {
		for _, above := range layers[:i+1] {
			if slices.Contains(strings.Fields(l.ours), above.pkg) {
				t.Errorf("%s may import %s, which does not stand below it", l.pkg, above.pkg)
			}
		}
	}
}

// systemCalls says which files may import x/sys/unix, for its constants and types,
// and which of its functions they may call ("*" for any). The first pattern that
// matches counts; what moves bytes is under splice/internal/sys alone.
var systemCalls = []struct{ files, calls string }{
	{"splice/internal/sys/*.go", "*"},
	// The goroutine engine runs on every Unix, the package sys on Linux. Package net
	// moves its bytes; these are what net does not offer.
	{"splice/copy_*.go", "Bind Getsockname GetsockoptInt IoctlGetInt Listen Poll Recvfrom SetsockoptInt Shutdown"},
	{"splice/*_linux.go", "Lstat Unlink"}, // a unix listener's file
	{"splice/loadgen/*.go", "Getrlimit Setrlimit"},
	{"pkg/server/files_*.go", "Getrlimit Setrlimit"},
	{"pkg/systemd/*.go", "ClockGettime"},
	{"pkg/confine/*.go", "*"}, // once, at the start
	{"healthcheck/*.go", "*"}, // leaves import nothing of ours, and a probe has no hot path
}

// allowedCalls is the line of systemCalls for a file.
func allowedCalls(name string) (calls []string, listed bool) {
	for _, s := range systemCalls {
		if ok, _ := path.Match(s.files, name); ok {
			return strings.Fields(s.calls), true
		}
	}
	return nil, false
}

// System calls are made under splice/internal/sys, with few exceptions.
func TestSystemCallsStayBelow(t *testing.T) {
	for _, f := range sources(t) {
		if f.forTests() {
			continue
		}
		allowed, listed := allowedCalls(f.name)
		if slices.Contains(f.imports(), systemPkg) && !listed {
			t.Errorf("%s: must not import %s", f.name, systemPkg)
			continue
		}
		for _, call := range f.calls(systemPkg) {
			if !slices.Contains(allowed, call) && !slices.Contains(allowed, "*") {
				t.Errorf("%s: calls unix.%s; that belongs under splice/internal/sys", f.name, call)
			}
		}
		for _, call := range f.calls("syscall") {
			if !listed && isRaw(call) {
				t.Errorf("%s: calls syscall.%s; that belongs under splice/internal/sys", f.name, call)
			}
		}
	}
}

// isRaw reports whether a function of package syscall is a system call by number.
func isRaw(call string) bool {
	return strings.HasPrefix(call, "Syscall") || strings.HasPrefix(call, "RawSyscall")
}

// The names that a file may hold are those that the balancer knows: config does
// not import it.
func TestConfigKnowsTheAlgorithms(t *testing.T) {
	if got, want := config.Algorithms(), balancer.Algorithms(); !slices.Equal(got, want) {
		t.Errorf("config.Algorithms: got %q; want %q as balancer.Algorithms", got, want)
	}
}

// source is one file of the module.
type source struct {
	name string // below the module's root
	pkg  string // directory below the module's root
	test bool   // *_test.go
	ast  *ast.File
}

// forTests reports whether the file is never part of a program.
func (s *source) forTests() bool {
	return s.test || slices.Contains(strings.Fields(testLayers), s.pkg)
}

// sources reads every Go file of the module, whatever it is built for.
func sources(t *testing.T) (all []*source) {
	t.Helper()
	root := os.DirFS(filepath.Join("..", ".."))
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, &source{name, path.Dir(name), strings.HasSuffix(name, "_test.go"), file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (s *source) imports() []string {
	paths := make([]string, len(s.ast.Imports))
	for i, spec := range s.ast.Imports {
		paths[i], _ = strconv.Unquote(spec.Path.Value)
	}
	return paths
}

// calls are the names of a package's functions that the file calls.
func (s *source) calls(imported string) (names []string) {
	ast.Inspect(s.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := f.X.(*ast.Ident); ok && x.Name == s.localName(imported) {
			names = append(names, f.Sel.Name)
		}
		return true
	})
	return names
}

// localName is what the file calls an imported package; "" if it does not.
func (s *source) localName(imported string) string {
	for _, spec := range s.ast.Imports {
		if p, _ := strconv.Unquote(spec.Path.Value); p != imported {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(imported)
	}
	return ""
}
