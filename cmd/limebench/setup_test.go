package main

import (
	"net/netip"
	"path/filepath"
	"slices"
	"testing"

	"github.com/limeload/limeload/pkg/config"
)

// example is what the golden files are made from.
var example = setup{
	Listen:   netip.MustParseAddrPort("127.0.0.1:20000"),
	Backends: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:21000"), netip.MustParseAddrPort("127.0.0.2:21000")},
	Threads:  2, Sessions: 11000, Dir: "/tmp/limebench1",
}

func examplePrograms() (limeload, haproxy, nginx *program) {
	return &program{name: "limeload", path: "limeload", config: limeloadConfig},
		&program{name: "haproxy", path: "haproxy", config: haproxyConfig},
		&program{name: "nginx", path: "nginx", config: nginxConfig, stream: "/modules/stream.so"}
}

// TestConfigurations shows every row's configuration.
func TestConfigurations(t *testing.T) {
	for _, c := range contestants(examplePrograms()) {
		if c.program == nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			got, err := c.configure(example)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, got, "config", c.name)
		})
	}
}

// TestLimeloadConfigurationIsValid: what we generate for ourselves loads without a
// complaint.
func TestLimeloadConfigurationIsValid(t *testing.T) {
	for _, name := range []string{"limeload", "limeload-log", "limeload-limits"} {
		c, err := config.Load(filepath.Join("testdata", "config", name))
		if err == nil {
			err = c.Validate()
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSessionsFitDescriptors: what a limit of descriptors allows needs no more.
func TestSessionsFitDescriptors(t *testing.T) {
	for _, limit := range []int{4096, 20000, 20001, 20002, 1 << 20} {
		s := setup{Sessions: sessionsWithin(limit)}
		if got := s.Descriptors(); got > limit || got < limit-3 {
			t.Errorf("%d sessions: got %d descriptors; want about %d, and no more", s.Sessions, got, limit)
		}
	}
}

func TestStreamModule(t *testing.T) {
	for name, c := range map[string]struct {
		build, file string
		ok          bool
	}{
		"built in":                 {"configure arguments: --with-stream --with-stream_ssl_module", "", true},
		"a module":                 {"configure arguments: --modules-path=/usr/lib/nginx/modules --with-stream=dynamic", "/usr/lib/nginx/modules/ngx_stream_module.so", true},
		"a module, nobody's path":  {"configure arguments: --with-stream=dynamic", "", false},
		"only what belongs to one": {"configure arguments: --with-stream_ssl_module", "", false},
		"none":                     {"nginx version: nginx/1.22.1", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if file, ok := streamModule(c.build); file != c.file || ok != c.ok {
				t.Errorf("got %q, %t; want %q, %t", file, ok, c.file, c.ok)
			}
		})
	}
}

func TestSelectRows(t *testing.T) {
	limeload, haproxy, nginx := examplePrograms()
	nginx.path = ""
	for name, c := range map[string]struct{ ask, rows, missing []string }{
		"what there is":  {nil, []string{"direct", "limeload", "limeload-log", "limeload-limits", "haproxy", "haproxy-splice"}, []string{"nginx: nginx is not installed"}},
		"some":           {[]string{"haproxy", "direct"}, []string{"direct", "haproxy"}, nil},
		"an optional":    {[]string{"haproxy-splice-1m"}, []string{"haproxy-splice-1m"}, nil},
		"a missing one":  {[]string{"nginx", "direct"}, []string{"direct"}, []string{"nginx: nginx is not installed"}},
		"only a missing": {[]string{"nginx"}, nil, []string{"nginx: nginx is not installed"}},
	} {
		t.Run(name, func(t *testing.T) {
			rows, missing, err := selectRows(contestants(limeload, haproxy, nginx), c.ask)
			var names []string
			for _, r := range rows {
				names = append(names, r.name)
			}
			if err != nil || !slices.Equal(names, c.rows) || !slices.Equal(missing, c.missing) {
				t.Errorf("got %v, missing %v, %v; want %v, missing %v", names, missing, err, c.rows, c.missing)
			}
		})
	}
}

func TestSelectLines(t *testing.T) {
	for name, c := range map[string]struct {
		ask  []string
		want []string
	}{
		"nothing: all":     {nil, lineNames()},
		"one":              {[]string{"pingpong-64"}, []string{"pingpong-64", "pingpong-64-4k", "pingpong-64-32k"}},
		"a kind":           {[]string{"connect"}, []string{"connect-8", "connect-64"}},
		"in the own order": {[]string{"idle", "download"}, []string{"download-8", "download-1", "idle"}},
		"twice":            {[]string{"connect-8", "connect"}, []string{"connect-8", "connect-64"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := selectLines(c.ask)
			var names []string
			for _, l := range got {
				names = append(names, l.name)
			}
			if err != nil || !slices.Equal(names, c.want) {
				t.Errorf("got %v, %v; want %v", names, err, c.want)
			}
		})
	}
}
