// Package admin is the operators' API: JSON over HTTP on a unix socket or an
// address, described by OpenAPI 3.1 that is generated from the types in it.
//
//	listen.go   where it listens: the default unix socket, or an address
//	safety.go   what every request passes before it is looked at
//	api.go      listeners, pools and backends under /api/v1, reload and overrides
//	model.go    their types
//	sessions.go explain.go events.go history.go configuration.go   the other resources, each with its types
//	docs.go     the description as a page for people
//	dashboard/  the page at "/", a client of all this
//	plain.go    /healthz, /readyz and /metrics, for programs that want no JSON
//
// It is a driver: it uses the server's API and holds no state of its own. Errors are
// problem details (RFC 9457).
package admin
