package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/limeload/limeload/pkg/config"
	"github.com/spf13/pflag"
)

// probeFlags are the flags of check that say how targets are probed: each is a key of a
// health section, and is checked as such.
type probeFlags struct {
	flags []probeFlag
	steps stepFlags
}

// probeFlag is one of them. value is what a file would hold.
type probeFlag struct {
	name, key string
	value     func() (any, error)
	shown     func() string
}

// add defines the flags.
func (p *probeFlags) add(f *pflag.FlagSet) {
	p.text(f, "type", "type", config.HealthTCP, "`type` of probe for targets: "+strings.Join(config.HealthTypes()[1:], ", "))
	p.text(f, "user", "user", "", "log in as this `user`")
	p.secret(f, "password-file", "file:", "`file` that holds the password")
	p.secret(f, "password-env", "env:", "environment `variable` that holds the password")
	p.text(f, "database", "database", "", "log in to this database, by `name`")
	p.text(f, "query", "query", "", "`query` that has to succeed after the login")
	p.text(f, "role", "role", config.RoleAny, "`role` that the server has to have: any, primary, replica")
	p.text(f, "max-lag", "max_lag", "", "`limit` for replicas: bytes such as 16MB, or a time such as 10s")
	p.text(f, "lag-policy", "lag_policy", config.LagDegrade, "`state` of a replica beyond it: degrade, down")
	p.flag(f, "tls", "tls.enabled", false, "encrypt (always so for tls and https)")
	p.flag(f, "insecure", "tls.verify", true, "do not verify the server's certificate")
	p.file(f, "ca-file", "tls.ca_file", "`file` with the authorities to trust instead of the system's")
	p.text(f, "sni", "tls.server_name", "", "`name` to ask for and to verify instead of the host's")
	p.list(f, "alpn", "tls.alpn", "`protocol` to offer; may be repeated")
	p.duration(f, "cert-warn", "tls.warn", 14*24*time.Hour, "`duration` before a certificate expires in which to warn")
	p.text(f, "method", "http.method", "GET", "`method` of the HTTP request")
	p.text(f, "path", "http.path", "/", "`path` of the HTTP request")
	p.text(f, "http-host", "http.host", "", "`name` in the Host header")
	p.header(f)
	p.list(f, "status", "http.status", "good `codes`, such as 204, 200-399 or 2xx; may be repeated (default 200-399)")
	p.text(f, "body", "http.body", "", "`text` that has to be in the body")
	p.text(f, "body-regexp", "http.body_regexp", "", "`regexp` that has to match in the body")
	p.list(f, "command", "exec.command", "`program` to run, by its path; repeated, its arguments")
	p.escaped(f, "agent-send", "agent.send", "`text` that the agent wants to hear first")
	p.steps.add(f)
	p.flags = append(p.flags, probeFlag{"expect", "step", p.steps.value, func() string { return "" }})
}

func (p *probeFlags) text(f *pflag.FlagSet, name, key, fallback, usage string) {
	v := f.String(name, fallback, usage)
	p.put(name, key, func() (any, error) { return *v, nil }, func() string { return *v })
}

func (p *probeFlags) escaped(f *pflag.FlagSet, name, key, usage string) {
	v := f.String(name, "", usage)
	p.put(name, key, func() (any, error) { return unescape(*v) }, func() string { return *v })
}

// flag is a key that the flag turns to the opposite of its default.
func (p *probeFlags) flag(f *pflag.FlagSet, name, key string, fallback bool, usage string) {
	v := f.Bool(name, false, usage)
	p.put(name, key, func() (any, error) { return *v != fallback, nil }, func() string { return "" })
}

func (p *probeFlags) duration(f *pflag.FlagSet, name, key string, fallback time.Duration, usage string) {
	v := f.Duration(name, fallback, usage)
	p.put(name, key, func() (any, error) { return v.String(), nil }, v.String)
}

func (p *probeFlags) list(f *pflag.FlagSet, name, key, usage string) {
	v := f.StringArray(name, nil, usage)
	p.put(name, key, func() (any, error) { return anys(*v), nil }, func() string { return strings.Join(*v, " ") })
}

func (p *probeFlags) file(f *pflag.FlagSet, name, key, usage string) {
	v := f.String(name, "", usage)
	p.put(name, key, func() (any, error) { return filepath.Abs(*v) }, func() string { return *v })
}

func (p *probeFlags) secret(f *pflag.FlagSet, name, kind, usage string) {
	v := f.String(name, "", usage)
	p.put(name, "password", func() (any, error) {
		if kind == "env:" {
			return kind + *v, nil
		}
		path, err := filepath.Abs(*v)
		return kind + path, err
	}, func() string { return *v })
}

func (p *probeFlags) header(f *pflag.FlagSet) {
	v := f.StringArray("header", nil, "`name: value` of a header of the HTTP request; may be repeated")
	p.put("header", "http.headers", func() (any, error) {
		headers := map[string]any{}
		for _, h := range *v {
			name, value, ok := strings.Cut(h, ":")
			if !ok {
				return nil, fmt.Errorf("--header %q: want name: value", h)
			}
			headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
		return headers, nil
	}, func() string { return "" })
}

func (p *probeFlags) put(name, key string, value func() (any, error), shown func() string) {
	p.flags = append(p.flags, probeFlag{name, key, value, shown})
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// given answers the first of the flags that was given.
func (p *probeFlags) given(changed func(string) bool) (name string, ok bool) {
	for _, f := range p.flags {
		if f.given(changed) {
			return f.name, true
		}
	}
	return "", false
}

// given says whether the flag was, or one of those that it stands for.
func (f *probeFlag) given(changed func(string) bool) bool {
	if f.key != "step" {
		return changed(f.name)
	}
	for _, name := range stepNames {
		if changed(name) {
			return true
		}
	}
	return false
}

// probe makes the probe that the flags describe.
func (p *probeFlags) probe(changed func(string) bool) (config.Probe, error) {
	if changed("password-file") && changed("password-env") {
		return config.Probe{}, errors.New("--password-file and --password-env do not go together")
	}
	var settings []config.Setting
	encrypt := false
	for _, f := range p.flags {
		s := config.Setting{Flag: "--" + f.name, Key: f.key}
		if f.given(changed) {
			value, err := f.value()
			if err != nil {
				return config.Probe{}, err
			}
			s.Value = value
			s.Flag = strings.TrimSpace(s.Flag + " " + f.shown())
			encrypt = encrypt || strings.HasPrefix(f.key, "tls.")
		}
		settings = append(settings, s)
	}
	if encrypt && !changed("tls") { // whoever says how means that
		settings = append(settings, config.Setting{Flag: "--tls", Key: "tls.enabled", Value: true})
	}
	made, err := config.ParseProbe(settings)
	switch {
	case made.Type == config.HealthSendExpect && len(p.steps.steps) == 0:
		return made, errors.New("--type send-expect: has no steps; want --send or --expect")
	case err == nil && made.Type == config.HealthNone:
		return made, errors.New("--type none: asks nothing")
	}
	return made, err
}

// stepFlags collect the steps of a conversation in the order in which they are given: a
// --send begins a step, and so does an --expect that follows another one.
type stepFlags struct{ steps []any }

// stepNames are the flags, by the keys of a step.
var stepNames = map[string]string{
	"send": "send", "send_hex": "send-hex",
	"expect": "expect", "expect_regexp": "expect-regexp", "expect_hex": "expect-hex",
}

func (s *stepFlags) add(f *pflag.FlagSet) {
	for key, usage := range map[string]string{
		"send":          `text to say, with \r, \n, \t, \0, \xFF; begins a step, and may be repeated`,
		"send_hex":      "bytes to say instead",
		"expect":        "text to wait for; may be repeated",
		"expect_regexp": "regular expression to wait for instead",
		"expect_hex":    "bytes to wait for instead",
	} {
		f.Var(&stepFlag{s, key}, stepNames[key], usage)
	}
}

// value is what a file would hold.
func (s *stepFlags) value() (any, error) { return s.steps, nil }

// stepFlag is one of the flags, as pflag sees it.
type stepFlag struct {
	steps *stepFlags
	key   string
}

func (f *stepFlag) String() string { return "" }
func (f *stepFlag) Type() string   { return "text" }

func (f *stepFlag) Set(text string) error {
	if f.key == "send" || f.key == "expect" {
		var err error
		if text, err = unescape(text); err != nil {
			return err
		}
	}
	if err := f.misread(text); err != nil {
		return err
	}
	says := strings.HasPrefix(f.key, "send")
	if n := len(f.steps.steps); n > 0 && !says {
		if last := f.steps.steps[n-1].(map[string]any); !expects(last) {
			last[f.key] = text
			return nil
		}
	}
	f.steps.steps = append(f.steps.steps, map[string]any{f.key: text})
	return nil
}

// misread is what is wrong with text as a step of its own. Of all steps together it would
// be told without its flag.
func (f *stepFlag) misread(text string) error {
	_, err := config.ParseProbe([]config.Setting{
		{Key: "type", Value: config.HealthSendExpect},
		{Key: "step", Value: []any{map[string]any{f.key: text}}},
	})
	var problems config.Problems
	if errors.As(err, &problems) {
		return errors.New(problems[0].Text)
	}
	return err
}

func expects(step map[string]any) bool {
	for key := range step {
		if strings.HasPrefix(key, "expect") {
			return true
		}
	}
	return false
}

// unescape reads what a shell does not: \r \n \t \0 \\ \xFF and the like.
func unescape(s string) (string, error) {
	var out []byte
	for rest := s; rest != ""; {
		if after, ok := strings.CutPrefix(rest, `\0`); ok {
			out, rest = append(out, 0), after
			continue
		}
		r, multibyte, after, err := strconv.UnquoteChar(rest, 0)
		switch {
		case err != nil:
			return "", fmt.Errorf(`%q: want escapes such as \r, \n, \0 or \xFF, and \\ for a backslash`, s)
		case multibyte:
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, byte(r))
		}
		rest = after
	}
	return string(out), nil
}
