package healthcheck

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSecret is how long a secret may be, in bytes: more is another file.
const maxSecret = 64 << 10

// FileSecret is the content of a file, without the line end at its end.
func FileSecret(path string) Secret {
	return func() (string, error) {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
		switch {
		case err != nil:
			return "", err
		case len(b) > maxSecret:
			return "", fmt.Errorf("%s: longer than %d bytes", path, maxSecret)
		}
		text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		if text == "" {
			return "", fmt.Errorf("%s: empty", path)
		}
		return text, nil
	}
}

// EnvSecret is the value of an environment variable.
func EnvSecret(name string) Secret {
	return func() (string, error) {
		text := os.Getenv(name)
		if text == "" {
			return "", errors.New("environment variable " + name + " is not set")
		}
		return text, nil
	}
}

// Literal is a text that is no secret, where one is wanted.
func Literal(text string) Secret {
	return func() (string, error) { return text, nil }
}
