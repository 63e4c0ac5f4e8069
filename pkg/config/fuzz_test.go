package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/limeload/limeload/pkg/config"
)

// FuzzParse holds that no file panics, and that whatever is said of it is of
// use: one line, with a place and a text.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("limeload.toml", data)
		var syntax *config.SyntaxError
		switch {
		case errors.As(err, &syntax):
			usable(t, syntax.Problem)
			if syntax.Column == 0 {
				t.Errorf("got %v; want a column", syntax)
			}
		case err != nil:
			t.Errorf("got %T %v; want a SyntaxError", err, err)
		default:
			usableProblems(t, c.Validate())
		}
	})
}

func usableProblems(t *testing.T, err error) {
	var ps config.Problems
	if !errors.As(err, &ps) {
		if err != nil {
			t.Errorf("got %T %v; want Problems", err, err)
		}
		return
	}
	for i, p := range ps {
		usable(t, p)
		if i > 0 && p.Line < ps[i-1].Line {
			t.Errorf("got line %d after %d; want the order of the file", p.Line, ps[i-1].Line)
		}
	}
}

func usable(t *testing.T, p config.Problem) {
	if p.Line < 1 || p.File != "limeload.toml" || p.Text == "" {
		t.Errorf("got %+v; want a file, a line and a text", p)
	}
	if line := p.String(); strings.ContainsAny(line, "\n\r\x1b\x00") {
		t.Errorf("got %q; want one printable line", line)
	}
}

// FuzzTOML holds that what TOML writes of a configuration without problems reads back
// as the same one.
func FuzzTOML(f *testing.F) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("limeload.toml", data)
		if err != nil || c.Validate() != nil {
			return
		}
		text := c.TOML()
		again, err := config.Parse("again.toml", []byte(text))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if err := again.Validate(); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
		for i := range again.Pools {
			if again.Pools[i].HashKey == config.Redacted {
				again.Pools[i].HashKey = c.Pools[i].HashKey
			}
		}
		if changes := config.Diff(c, again); len(changes) > 0 {
			t.Errorf("got %v in\n%s", changes, text)
		}
	})
}
