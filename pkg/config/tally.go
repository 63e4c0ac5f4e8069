package config

import (
	"fmt"
	"strings"
)

// Tally counts changes by when they take effect: "2 changes; 1 more waits for a restart:
// engine.threads". The zero value has none.
type Tally struct {
	Made       int      // in effect at once
	Restart    []string // keys that wait for a restart
	Overridden int      // without effect under an override
}

// TallyOf counts changes.
func TallyOf(changes []Change) (t Tally) {
	for _, c := range changes {
		t.Add(c)
	}
	return t
}

// Add counts one more.
func (t *Tally) Add(c Change) {
	switch {
	case c.Restart:
		t.Restart = append(t.Restart, c.Path)
	case c.Overridden:
		t.Overridden++
	default:
		t.Made++
	}
}

// Delayed reports whether there are others than those that take effect at once.
func (t Tally) Delayed() bool { return len(t.Restart) > 0 || t.Overridden > 0 }

// String is the tally in words.
func (t Tally) String() string { return t.Phrase("") }

// Phrase is String with words about those that take effect, such as "to make".
func (t Tally) Phrase(about string) string {
	parts := []string{strings.TrimSpace(plural(t.Made, "change", "changes") + " " + about)}
	if t.Made == 0 {
		parts[0] = "no change"
	}
	more := ""
	if t.Made > 0 {
		more = " more"
	}
	if n := len(t.Restart); n > 0 {
		parts = append(parts, fmt.Sprintf("%d%s %s for a restart: %s", n, more, form(n, "waits", "wait"), strings.Join(t.Restart, ", ")))
		more = " more"
	}
	if n := t.Overridden; n > 0 {
		parts = append(parts, fmt.Sprintf("%d%s %s no effect under an override", n, more, form(n, "has", "have")))
	}
	return strings.Join(parts, "; ")
}

func plural(n int, one, many string) string { return fmt.Sprintf("%d %s", n, form(n, one, many)) }

// form is the form of a word that goes with n.
func form(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
