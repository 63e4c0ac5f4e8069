package healthcheck

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgresFacts asks for everything at once: one row, of which a column is null
// where it is not known.
//
// A function that only one role has stands behind a CASE, because the other role
// answers it with an error. pg_stat_wal_receiver has a row while WAL is streamed;
// what it says beyond that is null without the rights of pg_monitor. The first 8
// digits of a WAL file's name are its timeline.
const postgresFacts = `select
	pg_is_in_recovery(),
	case when pg_is_in_recovery() then
		(select greatest(c.timeline_id, r.min_recovery_end_timeline, (select max(received_tli) from pg_stat_wal_receiver))
			from pg_control_checkpoint() c, pg_control_recovery() r)::bigint
	else
		('x' || lpad(left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), 16, '0'))::bit(64)::bigint
	end,
	case when exists (select from pg_stat_wal_receiver) then
		greatest(0, greatest(pg_last_wal_receive_lsn(), (select max(latest_end_lsn) from pg_stat_wal_receiver))
			- pg_last_wal_replay_lsn())::bigint
	end,
	case when pg_is_in_recovery() then
		(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000000)::bigint
	end`

// postgresRole is what is asked of a server that does not know all of that.
const postgresRole = `select pg_is_in_recovery(), null, null, null`

// ask reads the facts, runs the Query, and judges.
func (p *Postgres) ask(x *exchange, session *pgconn.PgConn) error {
	row, err := queryRow(session, postgresFacts)
	if lacksFunction(err) {
		row, err = queryRow(session, postgresRole)
	}
	if err != nil {
		return postgresFault(err)
	}
	if err := x.facts.readPostgres(row); err != nil {
		return err
	}
	if p.Query != "" {
		if _, err := session.Exec(context.Background(), p.Query).ReadAll(); err != nil {
			return postgresFault(err)
		}
	}
	return p.accept(&x.facts)
}

// lacksFunction says whether a query failed because the server does not have, or
// does not permit, something that it mentions: SQLSTATE class 42 ("syntax error or
// access rule violation") and 0A ("feature not supported").
func lacksFunction(err error) bool {
	var told *pgconn.PgError
	return errors.As(err, &told) && (strings.HasPrefix(told.Code, "42") || strings.HasPrefix(told.Code, "0A"))
}

// queryRow runs a query, by the simple protocol, that answers with one row of four
// columns.
func queryRow(session *pgconn.PgConn, query string) ([][]byte, error) {
	results, err := session.Exec(context.Background(), query).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 4 {
		return nil, downf(ReasonProtocol, "query: the answer is not the one row that was asked for")
	}
	return results[0].Rows[0], nil
}

// readPostgres reads the row that postgresFacts or postgresRole answers with.
func (f *Facts) readPostgres(row [][]byte) error {
	numbers := [4]int64{}
	for i, text := range row {
		numbers[i] = -1
		if i == 0 || text == nil {
			continue
		}
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return downf(ReasonProtocol, "query: %.40q is no number", text)
		}
		numbers[i] = max(0, n) // clocks of two servers may make an age negative
	}
	timeline, bytes, age := numbers[1], numbers[2], numbers[3]
	if timeline > 0 {
		f.Timeline = uint32(timeline)
	}
	switch string(row[0]) {
	case "f":
		f.Role = RolePrimary
	case "t":
		f.Role = RoleReplica
		f.Lag, f.HasLag = postgresLag(bytes, age)
	default:
		return downf(ReasonProtocol, "query: %.40q is neither true nor false", row[0])
	}
	return nil
}

// postgresLag is the lag of a replica that has bytes to replay, -1 if it receives
// none, and replayed a transaction age microseconds ago, -1 if never. A transaction
// may be old because nothing happens on the primary: a replica that has replayed all
// of a stream is not behind.
func postgresLag(bytes, age int64) (l Lag, known bool) {
	l = Lag{Bytes: bytes, Time: -1}
	switch {
	case bytes == 0:
		l.Time = 0
	case age >= 0:
		l.Time = time.Duration(age) * time.Microsecond
	}
	return l, l.Bytes >= 0 || l.Time >= 0
}
