// Command pgx_client is pgx 5 with its pool.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"millrace.dev/clients/feature"
)

var ctx = context.Background()

func within(options string, use func(*pgx.Conn)) {
	conn := feature.Got(pgx.Connect(ctx, feature.URL(feature.Password, "?sslmode=disable"+options)))
	defer func() { _ = conn.Close(ctx) }()
	use(conn)
}

func exec(conn *pgx.Conn, sql string, args ...any) pgconn.CommandTag {
	return feature.Got(conn.Exec(ctx, sql, args...))
}

func one[T any](conn *pgx.Conn, sql string, args ...any) (value T) {
	feature.Must(conn.QueryRow(ctx, sql, args...).Scan(&value))
	return
}

func fails(err error, code string) *pgconn.PgError {
	return feature.Fails(err, func(err *pgconn.PgError) bool { return err.Code == code })
}

func failing(conn *pgx.Conn, code, sql string, args ...any) *pgconn.PgError {
	_, err := conn.Exec(ctx, sql, args...)
	return fails(err, code)
}

func connect() {
	within("", func(conn *pgx.Conn) {
		feature.Must(conn.Ping(ctx))
		feature.Same(one[string](conn, "SELECT current_user"), feature.User)
	})
	_, err := pgx.Connect(ctx, feature.URL("no", "?sslmode=disable"))
	fails(err, "28P01")
}

func tls() {
	url := feature.URL(feature.Password, "?sslmode=verify-full&sslrootcert="+feature.CA)
	conn := feature.Got(pgx.Connect(ctx, url))
	feature.Same(one[int32](conn, "SELECT 1"), int32(1))
	feature.Must(conn.Close(ctx))
}

func objects() {
	within("", func(conn *pgx.Conn) {
		sql := "SELECT relname || ' ' || relkind::text FROM pg_class WHERE relname LIKE $1 AND relkind IN ('r', 'v', 'm') ORDER BY 1"
		rows := feature.Got(conn.Query(ctx, sql, "pgx%"))
		found := feature.Got(pgx.CollectRows(rows, pgx.RowTo[string]))
		feature.Same(found, []string{"pgx_events r", "pgx_kinds v", "pgx_totals m"})
	})
}

func describe() {
	within("", func(conn *pgx.Conn) {
		statement := feature.Got(conn.Prepare(ctx, "d", "SELECT * FROM pgx_totals WHERE n > $1"))
		feature.Same(statement.ParamOIDs, []uint32{pgtype.Int8OID})
		var found []string
		for _, field := range statement.Fields {
			known, _ := conn.TypeMap().TypeForOID(field.DataTypeOID)
			found = append(found, field.Name+" "+known.Name)
		}
		feature.Same(found, []string{"kind text", "n int8", "total float8"})
		// As Grafana asks.
		sql := "SELECT column_name || ' ' || udt_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position"
		rows := feature.Got(conn.Query(ctx, sql, "public", "pgx_events"))
		feature.Same(feature.Got(pgx.CollectRows(rows, pgx.RowTo[string])), []string{"id int4", "kind text", "amount float8"})
		// Of base types it knows arrays alone.
		feature.Same(feature.Got(conn.LoadType(ctx, "_timestamptz")).OID, uint32(pgtype.TimestamptzArrayOID))
	})
}

type value struct {
	sql   string
	given any
	text  string
}

func values() []value {
	noon := time.Date(2024, 2, 29, 12, 30, 0, 123456000, time.UTC)
	large, _ := new(big.Int).SetString("12345678901234567890123456789123456789", 10)
	name := "b \"c\""
	return []value{
		{"boolean", true, "true"},
		{"smallint", int16(-32768), "-32768"},
		{"integer", int32(2147483647), "2147483647"},
		{"bigint", int64(-9223372036854775808), "-9223372036854775808"},
		{"real", float32(1.5), "1.5"},
		{"double precision", 0.1, "0.1"},
		{"numeric", pgtype.Numeric{Int: large, Exp: -9, Valid: true}, "12345678901234567890123456789.123456789"},
		{"text", "héllo € 😀", "héllo € 😀"},
		{"bytea", []byte{0, 255, 92}, "\\x00ff5c"},
		{"date", noon.Truncate(24 * time.Hour), "2024-02-29"},
		{"time", pgtype.Time{Microseconds: 45000123456, Valid: true}, "12:30:00.123456"},
		{"timestamp", noon, "2024-02-29 12:30:00.123456"},
		{"timestamptz", noon, "2024-02-29 12:30:00.123456+00"},
		{"interval", pgtype.Interval{Months: 1, Days: 2, Microseconds: 11045600000, Valid: true}, "1 mon 2 days 03:04:05.6"},
		{"uuid", pgtype.UUID{Bytes: [16]byte{18, 52, 15: 9}, Valid: true}, "12340000-0000-0000-0000-000000000009"},
		{"jsonb", map[string]any{"a": []any{1.0, nil}}, `{"a": [1, null]}`},
		{"integer[]", []*int32{nil}, "{NULL}"},
		{"text[]", []string{"a", name, ""}, `{a,"b \"c\"",""}`},
		{"timestamptz[]", []time.Time{noon}, `{"2024-02-29 12:30:00.123456+00"}`},
	}
}

// types has each value go and come in a mode of the protocol.
func types(mode pgx.QueryExecMode, format int16) {
	within("", func(conn *pgx.Conn) {
		for _, value := range values() {
			formats := pgx.QueryResultFormats{format, format, format}
			if mode == pgx.QueryExecModeExec && (value.sql == "uuid" || value.sql == "jsonb") {
				// What the driver cannot tell from the value alone.
				value.given = value.text
			}
			sql := fmt.Sprintf("SELECT $1::%s, $1::%s::text, NULL::%s", value.sql, value.sql, value.sql)
			rows := feature.Got(conn.Query(ctx, sql, mode, formats, value.given))
			if !rows.Next() {
				feature.Must(rows.Err())
			}
			found := feature.Got(rows.Values())
			rows.Close()
			feature.Must(rows.Err())
			feature.Same(found[1], value.text)
			feature.Same(found[2], nil)
			if mode != pgx.QueryExecModeExec {
				back := one[string](conn, "SELECT $1::"+value.sql+"::text", mode, found[0])
				feature.Same(back, value.text)
			}
		}
	})
}

func typesBinary() {
	types(pgx.QueryExecModeCacheStatement, pgx.BinaryFormatCode)
	within("", func(conn *pgx.Conn) {
		var columns, marks []string
		var row []any
		for n, value := range values() {
			columns = append(columns, fmt.Sprintf("c%d %s", n, value.sql))
			marks = append(marks, fmt.Sprintf("$%d", n+1))
			row = append(row, value.given)
		}
		exec(conn, "DROP TABLE IF EXISTS pgx_types")
		exec(conn, "CREATE TABLE pgx_types ("+strings.Join(columns, ", ")+")")
		exec(conn, "INSERT INTO pgx_types VALUES ("+strings.Join(marks, ", ")+")", row...)
		sql := "SELECT count(*) FROM pgx_types WHERE c2 = $1 AND c7 = $2 AND c12 = $3"
		feature.Same(one[int64](conn, sql, row[2], row[7], row[12]), int64(1))
	})
}

func prepared() {
	within("", func(conn *pgx.Conn) {
		for n := range int64(8) {
			feature.Same(one[int64](conn, "SELECT $1::bigint + 1", n), n+1)
		}
		batch := &pgx.Batch{}
		for n := range 5 {
			batch.Queue("SELECT $1::int", n)
		}
		results := conn.SendBatch(ctx, batch)
		for n := range int32(5) {
			var found int32
			feature.Must(results.QueryRow().Scan(&found))
			feature.Same(found, n)
		}
		feature.Must(results.Close())
		exec(conn, "CREATE VIEW pgx_v AS SELECT 1 AS a")
		feature.Same(one[int32](conn, "SELECT * FROM pgx_v"), int32(1))
		exec(conn, "DROP VIEW pgx_v")
		exec(conn, "CREATE VIEW pgx_v AS SELECT 'x' AS a")
		var ignored int32
		fails(conn.QueryRow(ctx, "SELECT * FROM pgx_v").Scan(&ignored), "0A000")
		// The driver has forgotten the statement and prepares it anew.
		feature.Same(one[string](conn, "SELECT * FROM pgx_v"), "x")
	})
}

func failures() {
	within("", func(conn *pgx.Conn) {
		err := failing(conn, "42703", "SELECT 1, nothing FROM pgx_events WHERE id = $1", 1)
		feature.Same(err.Position, int32(11))
		failing(conn, "22012", "SELECT 1 / 0")
		failing(conn, "42601", "SELEC 1")
		failing(conn, "42P01", "SELECT * FROM nowhere")
		exec(conn, "INSERT INTO pgx_events VALUES (1, 'a', 1)")
		err = failing(conn, "23505", "INSERT INTO pgx_events VALUES (1, 'a', 1)")
		feature.Same(err.Detail, "Key (id)=(1) already exists.")
		feature.Same(err.ConstraintName, "pgx_events_pkey")
		// Of several statements the position counts from the start of the text.
		feature.Same(failing(conn, "42P01", "SELECT 1; SELECT * FROM nowhere").Position, int32(25))
	})
}

func transactions() {
	within("", func(conn *pgx.Conn) {
		count, insert := "SELECT count(*) FROM pgx_events WHERE kind = 'tx'", "INSERT INTO pgx_events VALUES ($1, 'tx', 1)"
		tx := feature.Got(conn.Begin(ctx))
		feature.Same(feature.Got(tx.Exec(ctx, insert, 100)).RowsAffected(), int64(1))
		savepoint := feature.Got(tx.Begin(ctx))
		_, err := savepoint.Exec(ctx, insert, 100)
		fails(err, "23505")
		_, err = savepoint.Exec(ctx, "SELECT 1")
		fails(err, "25P02")
		feature.Must(savepoint.Rollback(ctx))
		feature.Must(tx.Commit(ctx))
		feature.Same(one[int64](conn, count), int64(1))
		tx = feature.Got(conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}))
		_, err = tx.Exec(ctx, insert, 101)
		fails(err, "25006")
		feature.Must(tx.Rollback(ctx))
		feature.Same(one[int64](conn, count), int64(1))
		// A batch without a transaction of its own takes effect as a whole.
		fails(batch(conn, insert, 110, 111, 100), "23505")
		feature.Same(one[int64](conn, count), int64(1))
		feature.Must(batch(conn, insert, 110, 111))
		feature.Same(one[int64](conn, count), int64(3))
	})
}

func batch(conn *pgx.Conn, insert string, numbers ...int) error {
	var queued pgx.Batch
	for _, number := range numbers {
		queued.Queue(insert, number)
	}
	return conn.SendBatch(ctx, &queued).Close()
}

func streaming() {
	within("", func(conn *pgx.Conn) {
		rows := feature.Got(conn.Query(ctx, "SELECT x FROM generate_series(1, $1) AS g(x)", 20000))
		var sum, x int64
		for rows.Next() {
			feature.Must(rows.Scan(&x))
			sum += x
		}
		feature.Must(rows.Err())
		feature.Same(sum, int64(200010000))
		tx := feature.Got(conn.Begin(ctx))
		feature.Got(tx.Exec(ctx, "DECLARE portion CURSOR FOR SELECT x FROM generate_series(1, 10) AS g(x)"))
		for _, wanted := range []int64{4, 4, 2, 0} {
			feature.Same(feature.Got(tx.Exec(ctx, "FETCH 4 FROM portion")).RowsAffected(), wanted)
		}
		feature.Must(tx.Rollback(ctx))
	})
}

func copyIn() {
	within("", func(conn *pgx.Conn) {
		var rows [][]any
		for n := 1000; n < 2000; n++ {
			amount := any(float64(n) / 4)
			if n%2 == 1 {
				amount = nil
			}
			rows = append(rows, []any{n, "copied in", amount})
		}
		count := feature.Got(conn.CopyFrom(ctx, pgx.Identifier{"pgx_events"}, []string{"id", "kind", "amount"}, pgx.CopyFromRows(rows)))
		feature.Same(count, int64(1000))
		feature.Same(one[int64](conn, "SELECT count(amount) FROM pgx_events WHERE kind = 'copied in'"), int64(500))
		_, err := conn.PgConn().CopyFrom(ctx, strings.NewReader("5000,a,1\nx,a,1\n"), "COPY pgx_events FROM STDIN CSV")
		feature.Same(fails(err, "22P02").Where, `COPY pgx_events, line 2, column id: "x"`)
	})
}

func copyOut() {
	within("", func(conn *pgx.Conn) {
		var out bytes.Buffer
		tag := feature.Got(conn.PgConn().CopyTo(ctx, &out, "COPY (SELECT id, kind, amount FROM pgx_events WHERE id IN (1000, 1001) ORDER BY id) TO STDOUT CSV HEADER"))
		feature.Same(tag.RowsAffected(), int64(2))
		feature.Same(out.String(), "id,kind,amount\n1000,copied in,250\n1001,copied in,\n")
	})
}

func notices() {
	config := feature.Got(pgx.ParseConfig(feature.URL(feature.Password, "?sslmode=disable")))
	var heard []string
	config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) {
		heard = append(heard, notice.Severity+" "+notice.Message)
	}
	conn := feature.Got(pgx.ConnectConfig(ctx, config))
	exec(conn, "DROP TABLE IF EXISTS pgx_nothing")
	feature.Same(heard, []string{`NOTICE table "pgx_nothing" does not exist, skipping`})
	feature.Must(conn.Close(ctx))
}

func cancel() {
	within("", func(conn *pgx.Conn) {
		over := make(chan struct{})
		go func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(50 * time.Millisecond):
					_ = conn.PgConn().CancelRequest(ctx)
				}
			}
		}()
		_, err := conn.Exec(ctx, feature.Endless)
		close(over)
		fails(err, "57014")
	})
	within("", func(conn *pgx.Conn) {
		short, stop := context.WithTimeout(ctx, 100*time.Millisecond)
		defer stop()
		_, err := conn.Exec(short, feature.Endless)
		feature.Same(errors.Is(err, context.DeadlineExceeded), true)
	})
}

func pool() {
	config := feature.Got(pgxpool.ParseConfig(feature.URL(feature.Password, "?sslmode=disable&pool_max_conns=1")))
	config.AfterRelease = func(conn *pgx.Conn) bool {
		_, err := conn.Exec(ctx, "DISCARD ALL")
		return err == nil && conn.DeallocateAll(ctx) == nil
	}
	connections := feature.Got(pgxpool.NewWithConfig(ctx, config))
	defer connections.Close()
	feature.Got(connections.Exec(ctx, "SET application_name = 'other'"))
	var name string
	feature.Must(connections.QueryRow(ctx, "SHOW application_name").Scan(&name))
	feature.Same(name, "")
}

func applicationName() {
	within("&application_name=pgx%20test", func(conn *pgx.Conn) {
		feature.Same(one[string](conn, "SHOW application_name"), "pgx test")
		feature.Same(conn.PgConn().ParameterStatus("application_name"), "pgx test")
		feature.Same(one[string](conn, "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"), "pgx test")
	})
}

func view() {
	within("", func(conn *pgx.Conn) {
		for n, amount := range []float64{2.5, 4} {
			exec(conn, "INSERT INTO pgx_events VALUES ($1, 'live', $2)", 3000+n, amount)
			feature.Same(one[int64](conn, "SELECT n FROM pgx_totals WHERE kind = $1", "live"), int64(n+1))
		}
	})
}

func subscribe() {
	within("", func(conn *pgx.Conn) {
		tx := feature.Got(conn.Begin(ctx))
		feature.Got(tx.Exec(ctx, "DECLARE changes CURSOR FOR SUBSCRIBE TO pgx_totals WITH (snapshot = false)"))
		within("", func(other *pgx.Conn) { exec(other, "INSERT INTO pgx_events VALUES (4001, 'followed', 1)") })
		rows := feature.Got(tx.Query(ctx, "FETCH ALL changes WITH (timeout = '10s')"))
		found := feature.Got(pgx.CollectRows(rows, pgx.RowToMap))
		feature.Same(len(found), 1)
		feature.Same(found[0]["kind"], "followed")
		feature.Must(tx.Commit(ctx))
	})
}

func reconnect() {
	connections := feature.Got(pgxpool.New(ctx, feature.URL(feature.Password, "?sslmode=disable&pool_max_conns=1")))
	defer connections.Close()
	feature.Must(connections.Ping(ctx))
	feature.Restart()
	// The pool looks at a connection that has been idle, throws it away and makes a new one.
	var err error
	for range 3 {
		var there bool
		err = connections.QueryRow(ctx, "SELECT count(*) > 0 FROM pgx_events").Scan(&there)
		if err == nil && there {
			return
		}
	}
	panic(err)
}

// ANCHOR: snippet
func snippet() error {
	url := os.ExpandEnv("postgres://$MILLRACE_USER:$MILLRACE_PASSWORD@$MILLRACE_HOST:$MILLRACE_PORT/dev")
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err = conn.Exec(ctx, "INSERT INTO pgx_events VALUES ($1, $2, $3)", 9001, "snippet", 2.5); err != nil {
		return err
	}
	var n int64
	var total float64
	row := conn.QueryRow(ctx, "SELECT n, total FROM pgx_totals WHERE kind = $1", "snippet")
	if err = row.Scan(&n, &total); err != nil {
		return err
	}
	fmt.Println(n, total)
	return nil
}

// ANCHOR_END: snippet

func main() {
	feature.Run([]feature.Test{
		{Feature: "connect", Run: connect},
		{Feature: "tls", Run: tls},
		{Feature: "objects", Run: objects},
		{Feature: "describe", Run: describe},
		{Feature: "types_text", Run: func() { types(pgx.QueryExecModeExec, pgx.TextFormatCode) }},
		{Feature: "types_binary", Run: typesBinary},
		{Feature: "prepared", Run: prepared},
		{Feature: "errors", Run: failures},
		{Feature: "transactions", Run: transactions},
		{Feature: "streaming", Run: streaming},
		{Feature: "copy_in", Run: copyIn},
		{Feature: "copy_out", Run: copyOut},
		{Feature: "notices", Run: notices},
		{Feature: "cancel", Run: cancel},
		{Feature: "pool", Run: pool},
		{Feature: "application_name", Run: applicationName},
		{Feature: "view", Run: view},
		{Feature: "subscribe", Run: subscribe},
		{Feature: "reconnect", Run: reconnect},
		{Feature: "snippet", Run: func() { feature.Must(snippet()) }},
	})
}
