package systemd

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// firstSocket is the descriptor at which the manager's sockets begin
// (SD_LISTEN_FDS_START).
const firstSocket = 3

// maxSockets bounds what LISTEN_FDS may ask for; no manager passes as many.
const maxSockets = 4096

// Sockets answers the listening sockets that the manager handed over (LISTEN_FDS,
// LISTEN_PID, LISTEN_FDNAMES), and takes these variables out of the environment. They
// belong to the caller, do not block, and are not inherited further.
//
// What is no stream socket is closed, and the error tells of it; the others are
// answered nevertheless. It is called once, at the start of the process: afterwards
// the same numbers may be other descriptors.
func Sockets() ([]Socket, error) {
	pid, count, names := take("LISTEN_PID"), take("LISTEN_FDS"), take("LISTEN_FDNAMES")
	if pid == "" || count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // meant for another process
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxSockets {
		return nil, fmt.Errorf("LISTEN_FDS %q: want a number of sockets, 0..%d", count, maxSockets)
	}
	return inherit(firstSocket, n, strings.Split(names, ":"))
}
