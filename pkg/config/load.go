package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"unicode"

	"github.com/pelletier/go-toml/v2"
)

// MaxFileSize bounds what Load reads, in bytes: a wrong path such as /dev/zero ends
// there. The largest configurations are a hundred times smaller.
const MaxFileSize = 16 << 20

// Load reads the file over the defaults. It does not validate: lay the flags
// over, then call Validate, which reports what the file has wrong as well.
//
// Errors are one line: that of the system where the file cannot be read
// (errors.Is fs.ErrNotExist), else those of Parse.
func Load(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse is Load of a file whose content is at hand; name stands for it in
// problems. The error is a *SyntaxError.
func Parse(name string, data []byte) (*Config, error) {
	data = withoutMark(data)
	doc, err := parseTOML(name, data)
	if err != nil {
		return nil, err
	}
	c := Default()
	c.source = source{file: name, at: positions(data)}
	d := decoder{src: &c.source}
	d.table("", doc, reflect.ValueOf(c).Elem())
	if d.mismatch != nil {
		return nil, d.mismatch
	}
	c.settle()
	return c, nil
}

// withoutMark is a text without the byte order mark that some editors begin a file with.
func withoutMark(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\ufeff")) }

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxFileSize {
		return nil, fmt.Errorf("read %s: larger than %d MiB", path, MaxFileSize>>20)
	}
	return data, nil
}

// parseTOML turns the text into tables ([]any and map[string]any), or says
// where it is no TOML.
func parseTOML(name string, data []byte) (map[string]any, error) {
	doc := map[string]any{}
	err := toml.Unmarshal(data, &doc)
	if err == nil {
		return doc, nil
	}
	p := Problem{File: name, Line: 1, Column: 1, Text: oneLine(strings.TrimPrefix(err.Error(), "toml: "))}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		p.Line, p.Column = at.Position()
	}
	switch {
	case isUTF16(data):
		p.Text = "is UTF-16; want UTF-8"
	case strings.HasSuffix(p.Text, "at start of value"), strings.HasPrefix(p.Text, "expected newline"):
		p.Text += "; a text is written in quotes"
	}
	return nil, &SyntaxError{p}
}

// isUTF16 goes by the byte order mark, without which nobody writes it.
func isUTF16(data []byte) bool {
	return bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff})
}

// oneLine makes the parser's messages, which quote the file, safe to print.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
