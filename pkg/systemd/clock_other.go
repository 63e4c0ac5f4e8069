//go:build !linux

package systemd

import "time"

// monotonic has nobody to compare it: there is no systemd.
func monotonic() time.Duration { return 0 }
