package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// What net/http says of a request is a line of the log like every other: a panic as an
// error, anything else for who debugs.
func TestRemarksAreLoggedLines(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"http: superfluous response.WriteHeader call from x\n", `{"level":"debug","error":"http: superfluous response.WriteHeader call from x","message":"admin API request"}`},
		{"http: panic serving @: x\ngoroutine 1\n", `{"level":"error","error":"http: panic serving @: x\ngoroutine 1","message":"admin API request"}`},
	} {
		var out bytes.Buffer
		if n, err := (remarks{zerolog.New(&out)}).Write([]byte(c.line)); n != len(c.line) || err != nil {
			t.Errorf("got %d, %v; want all of it taken", n, err)
		}
		got := strings.Replace(strings.TrimSpace(out.String()), `"`+zerolog.MessageFieldName+`":`, `"message":`, 1)
		if got != c.want {
			t.Errorf("got %s; want %s", got, c.want)
		}
	}
}
