// Package confine takes from the process what it does not need any more, once it
// listens:
//
//	user.go           whom to become: names and numbers
//	drop_linux.go     another user, without privileges and without a way to new ones
//	landlock_linux.go files and directories other than those it was told of
//
// All of it is for good, and for every thread. What it does not do: limit the network,
// memory or system calls; the service manager does that, see packaging/systemd.
package confine
