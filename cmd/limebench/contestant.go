package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// contestant is one row of a comparison: a program in one configuration, or the way
// without a proxy.
type contestant struct {
	name    string
	program *program // nil: direct
	adapt   func(*setup)
}

// program is what several contestants run.
type program struct {
	name    string
	path    string // "" if it is not installed
	version string
	config  *template.Template
	args    func(config string) []string
	stream  string // see setup.NginxStream
}

// contestants are all rows, in the order of the tables. Those of optional take part
// when they are asked for.
func contestants(limeload, haproxy, nginx *program) []contestant {
	return []contestant{
		{"direct", nil, nil},
		{"limeload", limeload, func(*setup) {}},
		{"limeload-log", limeload, func(s *setup) { s.Access = true }},
		{"limeload-limits", limeload, func(s *setup) { s.Limits = true }},
		{"haproxy", haproxy, func(*setup) {}},
		{"haproxy-splice", haproxy, func(s *setup) { s.Splice = true }},
		{"haproxy-splice-1m", haproxy, func(s *setup) { s.Splice, s.PipeSize = true, 1<<20 }},
		{"nginx", nginx, func(*setup) {}},
	}
}

// optional rows take no part unless they are named: HAProxy with pipes as large as
// limeload's is a tuning, not what one gets.
var optional = []string{"haproxy-splice-1m"}

// rowNames are the names of all rows.
func rowNames() (names []string) {
	for _, c := range contestants(nil, nil, nil) {
		names = append(names, c.name)
	}
	return names
}

// ours tells whether the row is limeload.
func (c contestant) ours() bool { return strings.HasPrefix(c.name, "limeload") }

// configure is the contestant's configuration for s.
func (c contestant) configure(s setup) (string, error) {
	c.adapt(&s)
	s.NginxStream = c.program.stream
	return s.text(c.program.config)
}

// selectRows are the rows that are asked for and can run, and why others cannot.
func selectRows(all []contestant, names []string) (rows []contestant, missing []string, err error) {
	for _, name := range names {
		if !slices.Contains(rowNames(), name) {
			return nil, nil, fmt.Errorf("unknown row %q: want some of %s", name, strings.Join(rowNames(), ", "))
		}
	}
	for _, c := range all {
		switch {
		case len(names) == 0 && slices.Contains(optional, c.name), len(names) > 0 && !slices.Contains(names, c.name):
		case c.program != nil && c.program.path == "":
			missing = append(missing, c.name+": "+c.program.name+" is not installed")
		default:
			rows = append(rows, c)
		}
	}
	return rows, missing, nil
}

// findLimeload is the program at path, or beside this one, or in $PATH.
func findLimeload(ctx context.Context, path string) (*program, error) {
	p := &program{name: "limeload", config: limeloadConfig, args: func(c string) []string { return []string{"serve", "-c", c} }}
	if path != "" {
		p.path = path
	} else if self, err := os.Executable(); err == nil && isFile(filepath.Join(filepath.Dir(self), "limeload")) {
		p.path = filepath.Join(filepath.Dir(self), "limeload")
	} else {
		p.path, _ = exec.LookPath("limeload")
	}
	return p, p.ask(ctx, "--version")
}

// findHAProxy is the program that $HAPROXY names, or the one that is installed.
func findHAProxy(ctx context.Context) (*program, error) {
	p := &program{name: "haproxy", config: haproxyConfig, args: func(c string) []string { return []string{"-db", "-f", c} }}
	p.path = installed("HAPROXY", "haproxy")
	return p, p.ask(ctx, "-v")
}

// findNginx is the program that $NGINX names, or the one that is installed. Its
// stream module is built in or a file.
func findNginx(ctx context.Context) (*program, error) {
	p := &program{name: "nginx", config: nginxConfig, args: func(c string) []string { return []string{"-e", "stderr", "-c", c} }}
	if p.path = installed("NGINX", "nginx"); p.path == "" {
		return p, nil
	}
	if err := p.ask(ctx, "-v"); err != nil {
		return p, err
	}
	build, err := exec.CommandContext(ctx, p.path, "-V").CombinedOutput()
	if err != nil {
		return p, fmt.Errorf("run %s -V: %w", p.path, err)
	}
	var ok bool
	if p.stream, ok = streamModule(string(build)); !ok || p.stream != "" && !isFile(p.stream) {
		if os.Getenv("NGINX") != "" {
			return p, fmt.Errorf("%s has no stream module (%s)", p.path, p.stream)
		}
		p.name, p.path = "nginx with its stream module", ""
	}
	return p, nil
}

var modulesPath = regexp.MustCompile(`--modules-path=(\S+)`)

// streamModule tells from the output of nginx -V whether there is a stream module,
// and which file it is, "" if none has to be loaded.
func streamModule(build string) (file string, ok bool) {
	options := strings.Fields(build)
	if slices.Contains(options, "--with-stream") {
		return "", true
	}
	m := modulesPath.FindStringSubmatch(build)
	if !slices.Contains(options, "--with-stream=dynamic") || m == nil {
		return "", false
	}
	return filepath.Join(m[1], "ngx_stream_module.so"), true
}

// installed is what the variable names, or where a service of that name is usually
// found; "" if nowhere.
func installed(variable, name string) string {
	if path := os.Getenv(variable); path != "" {
		return path
	}
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	return ""
}

// ask learns the program's version, if there is a program.
func (p *program) ask(ctx context.Context, flag string) error {
	if p.path == "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, p.path, flag).CombinedOutput()
	if err != nil {
		return fmt.Errorf("run %s %s: %w", p.path, flag, err)
	}
	p.version, _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	return nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
