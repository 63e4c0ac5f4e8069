package healthcheck

import "fmt"

// Secret reads a password at the moment at which it is needed, so that a changed
// one counts from the next probe on. A nil Secret is no password.
type Secret func() (string, error)

// read is the secret. One that cannot be read is this machine's fault.
func (s Secret) read() (string, error) {
	if s == nil {
		return "", nil
	}
	text, err := s()
	if err != nil {
		return "", &fault{Unknown, ReasonLocal, fmt.Errorf("read password: %w", err)}
	}
	return text, nil
}
