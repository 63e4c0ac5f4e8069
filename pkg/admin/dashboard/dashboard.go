// Package dashboard is the page that a browser shows at the admin address: what runs,
// what it carries, and the handful of changes that operators make.
//
//	static/index.html    the page's frame; works as a document before any script
//	static/style.css     its look, in light and dark
//	static/main.js       starts everything and decides when to ask the API
//	static/api.js        requests, the token, errors in words, the event stream
//	static/model.js      what is known, and rates, which are differences of it
//	static/views/*.js    one part of the page a file; each keeps its nodes and edits them
//	static/lib/*.js      nodes, charts, dialogs, numbers in words
//
// The page is plain modules that browsers run as they are: there is no build step and
// nothing is loaded from elsewhere, which its content security policy enforces. All
// of it is a client of the API under /api/v1 and can do no more than that allows. The
// files hold no secret, so they are served without a token; the page asks for it when
// the API does and keeps it until the tab is closed.
package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// Prefix is where the page's files are; the page itself is at "/".
const Prefix = "/dashboard/"

// policy lets the page load its own files and ask its own origin, and nothing else:
// no inline script or style, no frame around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// types are the content types by extension: the machine's own table may be wrong.
var types = map[string]string{
	".html":    "text/html; charset=utf-8",
	".css":     "text/css; charset=utf-8",
	".js":      "text/javascript; charset=utf-8",
	".svg":     "image/svg+xml",
	".woff2":   "font/woff2",
	".LICENSE": "text/plain; charset=utf-8",
}

//go:embed static
var static embed.FS

// file is one file as it is sent.
type file struct {
	content     []byte
	contentType string
	etag        string
}

// files are all of them by the path of their URL.
var files = load()

func load() map[string]*file {
	all := map[string]*file{}
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		f := &file{b, types[path.Ext(name)], `"` + hex.EncodeToString(sum[:8]) + `"`}
		all[Prefix+strings.TrimPrefix(name, "static/")] = f
		return nil
	})
	if err != nil {
		panic(err) // of files that are part of the program
	}
	all["/"] = all[Prefix+"index.html"]
	delete(all, Prefix+"index.html")
	return all
}

// Serves reports whether a URL's path is a file of the page.
func Serves(path string) bool { return files[path] != nil }

// Handler serves the page. Browsers ask each time whether a file has changed, so that
// a new version of the program never meets an old script.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := files[r.URL.Path]
		if f == nil {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.contentType)
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", f.etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	})
}
