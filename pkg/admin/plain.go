package admin

import (
	"fmt"
	"net/http"
)

// healthz answers that the process runs.
func (a *api) healthz(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "ok")
}

// readyz answers whether clients can be served: by everything, or by the listener
// that is asked for, ?listener=NAME. It is what keepalived, Kubernetes and scripts
// for routers look at.
func (a *api) readyz(w http.ResponseWriter, r *http.Request) {
	ready, why, err := a.s.Ready(r.URL.Query().Get("listener"))
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusNotFound)
	case !ready:
		http.Error(w, why, http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ready")
	}
}
