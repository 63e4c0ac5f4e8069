package main

import "syscall"

const terminate = syscall.SIGTERM

// underUs ends the process when we die, and keeps the terminal's signals from it.
func underUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}

// setNice sets the priority of a process that was started with underUs, and of all its
// threads, as far as that is permitted: its process group is its own.
func setNice(pid, nice int) { _ = syscall.Setpriority(syscall.PRIO_PGRP, pid, nice) }
