package confine

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
)

// Identity is a user and a group to run as.
type Identity struct {
	Name     string // as it was asked for
	UID, GID int
}

// Lookup finds a user by name or number, and a group likewise; without a group it is
// the user's own. A user that is a number and that nobody has must come with a group.
func Lookup(name, group string) (Identity, error) {
	id := Identity{Name: name}
	u, err := user.Lookup(name)
	if number, bad := parseID(name); err != nil && bad == nil {
		id.UID, id.GID = number, -1
		u, err = user.LookupId(name)
		if err != nil && group == "" {
			return id, fmt.Errorf("user %s: has no entry and so no group of its own; want a group too", name)
		}
	} else if err != nil {
		return id, fmt.Errorf("user %s: %w", name, bareLookup(err))
	}
	if u != nil {
		if id.UID, err = parseID(u.Uid); err == nil {
			id.GID, err = parseID(u.Gid)
		}
		if err != nil {
			return id, fmt.Errorf("user %s: %w", name, err)
		}
	}
	if group != "" {
		if id.GID, err = lookupGroup(group); err != nil {
			return id, err
		}
	}
	return id, nil
}

func lookupGroup(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err == nil {
		return parseID(g.Gid)
	}
	if id, bad := parseID(name); bad == nil {
		return id, nil
	}
	return 0, fmt.Errorf("group %s: %w", name, bareLookup(err))
}

// parseID reads a user's or group's number; the largest means "none" to the kernel.
func parseID(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("%q is no user or group number", s)
	}
	return int(n), nil
}

// bareLookup words the errors of package os/user without their names, which stand there
// already.
func bareLookup(err error) error {
	var noUser user.UnknownUserError
	var noGroup user.UnknownGroupError
	if errors.As(err, &noUser) || errors.As(err, &noGroup) {
		return errors.New("is unknown here")
	}
	return err
}
