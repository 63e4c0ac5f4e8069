// Package server is the life of one limeload process: it builds what a
// configuration says, wires health to the balancer, and takes it all down again.
//
//	New(cfg) ── Run ──────────────────────────────┐
//	               pools, probes, then listeners  │ until Shutdown
//	            Shutdown: unready, wait, drain ───┘ Run returns ErrClosed
//
// A pool's parts meet here: balancer.Pool picks, proxy.Pool dials, one probe per
// backend in the health monitor marks it up or down through one function value,
// and the resolver keeps the addresses of host names fresh. Snapshot copies the
// state out for whoever shows it; the package imports no metrics library and no
// driver.
package server
