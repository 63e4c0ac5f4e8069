package healthcheck

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"
)

// DB is what the probers of databases have in common: how to get in, and what is
// asked of the server that answers. The zero value asks whether one answers at all.
type DB struct {
	// User and Password are what the probe logs in with. PostgreSQL and MySQL are not
	// logged into without a User, and then tell neither role nor lag; Redis takes a
	// Password alone, for its user "default".
	User     string
	Password Secret

	// TLS is how the server is verified; nil speaks plain text. An empty ServerName is
	// the probed address. A unix socket never speaks TLS.
	TLS *tls.Config

	// TLSRequired makes a server without TLS down. Otherwise the probe goes on in
	// plain text when PostgreSQL or MySQL say that they have none; Redis cannot say so,
	// and has to have it.
	TLSRequired bool

	// Role is what the server has to be, "primary" or "replica"; "" and "any" take
	// either. Another one is down, ReasonRole.
	Role string

	// MaxLag is how far a replica may be behind; a field that is 0 or less is no
	// limit. A replica beyond it, or of which it is not known, is Degraded with
	// ReasonLag, and Facts.Share says how much of its weight is left: in proportion to
	// the lag, at least 1 %.
	MaxLag Lag

	// LagDown makes such a replica down instead.
	LagDown bool
}

// errNobodyAsks is a probe that cannot find out what it is meant to.
var errNobodyAsks = &fault{Unknown, ReasonLocal, errors.New("a role or a lag is asked for, but no user is set to ask with")}

// asks says whether the verdict depends on more than that the server answers.
func (d *DB) asks() bool {
	return d.wanted() != RoleUnknown || d.limited()
}

// wanted is the role that is asked for; RoleUnknown for either.
func (d *DB) wanted() Role {
	switch d.Role {
	case "primary":
		return RolePrimary
	case "replica":
		return RoleReplica
	}
	return RoleUnknown
}

// limited says whether there is any limit of lag.
func (d *DB) limited() bool { return d.MaxLag.Bytes > 0 || d.MaxLag.Time > 0 }

// accept judges the facts of a server that is logged into: nil, or a fault of
// ReasonRole or ReasonLag.
func (d *DB) accept(f *Facts) error {
	if err := d.acceptRole(f); err != nil {
		return err
	}
	return d.acceptLag(f)
}

func (d *DB) acceptRole(f *Facts) error {
	if want := d.wanted(); want != RoleUnknown && f.Role != want {
		return downf(ReasonRole, "is %s (want %s)", roleText(f.Role), want)
	}
	return nil
}

func (d *DB) acceptLag(f *Facts) error {
	if f.Role != RoleReplica || !d.limited() {
		return nil
	}
	lag := unknownLag
	if f.HasLag {
		lag = f.Lag
	}
	share := min(shareLeft(d.MaxLag.Bytes, lag.Bytes), shareLeft(int64(d.MaxLag.Time), int64(lag.Time)))
	if share == 100 {
		return nil
	}
	f.Share = share
	return d.lagging("lag %s exceeds %s", d.lagText(lag), d.lagText(d.MaxLag))
}

// lagging is the fault of a replica that does not keep up.
func (d *DB) lagging(format string, args ...any) error {
	f := &fault{Degraded, ReasonLag, fmt.Errorf(format, args...)}
	if d.LagDown {
		f.verdict = Down
	}
	return f
}

func roleText(r Role) string {
	if r == RoleUnknown {
		return "neither primary nor replica"
	}
	return "a " + r.String()
}

// unknownLag is that of a replica that cannot tell.
var unknownLag = Lag{Bytes: -1, Time: -1}

// shareLeft is the share of weight, in percent from 1 to 100, of a replica that is
// lag behind where limit is allowed. A limit of 0 or less is none; an unknown lag
// is as good as an endless one.
func shareLeft(limit, lag int64) int {
	switch {
	case limit <= 0 || lag >= 0 && lag <= limit:
		return 100
	case lag < 0:
		return 1
	}
	return int(max(1, min(99, float64(limit)/float64(lag)*100)))
}

// lagText tells the parts of lag that are limited.
func (d *DB) lagText(l Lag) string {
	var parts []string
	if d.MaxLag.Bytes > 0 {
		parts = append(parts, orUnknown(l.Bytes, fmt.Sprintf("%d bytes", l.Bytes)))
	}
	if d.MaxLag.Time > 0 {
		parts = append(parts, orUnknown(int64(l.Time), l.Time.Round(time.Millisecond).String()))
	}
	return strings.Join(parts, " or ")
}

func orUnknown(value int64, text string) string {
	if value < 0 {
		return "unknown"
	}
	return text
}
