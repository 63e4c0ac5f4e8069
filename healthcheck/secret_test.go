package healthcheck

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFileSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	s := FileSecret(path)
	for _, tt := range []struct{ content, want, err string }{
		{"open sesame\n", "open sesame", ""},
		{"open sesame\r\n", "open sesame", ""},
		{"two\n\n", "two\n", ""},
		{" spaces ", " spaces ", ""},
		{"", "", "empty"},
		{"\n", "", "empty"},
		{strings.Repeat("x", maxSecret+1), "", "longer than 65536 bytes"},
	} {
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := s.read() // anew every time
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%.20q: got %q, %v; want %q, %q", tt.content, got, err, tt.want, tt.err)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("got an error of %d bytes; want none of the content", len(err.Error()))
		}
	}
	os.Remove(path)
	if _, err := s.read(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing: got %v; want no such file", err)
	} else if v, r := judge(t.Context(), err); v != Unknown || r != ReasonLocal {
		t.Errorf("missing: got %v, %q; want unknown, local", v, r)
	}
}

func TestEnvSecret(t *testing.T) {
	t.Setenv("LIMELOAD_TEST_SECRET", "open sesame")
	if got, err := EnvSecret("LIMELOAD_TEST_SECRET").read(); got != "open sesame" || err != nil {
		t.Errorf("got %q, %v; want it", got, err)
	}
	if _, err := EnvSecret("LIMELOAD_TEST_NOTHING").read(); err == nil {
		t.Errorf("not set: got no error; want one")
	}
	if got, err := Secret(nil).read(); got != "" || err != nil {
		t.Errorf("none: got %q, %v; want nothing", got, err)
	}
}
