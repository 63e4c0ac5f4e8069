//go:build !linux

package main

import (
	"os"
	"syscall"
)

var terminate = os.Interrupt

func underUs() *syscall.SysProcAttr { return nil }

func setNice(int, int) {}
