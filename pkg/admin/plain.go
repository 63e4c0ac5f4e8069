package admin

import (
	"fmt"
	"net/http"
)

// healthz answers that the process runs.
func (a *api) healthz(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "ok")
}

// readyz answers whether clients can be served: by everything, or by the listener or
// the pool that is asked for, ?listener=NAME or ?pool=NAME. It is what keepalived, Kubernetes and scripts
// for routers look at.
func (a *api) readyz(w http.ResponseWriter, r *http.Request) {
	listener, pool := r.URL.Query().Get("listener"), r.URL.Query().Get("pool")
	ready, why, err := a.s.Ready(listener)
	if pool != "" {
		ready, why, err = a.s.PoolReady(pool)
	}
	switch {
	case listener != "" && pool != "":
		http.Error(w, "ask for a listener or for a pool", http.StatusBadRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusNotFound)
	case !ready:
		http.Error(w, why, http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ready")
	}
}
