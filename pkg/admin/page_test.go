package admin

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/limeload/limeload/pkg/config"
)

// The dashboard's files need no token, since the page is what asks for it; but nothing
// else is reached through their paths.
func TestPageNeedsNoToken(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig2(t, newRig(t, Options{}, false), Options{TokenFile: token, Hosts: []config.HostName{"lb1.example"}}, false)
	for _, test := range []struct {
		name, method, path string
		header             []string
		want               int
	}{
		{"the page", "GET", "/", nil, 200},
		{"a module", "GET", "/dashboard/main.js", nil, 200},
		{"the licence of its font", "GET", "/dashboard/geist.LICENSE", nil, 200},
		{"a file that is not there", "GET", "/dashboard/nothing.js", nil, 401},
		{"a path that leads out", "GET", "/dashboard/../api/v1/status", nil, 401},
		{"an encoded one", "GET", "/dashboard/%2e%2e/api/v1/status", nil, 401},
		{"beside the page", "GET", "//api/v1/status", nil, 401},
		{"no change", "POST", "/", nil, 405},
		{"a name that was rebound", "GET", "/", []string{"Host", "evil.example"}, 421},
		{"a name of ours", "GET", "/", []string{"Host", "lb1.example:5480"}, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			if status, body := r.call(t, test.method, test.path, "", test.header...); status != test.want {
				t.Errorf("%d %.200s; want %d", status, body, test.want)
			}
		})
	}
}
