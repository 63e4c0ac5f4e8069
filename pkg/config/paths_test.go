package config_test

import (
	"reflect"
	"testing"

	"github.com/limeload/limeload/pkg/config"
)

func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		want       config.Paths
	}{
		{"none", ``, config.Paths{}},
		{"a token", `admin.token_file = "/etc/limeload/token"`, config.Paths{Read: []string{"/etc/limeload/token"}}},
		{"the admin socket", `admin.listen = "unix:/run/limeload/admin.sock"`, config.Paths{Change: []string{"/run/limeload"}}},
		{"the sockets of listeners, their directory once", `
[[listener]]
name = "a"
listen = ["unix:/srv/a.sock", ":5432", "unix:/srv/b.sock"]
pool = "p"`, config.Paths{Change: []string{"/srv"}}},
		{"what probes read and run", `
[[pool]]
name = "p"
backend = [{ address = "h:1", health = { password = "file:/etc/limeload/password" } }]
[pool.health]
type = "http"
tls = { ca_file = "/etc/limeload/ca.pem" }
http = { headers = { authorization = "file:/etc/limeload/authorization" } }
[[pool.health.also]]
type = "exec"
exec = { command = ["/usr/lib/limeload/probe", "file:/no/file"] }`, config.Paths{
			Read: []string{"/etc/limeload/authorization", "/etc/limeload/ca.pem", "/etc/limeload/password"}, Run: []string{"/usr/lib/limeload/probe"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := config.Parse("limeload.toml", []byte(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Paths(); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v; want %+v", got, tt.want)
			}
		})
	}
}

func TestProbes(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		want       bool
	}{
		{"of a pool", `pool = [{ name = "p", health = { type = "icmp" } }]`, true},
		{"beside another", `pool = [{ name = "p", health = { type = "tcp", also = [{ type = "icmp" }] } }]`, true},
		{"none of that type", `pool = [{ name = "icmp", health = { type = "tcp" } }]`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := config.Parse("limeload.toml", []byte(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Probes(config.HealthICMP); got != tt.want {
				t.Errorf("got %v; want %v", got, tt.want)
			}
		})
	}
}
