package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/limeload/limeload/pkg/admin/dashboard"
)

// maxBody bounds the body of a request, in bytes.
const maxBody = 1 << 20

// readToken reads the bearer token. A file that others than its owner may read is
// refused: it would be no secret. A credential of the service manager (LoadCredential=)
// is none to others, whatever its mode says: the mask of its access list shows there.
func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("admin.token_file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 && !isCredential(path) {
		return "", fmt.Errorf("admin.token_file: %s has mode %04o; want one that only its owner may read, such as 0600", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("admin.token_file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	switch {
	case token == "":
		return "", fmt.Errorf("admin.token_file: %s is empty", path)
	case strings.ContainsAny(token, "\r\n"): // which no header can have
		return "", fmt.Errorf("admin.token_file: %s has more than one line", path)
	}
	return token, nil
}

// isCredential reports whether a file is in the directory that the service manager made
// for this service alone (systemd.exec(5), CREDENTIALS_DIRECTORY).
func isCredential(path string) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	return dir != "" && filepath.Dir(path) == filepath.Clean(dir)
}

// guard is what every request passes, in this order: a host that is ours, so that no
// foreign name can be rebound to this address; for changes an origin that is ours;
// the token; a bounded body. A token does not make up for a foreign host: a browser that
// was led to this address by one runs a page of somebody else's under it, and what the API
// answers without a token would be that page's to read.
func guard(token string, hosts hostList, next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusForbidden, "a page of another origin may not change anything here")
	}))
	checked := origin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !open(r.URL.Path) && !authorized(r, token) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="limeload"`)
			problem(w, http.StatusUnauthorized, "want the header Authorization: Bearer TOKEN")
			return
		}
		if status, why := takeBody(r); status != 0 {
			w.Header().Set("Connection", "close") // what follows on it is the rest of the body
			problem(w, status, why)
			return
		}
		next.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hosts.allow(r.Host) {
			problem(w, http.StatusMisdirectedRequest, "the host must be an IP address, localhost, or a name in [admin] hosts")
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		checked.ServeHTTP(w, r)
	})
}

// takeBody reads the body of a request as a whole, whoever wants it, so that nothing is done
// for one that is too long or does not arrive; of a request that only reads it is dropped.
// The answer is the status and the text of a refusal, 0 if there is none. After one the
// connection has to end: what comes later would be read as the next request, which a proxy
// before us takes for a part of this one.
func takeBody(r *http.Request) (status int, why string) {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case r.ContentLength > maxBody:
		return http.StatusRequestEntityTooLarge, "the body may have at most 1 MiB"
	case r.ContentLength == 0:
		return 0, ""
	case !reads && !isJSON(r.Header.Get("Content-Type")):
		return http.StatusUnsupportedMediaType, "want the body as application/json, and the header Content-Type that says so"
	}
	var body bytes.Buffer
	to := io.Writer(&body)
	if reads {
		to = io.Discard
	}
	switch n, err := io.Copy(to, io.LimitReader(r.Body, maxBody+1)); {
	case err != nil:
		return http.StatusRequestTimeout, "the body did not arrive as a whole"
	case n > maxBody:
		return http.StatusRequestEntityTooLarge, "the body may have at most 1 MiB"
	}
	r.Body = io.NopCloser(&body)
	return 0, ""
}

// refuseBody has operations that want no body refuse one: who sends {"dry_run": true} with a
// reload would get one that is none. An empty object says nothing, and some clients send it
// with everything.
func refuseBody(h huma.API) func(huma.Context, func(huma.Context)) {
	return func(c huma.Context, next func(huma.Context)) {
		if c.Operation().RequestBody == nil {
			body, err := io.ReadAll(c.BodyReader()) // which takeBody has bounded
			if text := string(bytes.TrimSpace(body)); err != nil || text != "" && text != "{}" {
				huma.WriteErr(h, c, http.StatusBadRequest, "this operation takes no body; its parameters are in the address, as in ?dry_run=true")
				return
			}
		}
		next(c)
	}
}

// isJSON reports whether a content type is JSON. None at all is not: a page of somebody
// else's can send a body without a type and is not asked by the browser first.
func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json"))
}

// open paths need no token: they tell only whether the process is well, or are the
// dashboard's files, which are the same everywhere.
func open(path string) bool {
	return path == "/healthz" || path == "/readyz" || dashboard.Serves(path)
}

// authorized compares in constant time. The scheme's case does not matter (RFC 9110, 11.1).
func authorized(r *http.Request, token string) bool {
	if token == "" {
		return true
	}
	scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// explained answers with problem details where mux knows no such resource or method;
// by itself it would with a line of text.
func explained(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		none := refusal{header: w.Header(), status: http.StatusNotFound}
		h.ServeHTTP(&none, r)
		problem(w, none.status, r.Method+" "+r.URL.Path+": see /api/v1/openapi.json for what there is")
	})
}

// refusal notes the status of an answer and drops its body.
type refusal struct {
	header http.Header
	status int
}

func (r *refusal) Header() http.Header         { return r.header }
func (r *refusal) WriteHeader(status int)      { r.status = status }
func (r *refusal) Write(b []byte) (int, error) { return len(b), nil }

// problem answers with problem details, RFC 9457.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"status": status, "title": http.StatusText(status), "detail": detail})
}
