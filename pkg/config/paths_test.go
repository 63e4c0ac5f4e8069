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
