package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// What is written reads back as the same configuration.
func TestTOMLReadsBack(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	for _, file := range append(files, "testdata/full.toml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			for i := range c.Pools {
				c.Pools[i].HashKey = ""
			}
			text := c.TOML()
			again, err := Parse("again.toml", []byte(text))
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if again.source.problems != nil {
				t.Errorf("got problems %v in\n%s", again.source.problems, text)
			}
			c.source, again.source = source{}, source{}
			if changes := Diff(c, again); len(changes) > 0 || again.TOML() != text {
				t.Errorf("got %v; want no difference", changes)
			}
			if !reflect.DeepEqual(c.Tables(), again.Tables()) {
				t.Errorf("got other tables")
			}
		})
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	const secret = "sEcReT"
	c, err := Parse("x.toml", []byte(`
[[pool]]
name = "with"
hash_key = "`+secret+`"
[[pool]]
name = "without"
`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c.Tables())
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"JSON": string(b), "TOML": c.TOML()} {
		if strings.Contains(text, secret) {
			t.Errorf("%s: got the secret:\n%s", what, text)
		}
		if got := strings.Count(text, Redacted); got != 1 {
			t.Errorf("%s: got %d times %s; want it where a secret is set:\n%s", what, got, Redacted, text)
		}
	}
}

// Every key is there, whatever its value.
func TestTablesHaveEveryKey(t *testing.T) {
	data, err := os.ReadFile("testdata/full.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("full.toml", data)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range Keys() {
		var at any = c.Tables()
		path := strings.Replace(k.Path, "health.step[]", "health.also[].step[]", 1) // where the file has one
		for _, part := range strings.Split(path, ".") {
			name, isList := strings.CutSuffix(part, "[]")
			value, ok := at.(map[string]any)[name]
			if !ok {
				t.Errorf("got no %s", k.Path)
				break
			}
			if at = value; isList {
				at = value.([]any)[0]
			}
		}
	}
}

func TestTOMLText(t *testing.T) {
	for text, want := range map[string]string{
		"plain":          `"plain"`,
		"a \"b\" \\ <c>": `"a \"b\" \\ <c>"`,
		"\x7f\x01\t":     `"\u007f\u0001\t"`,
	} {
		if got := tomlValue(text); got != want {
			t.Errorf("%q: got %s; want %s", text, got, want)
		}
	}
}
