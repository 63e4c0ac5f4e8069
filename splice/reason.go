package splice

// Reason is why a session ended. The set is complete: engines answer these, and a
// Session may replace ReasonConnectFailed by the more exact ReasonNoBackend or
// ReasonLimit, which only it can know.
type Reason uint8

const (
	ReasonError            Reason = iota // something of our own failed; Result.Err says what
	ReasonClientClosed                   // the client ended first, in order
	ReasonBackendClosed                  // the backend ended first, in order
	ReasonClientReset                    // the client's connection broke: RST, or no sign of life
	ReasonBackendReset                   // the backend's connection broke
	ReasonIdleTimeout                    // Timeouts.Idle
	ReasonHalfCloseTimeout               // Timeouts.HalfClose
	ReasonLifetime                       // Timeouts.Lifetime
	ReasonConnectFailed                  // no backend could be connected to
	ReasonNoBackend                      // no backend was usable
	ReasonLimit                          // a limit refused it
	ReasonDrained                        // cut at the deadline of a shutdown or a removal
	ReasonKilled                         // cut by a person
	ReasonStallTimeout                   // Timeouts.Stall

	NumReasons = iota // how many there are
)

var reasonNames = [NumReasons]string{
	"error", "client-closed", "backend-closed", "client-reset", "backend-reset",
	"idle-timeout", "half-close-timeout", "lifetime", "connect-failed",
	"no-backend", "limit", "drained", "killed", "stall-timeout",
}

// String is the reason's name in logs, metrics and the API.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return "invalid"
}

// Reasons lists every reason, in order.
func Reasons() []Reason {
	all := make([]Reason, NumReasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}
