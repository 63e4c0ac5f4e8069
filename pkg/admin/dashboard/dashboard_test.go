package dashboard

import (
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func get(path string, header ...string) *http.Response {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

// Whatever the page and its modules refer to is there, and has a content type: the
// policy nosniff makes browsers refuse one without.
func TestReferences(t *testing.T) {
	seen := map[string]bool{}
	refer := regexp.MustCompile(`(?:(?:src|href)="(/[^"]*)")|(?:from "([^"]+)")|(?:import "([^"]+)")|(?:url\(([^)]+)\))`)
	var follow func(from string)
	follow = func(from string) {
		if seen[from] {
			return
		}
		seen[from] = true
		f := files[from]
		if f == nil {
			t.Errorf("%s is not there", from)
			return
		}
		if f.contentType == "" {
			t.Errorf("%s has no content type", from)
		}
		for _, m := range refer.FindAllStringSubmatch(string(f.content), -1) {
			to := m[1] + m[2] + m[3] + m[4]
			if !strings.HasPrefix(to, "/") {
				to = path.Join(path.Dir(from), to)
			}
			if strings.HasPrefix(to, "/api/") || to == "/metrics" {
				continue
			}
			follow(to)
		}
	}
	follow("/")
	for name := range files {
		if !seen[name] && !strings.HasSuffix(name, ".LICENSE") {
			t.Errorf("%s is referred to by nothing", name)
		}
	}
}

// The policy forbids what stands in the page itself, and anything from elsewhere: there
// must be none, or it would silently not work.
func TestNothingThatThePolicyForbids(t *testing.T) {
	for name, f := range files {
		for _, forbidden := range []string{`<script>`, `<style`, ` style="`, ` onclick="`, `https://`, `innerHTML`, `eval(`} {
			if !strings.HasSuffix(name, ".LICENSE") && strings.Contains(string(f.content), forbidden) {
				t.Errorf("%s contains %s", name, forbidden)
			}
		}
	}
}

func TestHeaders(t *testing.T) {
	for name := range files {
		r := get(name)
		if r.StatusCode != http.StatusOK || !strings.Contains(r.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("GET %s: %d with policy %q", name, r.StatusCode, r.Header.Get("Content-Security-Policy"))
		}
		if got := get(name, "If-None-Match", r.Header.Get("ETag")).StatusCode; got != http.StatusNotModified {
			t.Errorf("GET %s again: got %d; want %d", name, got, http.StatusNotModified)
		}
	}
	if got := get(Prefix + "nothing.js").StatusCode; got != http.StatusNotFound {
		t.Errorf("a file that is not there: got %d; want %d", got, http.StatusNotFound)
	}
}

// The budget is 300 kB for the page with all that it loads.
func TestSize(t *testing.T) {
	total := 0
	for name, f := range files {
		if !strings.HasSuffix(name, ".LICENSE") {
			total += len(f.content)
		}
	}
	t.Logf("the page: %.1f kB in %d files", float64(total)/1000, len(files)-1)
	if total > 300_000 {
		t.Errorf("the page has %d bytes; want at most 300000", total)
	}
}
