package healthcheck

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// ask reads the facts, runs the Query, and judges.
func (m *MySQL) ask(x *exchange, conn driver.QueryerContext) error {
	f := &x.facts
	variables, err := queryMySQL(conn, "select @@global.read_only as read_only")
	if err != nil {
		return driverFault(err)
	}
	if len(variables) != 1 {
		return downf(ReasonProtocol, "query: the answer is not the one row that was asked for")
	}
	f.Role = mysqlRole(variables[0]["read_only"])
	var unknown string
	if f.Role == RoleReplica {
		if unknown, err = f.readReplication(conn); err != nil {
			return driverFault(err)
		}
	}
	if m.Query != "" {
		if _, err := queryMySQL(conn, m.Query); err != nil {
			return driverFault(err)
		}
	}
	if err := m.acceptRole(f); err != nil {
		return err
	}
	if unknown != "" && m.limited() {
		f.Share = 1
		return m.lagging("lag is not known: %s", unknown)
	}
	return m.acceptLag(f)
}

// mysqlRole is the role of a server by its read_only: 0 and 1, or from MariaDB 12 on
// OFF, ON and kinds of ON.
func mysqlRole(readOnly string) Role {
	switch readOnly {
	case "0", "OFF":
		return RolePrimary
	case "":
		return RoleUnknown
	}
	return RoleReplica
}

// readReplication asks a replica for its lag, and tells why it is not known.
func (f *Facts) readReplication(conn driver.QueryerContext) (unknown string, err error) {
	channels, err := replicationStatus(conn, f.Version)
	var told *mysql.MySQLError
	if errors.As(err, &told) {
		return told.Message, nil // no right to ask, or a proxy that does not know
	}
	if err != nil {
		return "", err
	}
	f.Lag, unknown = mysqlLag(channels)
	f.HasLag = unknown == ""
	return unknown, nil
}

// replicationStatus asks for the state of every channel of replication, in the words
// that the server knows: MySQL has had "replica" since 8.0.22 and no "slave" since
// 8.4; MariaDB shows all its connections only in its own words.
func replicationStatus(conn driver.QueryerContext, version string) (mysqlTable, error) {
	if strings.Contains(version, "MariaDB") {
		return queryMySQL(conn, "show all slaves status")
	}
	const syntax = 1064
	channels, err := queryMySQL(conn, "show replica status")
	if told, ok := errors.AsType[*mysql.MySQLError](err); ok && told.Number == syntax {
		return queryMySQL(conn, "show slave status")
	}
	return channels, err
}

// mysqlLag is the greatest lag of any channel, or why one does not know its own.
func mysqlLag(channels mysqlTable) (l Lag, unknown string) {
	l = unknownLag
	if len(channels) == 0 {
		return l, "the server is read-only and replicates from nowhere"
	}
	for _, c := range channels {
		for _, thread := range []string{"IO", "SQL"} {
			state := either(c, "Replica_"+thread+"_Running", "Slave_"+thread+"_Running")
			if state == "Yes" {
				continue
			}
			unknown = fmt.Sprintf("%s thread of replication runs: %s", thread, state)
			if text := c["Last_"+thread+"_Error"]; text != "" {
				unknown += ": " + text
			}
			return unknownLag, unknown
		}
		seconds := number(either(c, "Seconds_Behind_Source", "Seconds_Behind_Master"))
		if seconds < 0 {
			return unknownLag, "the server does not tell"
		}
		l.Time = max(l.Time, time.Duration(seconds)*time.Second)
	}
	return l, ""
}

// either is a value that has a new name and an old one.
func either(row map[string]string, newName, oldName string) string {
	if v, ok := row[newName]; ok {
		return v
	}
	return row[oldName]
}

// mysqlText is a value as text, however the driver has decoded it.
func mysqlText(v driver.Value) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}
