// Package systemd is what a service and its manager say to one another:
//
//	notify.go     the service tells that it is ready, reloads, stops, lives (sd_notify(3))
//	sockets.go    the manager hands over sockets that it listens on (sd_listen_fds(3))
//
// The protocol is text in datagrams and four environment variables, which are read
// once and unset, so that no child takes them for its own. Without a manager the
// variables are not there: a nil *Notifier says nothing, and there are no sockets.
package systemd
