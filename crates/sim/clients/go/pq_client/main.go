// Command pq_client is lib/pq below database/sql.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/lib/pq"
	"millrace.dev/clients/feature"
)

var ctx = context.Background()

func within(options string, use func(*sql.DB)) {
	db := feature.Got(sql.Open("postgres", feature.URL(feature.Password, "?sslmode=disable"+options)))
	db.SetMaxOpenConns(2)
	defer func() { _ = db.Close() }()
	use(db)
}

// asked is a database, a connection or a transaction.
type asked interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

func exec(db asked, text string, args ...any) sql.Result {
	return feature.Got(db.ExecContext(ctx, text, args...))
}

func one[T any](db asked, text string, args ...any) (value T) {
	feature.Must(db.QueryRowContext(ctx, text, args...).Scan(&value))
	return
}

func fails(err error, code string) *pq.Error {
	return feature.Fails(err, func(err *pq.Error) bool { return string(err.Code) == code })
}

func failing(db asked, code, text string, args ...any) *pq.Error {
	_, err := db.ExecContext(ctx, text, args...)
	return fails(err, code)
}

func connect() {
	within("", func(db *sql.DB) {
		feature.Must(db.Ping())
		feature.Same(one[string](db, "SELECT current_user"), feature.User)
	})
	db := feature.Got(sql.Open("postgres", feature.URL("no", "?sslmode=disable")))
	fails(db.Ping(), "28P01")
}

func tls() {
	db := feature.Got(sql.Open("postgres", feature.URL(feature.Password, "?sslmode=verify-full&sslrootcert="+feature.CA)))
	feature.Same(one[int64](db, "SELECT 1"), int64(1))
	feature.Must(db.Close())
}

func objects() {
	within("", func(db *sql.DB) {
		text := "SELECT relname || ' ' || relkind::text FROM pg_class WHERE relname LIKE $1 AND relkind IN ('r', 'v', 'm') ORDER BY 1"
		feature.Same(list(db, text, "pq%"), []string{"pq_events r", "pq_kinds v", "pq_totals m"})
	})
}

func list(db *sql.DB, text string, args ...any) (found []string) {
	rows := feature.Got(db.Query(text, args...))
	for rows.Next() {
		var value string
		feature.Must(rows.Scan(&value))
		found = append(found, value)
	}
	feature.Must(rows.Err())
	return
}

func describe() {
	within("", func(db *sql.DB) {
		rows := feature.Got(db.Query("SELECT * FROM pq_totals LIMIT 0"))
		var found []string
		for _, column := range feature.Got(rows.ColumnTypes()) {
			found = append(found, column.Name()+" "+column.DatabaseTypeName())
		}
		feature.Must(rows.Close())
		feature.Same(found, []string{"kind TEXT", "n INT8", "total FLOAT8"})
		text := "SELECT column_name || ' ' || data_type FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position"
		feature.Same(list(db, text, "pq_events"), []string{"id integer", "kind text", "amount double precision"})
	})
}

func types(options string) {
	noon := time.Date(2024, 2, 29, 12, 30, 0, 123456000, time.UTC)
	values := []struct {
		sql, text string
		given     any
	}{
		{"boolean", "true", true},
		{"smallint", "-32768", int64(-32768)},
		{"integer", "2147483647", int64(2147483647)},
		{"bigint", "-9223372036854775808", int64(-9223372036854775808)},
		{"real", "1.5", 1.5},
		{"double precision", "0.1", 0.1},
		{"numeric", "12345678901234567890123456789.123456789", "12345678901234567890123456789.123456789"},
		{"text", "héllo € 😀", "héllo € 😀"},
		{"bytea", "\\x00ff5c", []byte{0, 255, 92}},
		{"date", "2024-02-29", noon},
		{"time", "12:30:00.123456", "12:30:00.123456"},
		{"timestamp", "2024-02-29 12:30:00.123456", noon},
		{"timestamptz", "2024-02-29 12:30:00.123456+00", noon},
		{"interval", "1 mon 2 days 03:04:05.6", "1 mon 2 days 03:04:05.6"},
		{"uuid", "12345678-1234-5678-1234-567812345678", "12345678-1234-5678-1234-567812345678"},
		{"jsonb", `{"a": [1, null]}`, `{"a":[1,null]}`},
		{"integer[]", "{1,NULL}", "{1,NULL}"},
		{"bigint[]", "{1,3}", pq.Array([]int64{1, 3})},
		{"text[]", `{a,"b \"c\"",""}`, pq.Array([]string{"a", "b \"c\"", ""})},
	}
	within(options, func(db *sql.DB) {
		for _, value := range values {
			var found any
			var text string
			var null sql.NullString
			query := fmt.Sprintf("SELECT $1::%s, $1::%s::text, $2::%s", value.sql, value.sql, value.sql)
			feature.Must(db.QueryRow(query, value.given, nil).Scan(&found, &text, &null))
			feature.Same(text, value.text)
			feature.Same(null.Valid, false)
			if at, isTime := value.given.(time.Time); isTime && value.sql == "timestamptz" {
				feature.Same(found.(time.Time).Equal(at), true)
			}
		}
		var array []string
		feature.Must(db.QueryRow("SELECT ARRAY['a', 'b c']").Scan(pq.Array(&array)))
		feature.Same(array, []string{"a", "b c"})
	})
}

func prepared() {
	within("", func(db *sql.DB) {
		statement := feature.Got(db.Prepare("SELECT $1::bigint + 1"))
		for n := range int64(8) {
			var found int64
			feature.Must(statement.QueryRow(n).Scan(&found))
			feature.Same(found, n+1)
		}
		feature.Must(statement.Close())
	})
}

func failures() {
	within("", func(db *sql.DB) {
		feature.Same(failing(db, "42703", "SELECT 1, nothing FROM pq_events").Position, "11")
		failing(db, "42703", "SELECT nothing FROM pq_events WHERE id = $1", 1)
		failing(db, "22012", "SELECT 1 / 0")
		failing(db, "42601", "SELEC 1")
		exec(db, "INSERT INTO pq_events VALUES (1, 'a', 1)")
		feature.Same(failing(db, "23505", "INSERT INTO pq_events VALUES (1, 'a', 1)").Detail, "Key (id)=(1) already exists.")
	})
}

func transactions() {
	within("", func(db *sql.DB) {
		count, insert := "SELECT count(*) FROM pq_events WHERE kind = 'tx'", "INSERT INTO pq_events VALUES ($1, 'tx', 1)"
		tx := feature.Got(db.Begin())
		feature.Same(feature.Got(exec(tx, insert, 100).RowsAffected()), int64(1))
		exec(tx, "SAVEPOINT a")
		failing(tx, "23505", insert, 100)
		failing(tx, "25P02", "SELECT 1")
		exec(tx, "ROLLBACK TO SAVEPOINT a")
		feature.Same(one[int64](db, count), int64(0))
		feature.Must(tx.Commit())
		feature.Same(one[int64](db, count), int64(1))
		tx = feature.Got(db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}))
		failing(tx, "25006", insert, 101)
		feature.Must(tx.Rollback())
	})
}

func streaming() {
	within("", func(db *sql.DB) {
		rows := feature.Got(db.Query("SELECT x FROM generate_series(1, $1::bigint) AS g(x)", 20000))
		var sum, x int64
		for rows.Next() {
			feature.Must(rows.Scan(&x))
			sum += x
		}
		feature.Must(rows.Err())
		feature.Same(sum, int64(200010000))
		tx := feature.Got(db.Begin())
		exec(tx, "DECLARE portion CURSOR FOR SELECT x FROM generate_series(1, 10) AS g(x)")
		feature.Same(one[int64](tx, "FETCH 1 FROM portion"), int64(1))
		feature.Must(tx.Rollback())
	})
}

func copyIn() {
	within("", func(db *sql.DB) {
		tx := feature.Got(db.Begin())
		statement := feature.Got(tx.Prepare(pq.CopyIn("pq_events", "id", "kind", "amount")))
		for n := 1000; n < 2000; n++ {
			feature.Got(statement.Exec(n, "copied\tin", float64(n)/4))
		}
		feature.Same(feature.Got(feature.Got(statement.Exec()).RowsAffected()), int64(1000))
		feature.Must(statement.Close())
		feature.Must(tx.Commit())
		feature.Same(one[int64](db, "SELECT n FROM pq_totals WHERE kind = $1", "copied\tin"), int64(1000))
	})
}

func notices() {
	var heard []string
	connector := feature.Got(pq.NewConnector(feature.URL(feature.Password, "?sslmode=disable")))
	db := sql.OpenDB(pq.ConnectorWithNoticeHandler(connector, func(notice *pq.Error) {
		heard = append(heard, notice.Severity+" "+notice.Message)
	}))
	exec(db, "DROP TABLE IF EXISTS pq_nothing")
	feature.Same(heard, []string{`NOTICE table "pq_nothing" does not exist, skipping`})
	feature.Must(db.Close())
}

func cancel() {
	within("", func(db *sql.DB) {
		short, stop := context.WithTimeout(ctx, 200*time.Millisecond)
		defer stop()
		_, err := db.ExecContext(short, feature.Endless)
		if err == nil || !(strings.Contains(err.Error(), "canceling statement") || strings.Contains(err.Error(), "deadline")) {
			panic(fmt.Errorf("got the error %v", err))
		}
		feature.Same(one[int64](db, "SELECT 1"), int64(1))
	})
}

func pool() {
	within("", func(db *sql.DB) {
		db.SetMaxOpenConns(1)
		exec(db, "SET application_name = 'other'")
		exec(db, "DISCARD ALL")
		feature.Same(one[string](db, "SHOW application_name") != "other", true)
	})
}

func applicationName() {
	within("&application_name=pq%20test", func(db *sql.DB) {
		feature.Same(one[string](db, "SHOW application_name"), "pq test")
		feature.Same(one[string](db, "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"), "pq test")
	})
}

func view() {
	within("", func(db *sql.DB) {
		for n, amount := range []float64{2.5, 4} {
			exec(db, "INSERT INTO pq_events VALUES ($1, 'live', $2)", 3000+n, amount)
			feature.Same(one[int64](db, "SELECT n FROM pq_totals WHERE kind = $1", "live"), int64(n+1))
		}
	})
}

func subscribe() {
	within("", func(db *sql.DB) {
		tx := feature.Got(db.Begin())
		exec(tx, "DECLARE changes CURSOR FOR SUBSCRIBE TO pq_totals WITH (snapshot = false)")
		exec(db, "INSERT INTO pq_events VALUES (4001, 'followed', 1)")
		var epoch, weight, n int64
		var kind string
		var total float64
		row := tx.QueryRow("FETCH ALL changes WITH (timeout = '10s')")
		feature.Must(row.Scan(&epoch, &weight, &kind, &n, &total))
		feature.Same([]any{weight, kind, n}, []any{int64(1), "followed", int64(1)})
		feature.Must(tx.Commit())
	})
}

func reconnect() {
	within("", func(db *sql.DB) {
		db.SetMaxOpenConns(1)
		feature.Must(db.Ping())
		feature.Restart()
		var err error
		for range 3 {
			var there bool
			err = db.QueryRow("SELECT count(*) > 0 FROM pq_events").Scan(&there)
			if err == nil && there {
				return
			}
		}
		panic(err)
	})
}

// ANCHOR: snippet
func snippet() error {
	url := os.ExpandEnv("postgres://$MILLRACE_USER:$MILLRACE_PASSWORD@$MILLRACE_HOST:$MILLRACE_PORT/dev?sslmode=disable")
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if _, err = db.Exec("INSERT INTO pq_events VALUES ($1, $2, $3)", 9001, "snippet", 2.5); err != nil {
		return err
	}
	var n int64
	var total float64
	row := db.QueryRow("SELECT n, total FROM pq_totals WHERE kind = $1", "snippet")
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
		{Feature: "types_text", Run: func() { types("") }},
		{Feature: "types_binary", Run: func() { types("&binary_parameters=yes") }},
		{Feature: "prepared", Run: prepared},
		{Feature: "errors", Run: failures},
		{Feature: "transactions", Run: transactions},
		{Feature: "streaming", Run: streaming},
		{Feature: "copy_in", Run: copyIn},
		{Feature: "copy_out", Run: func() { panic(feature.Absent("the driver has no COPY TO")) }},
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
