package main

import (
	"bytes"
	_ "embed"
	"net/netip"
	"text/template"
)

// setup is what a contestant's configuration is made from. It is the same for all.
type setup struct {
	Listen   netip.AddrPort
	Backends []netip.AddrPort // of the one server
	Threads  int              // or worker processes
	Sessions int              // that must be possible at a time
	Dir      string           // for files; everything in it is removed at the end

	// What tells rows of one program apart, or is needed to run it at all.
	Splice      bool   // HAProxy: option splice-request and splice-response
	PipeSize    int    // HAProxy: tune.pipesize, 0 is its default
	Access      bool   // limeload: a line for every session
	Limits      bool   // limeload: every limit and an access list, none of which refuses anybody
	NginxStream string // nginx: the module's file, "" if it is built in
}

// Descriptors is what Sessions take at most: two each, and half of one more for the
// pipes that HAProxy reckons with (its maxpipes is a quarter of its maxconn), and
// some for the program.
func (s setup) Descriptors() int { return s.Sessions*5/2 + ownDescriptors }

// sessionsWithin is how many Sessions fit a number of descriptors.
func sessionsWithin(descriptors int) int { return (descriptors - ownDescriptors) * 2 / 5 }

const ownDescriptors = 1000

var (
	//go:embed limeload.toml.tmpl
	limeloadText string
	//go:embed haproxy.cfg.tmpl
	haproxyText string
	//go:embed nginx.conf.tmpl
	nginxText string

	limeloadConfig = template.Must(template.New("limeload.toml").Parse(limeloadText))
	haproxyConfig  = template.Must(template.New("haproxy.cfg").Parse(haproxyText))
	nginxConfig    = template.Must(template.New("nginx.conf").Parse(nginxText))
)

// text is the configuration for s.
func (s setup) text(t *template.Template) (string, error) {
	var b bytes.Buffer
	err := t.Execute(&b, s)
	return b.String(), err
}
