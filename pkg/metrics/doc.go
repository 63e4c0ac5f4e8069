// Package metrics shows a server to Prometheus. Nothing is pushed and nothing is counted
// here: a scrape takes one server.Snapshot and turns it into metric families. What it kept
// of the scrape before (fragment.go) only saves work.
//
//	Snapshot ---> rows (listeners, pools, backends, loops)
//	                     x
//	              families of a row (catalogue.go)  --->  text, OpenMetrics or protobuf
//
// A family is one line of a table: name, help, and how its value is read from a row.
// docs/metrics.md is checked against these tables. Labels are names from the
// configuration, words from a fixed list, or the number of a loop: never something
// that a client sends. So the number of series follows from the configuration.
//
// The families do not go through a prometheus.Registry, which would spend more on
// looking for duplicates than on everything else; names are unique in a valid
// configuration. Nor do they become the library's objects, which would be most of the
// garbage of a large scrape: text.go and protobuf.go write them as the library would.
// Only the collectors of the Go runtime and of the process have a registry and objects.
package metrics
