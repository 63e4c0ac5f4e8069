package main

import "syscall"

const terminate = syscall.SIGTERM

// underUs ends the process when we die, and keeps the terminal's signals from it.
func underUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
