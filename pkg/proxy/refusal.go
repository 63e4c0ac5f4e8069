package proxy

// Refusal is why a client was not let in, or why it is held. As an error it is the
// answer of Listener.Open and of a session's Dial.
type Refusal uint8

const (
	AccessDenied           Refusal = iota // the access list
	LimitMemory                           // the process is near its ceiling
	LimitConnections                      // the listener has as many sessions as it may have
	LimitRate                             // new sessions come too fast for the listener
	LimitSourceConnections                // the source has as many sessions as it may have
	LimitSourceRate                       // new sessions come too fast from the source
	LimitSourceTable                      // every source that can be known has sessions, and this is another one
	LimitBackendRate                      // every backend gets new connections as fast as it may
	LimitDelay                            // it would be held, but too many are, or it was for too long

	NumRefusals = iota // how many there are
)

var refusalNames = [NumRefusals]string{
	"access-denied", "limit-memory", "limit-connections", "limit-rate", "limit-source-connections",
	"limit-source-rate", "limit-source-table", "limit-backend-rate", "limit-delay",
}

// String is the refusal's name in logs, metrics and the API.
func (r Refusal) String() string {
	if r < NumRefusals {
		return refusalNames[r]
	}
	return "invalid"
}

func (r Refusal) Error() string { return r.String() }

// Refusals lists them all, in order.
func Refusals() []Refusal {
	all := make([]Refusal, NumRefusals)
	for i := range all {
		all[i] = Refusal(i)
	}
	return all
}
