package splicetest

// What happens when the network between the engine and a peer carries nothing any
// more: no end, no reset, no acknowledgement.
var networkTests = []test{
	{"keepalive ends a session whose client is gone", suite.keepaliveClient},
	{"keepalive ends a session whose backend is gone", suite.keepaliveBackend},
	{"keepalive leaves a silent session alone whose peers live", suite.keepaliveLive},
	{"a client that takes nothing and is gone is dead", suite.silentClient},
	{"a backend that takes nothing and is gone is dead", suite.silentBackend},
	{"a client that takes nothing and lives is slow", suite.silentIsNotSlow},
	{"a user timeout ends a session with bytes for a client that is gone", suite.userTimeoutClient},
	{"a user timeout ends a session with bytes for a backend that is gone", suite.userTimeoutBackend},
	{"keepalive and user timeout are set on both legs", suite.keepaliveOptions},
	{"a user timeout longer than the system knows is its longest", suite.userTimeoutEternal},
	{"a change of keepalive holds for clients from then on", suite.keepaliveChanged},
}
