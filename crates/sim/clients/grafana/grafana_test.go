// What Grafana's PostgreSQL data source sends, with the driver that it uses, and the answers that it needs:
// the connection test, what the query builder asks, panels, variables, annotations, every macro as it expands.

package grafana

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// begin is the first reading's time; sensors send one each minute for six hours.
var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const minutes = 360

func schema() error {
	statements := []string{
		`CREATE TABLE readings (id INT, at TIMESTAMPTZ, local TIMESTAMP, day DATE, epoch BIGINT, nanos BIGINT, millis BIGINT,
			value DOUBLE PRECISION, price NUMERIC(10, 2), name TEXT, ok BOOLEAN, info JSONB, raw BYTEA, took INTERVAL,
			PRIMARY KEY (at, id))`,
		`CREATE VIEW hot AS SELECT at, value FROM readings WHERE value > 300`,
		`CREATE MATERIALIZED VIEW by_name AS SELECT name, count(*) AS n, sum(value) AS total FROM readings GROUP BY name`,
		`CREATE TABLE "Odd Name" ("Some Column" INT PRIMARY KEY, plain VARCHAR(10))`,
		`CREATE TABLE events (at TIMESTAMPTZ PRIMARY KEY, until TIMESTAMPTZ, text TEXT, tags TEXT)`,
		`INSERT INTO events VALUES ('2026-01-01 01:00:00Z', '2026-01-01 02:00:00Z', 'maintenance', 'pump,north')`,
		`INSERT INTO readings SELECT 1 + i % 2, timestamptz '2026-01-01 00:00:00Z' + i * interval '1 minute',
			timestamp '2026-01-01 00:00:00' + i * interval '1 minute', date '2026-01-01',
			1767225600 + i * 60, (1767225600 + i * 60)::bigint * 1000000000, (1767225600 + i * 60)::bigint * 1000,
			i, i + 0.25, CASE WHEN i % 2 = 0 THEN 'north' ELSE 'south' END, i % 2 = 0,
			'{"a": 1}', '\x00ff', interval '90 seconds'
			FROM generate_series(0, 359) AS t(i)`,
	}
	for _, statement := range statements {
		if _, err := panel(statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func rfc(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

// timeFilter is $__timeFilter.
func timeFilter(column string, from, to time.Time) string {
	return fmt.Sprintf("%s BETWEEN '%s' AND '%s'", column, rfc(from), rfc(to))
}

// timeGroup is $__timeGroup.
func timeGroup(column string, seconds int) string {
	return fmt.Sprintf("floor(extract(epoch from %s)/%d)*%d", column, seconds, seconds)
}

func TestSaveAndTest(t *testing.T) {
	if err := pool.Ping(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, nothing := range []string{"-- ping", ";", ""} {
		if got, err := panel(nothing); err != nil || len(rows(got)) != 0 {
			t.Fatalf("%q: %v %v", nothing, got, err)
		}
	}
	results := expect(t, "SELECT current_setting('server_version_num')::int/100 as version", "1600")
	if got := columns(results[0]); !reflect.DeepEqual(got, []string{"version:23"}) {
		t.Fatal(got)
	}
	expect(t, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
	expect(t, "SELECT 1", "1")
}

// onPath is how the builder asks whether a schema is one that needs no name.
const onPath = `quote_ident(table_schema) IN (
	SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
	FROM generate_series(
		array_lower(string_to_array(current_setting('search_path'),','),1),
		array_upper(string_to_array(current_setting('search_path'),','),1)
	) as i,
	string_to_array(current_setting('search_path'),',') s
)`

func TestTheBuilderListsTables(t *testing.T) {
	sql := `SELECT CASE WHEN ` + onPath + `
		THEN quote_ident(table_name)
		ELSE quote_ident(table_schema) || '.' || quote_ident(table_name)
		END AS "table"
	FROM information_schema.tables
	WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache',
		'_timescaledb_catalog', '_timescaledb_internal', '_timescaledb_config', 'timescaledb_information',
		'timescaledb_experimental')
	ORDER BY CASE WHEN ` + onPath + ` THEN 0 ELSE 1 END, 1`
	results, err := panel(sql)
	if err != nil {
		t.Fatal(err)
	}
	got := rows(results)
	wanted := []string{`"Odd Name"`, "by_name", "events", "hot", "readings"}
	if len(got) < len(wanted) || !reflect.DeepEqual(got[:len(wanted)], wanted) {
		t.Fatalf("%q", got)
	}
	for _, other := range got[len(wanted):] {
		if !strings.HasPrefix(other, "millrace.") {
			t.Fatalf("%q", got)
		}
	}
}

func TestTheBuilderListsColumns(t *testing.T) {
	list := func(table string) string {
		return `SELECT quote_ident(column_name) AS "column", data_type AS "type"
		FROM information_schema.columns
		WHERE CASE WHEN array_length(parse_ident('` + table + `'),1) = 2
			THEN quote_ident(table_schema) = (parse_ident('` + table + `'))[1]
				AND quote_ident(table_name) = (parse_ident('` + table + `'))[2]
			ELSE quote_ident(table_name) = '` + table + `' AND ` + onPath + ` END`
	}
	expect(t, list("readings"),
		"id|integer", "at|timestamp with time zone", "local|timestamp without time zone", "day|date",
		"epoch|bigint", "nanos|bigint", "millis|bigint", "value|double precision", "price|numeric", "name|text",
		"ok|boolean", "info|jsonb", "raw|bytea", "took|interval")
	expect(t, list("by_name"), "name|text", "n|bigint", "total|double precision")
	expect(t, list(`"Odd Name"`), `"Some Column"|integer`, "plain|character varying")
	got, err := panel(list("millrace.settings"))
	if err != nil || strings.Join(rows(got), ",") != "name|text,value|text" {
		t.Fatal(rows(got), err)
	}
}

func TestTheSchemaInterfaceAsksByTheExtendedProtocol(t *testing.T) {
	ask := func(sql string, args ...any) []string {
		t.Helper()
		found, err := pool.Query(context.Background(), sql, args...)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		defer found.Close()
		var all []string
		for found.Next() {
			values, err := found.Values()
			if err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
			cells := make([]string, len(values))
			for at, value := range values {
				cells[at] = fmt.Sprint(value)
			}
			all = append(all, strings.Join(cells, " "))
		}
		if found.Err() != nil {
			t.Fatalf("%s: %v", sql, found.Err())
		}
		return all
	}
	check := func(got []string, wanted ...string) {
		t.Helper()
		if strings.Join(got, ",") != strings.Join(wanted, ",") {
			t.Fatalf("got %q, wanted %q", got, wanted)
		}
	}
	check(ask(`SELECT schema_name FROM information_schema.schemata
		WHERE schema_name NOT LIKE 'pg_%' AND schema_name != 'information_schema' ORDER BY schema_name`),
		"millrace", "public")
	check(ask(`SELECT table_name FROM information_schema.tables
		WHERE table_schema = $1 AND table_type IN ('BASE TABLE', 'VIEW') ORDER BY table_name`, "public"),
		"Odd Name", "by_name", "events", "hot", "readings")
	check(ask(`SELECT column_name, data_type, udt_name, numeric_precision, numeric_scale
		FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position`,
		"public", "by_name"),
		"name text text <nil> <nil>", "n bigint int8 64 0", "total double precision float8 53 <nil>")
	check(ask(`SELECT 'name' AS col_name, "name"::text AS val
		FROM (SELECT DISTINCT "name" FROM "public"."readings" WHERE "name" IS NOT NULL ORDER BY "name" LIMIT 100) sub_0
		UNION ALL SELECT 'id' AS col_name, "id"::text AS val
		FROM (SELECT DISTINCT "id" FROM "public"."readings" WHERE "id" IS NOT NULL ORDER BY "id" LIMIT 100) sub_1
		ORDER BY 1, 2`),
		"id 1", "id 2", "name north", "name south")
}

func TestVariablesAndAnnotations(t *testing.T) {
	results := expect(t, "SELECT DISTINCT name AS __text, id AS __value FROM readings ORDER BY 1", "north|1", "south|2")
	if got := columns(results[0]); !reflect.DeepEqual(got, []string{"__text:25", "__value:23"}) {
		t.Fatal(got)
	}
	expect(t, "SELECT count(*) FROM readings WHERE name IN ('north','south')", "360")
	from, to := begin, begin.Add(6*time.Hour)
	expect(t, "SELECT extract(epoch from at) AS time, extract(epoch from until) AS timeend, text, tags FROM events WHERE "+
		timeFilter("at", from, to), "1767229200.000000|1767232800.000000|maintenance|pump,north")
	expect(t, "SELECT at AS time, until AS timeend, text, tags FROM events WHERE "+timeFilter("at", from, to),
		"2026-01-01 01:00:00+00|2026-01-01 02:00:00+00|maintenance|pump,north")
}

func TestEveryMacroOverEveryTimeColumn(t *testing.T) {
	from, to := begin.Add(time.Hour), begin.Add(2*time.Hour-time.Millisecond)
	expect(t, `SELECT at AS "time", value FROM readings WHERE `+timeFilter("at", from, from)+" ORDER BY 1",
		"2026-01-01 01:00:00+00|60")
	expect(t, `SELECT extract(epoch from at) as "time" FROM readings WHERE id = 1 ORDER BY 1 LIMIT 1`,
		"1767225600.000000")
	for _, column := range []string{"at", "local"} {
		expect(t, "SELECT count(*), min(value), max(value) FROM readings WHERE "+timeFilter(column, from, to), "60|60|119")
		expect(t, fmt.Sprintf(`SELECT %s AS "time", count(*) FROM readings WHERE %s GROUP BY 1 ORDER BY 1`,
			timeGroup(column, 1800), timeFilter(column, from, to)), "1767229200|30", "1767231000|30")
		expect(t, fmt.Sprintf(`SELECT %s AS "time", name AS metric, avg(value) FROM readings WHERE %s GROUP BY 1, 2 ORDER BY 1, 2`,
			timeGroup(column, 3600), timeFilter(column, from, to)), "1767229200|north|89", "1767229200|south|90")
		expect(t, fmt.Sprintf("SELECT count(*) FROM readings WHERE %s >= '%s' AND %s < '%s'", column, rfc(from), column, rfc(to)), "60")
	}
	expect(t, "SELECT count(*) FROM readings WHERE "+timeFilter("day", begin, to), "360")
	expect(t, `SELECT `+timeGroup("day", 86400)+` AS "time", count(*) FROM readings GROUP BY 1`, "1767225600|360")
	epochs := fmt.Sprintf("epoch >= %d AND epoch <= %d", from.Unix(), to.Unix())
	expect(t, "SELECT count(*) FROM readings WHERE "+epochs, "60")
	nanos := fmt.Sprintf("nanos >= %d AND nanos <= %d", from.UnixNano(), to.UnixNano())
	expect(t, "SELECT count(*) FROM readings WHERE "+nanos, "60")
	expect(t, `SELECT floor((epoch)/1800)*1800 AS "time", count(*) FROM readings WHERE `+epochs+" GROUP BY 1 ORDER BY 1",
		"1767229200|30", "1767231000|30")
	expect(t, `SELECT floor((nanos)/1800000000000)*1800000000000 AS "time", count(*) FROM readings WHERE `+nanos+" GROUP BY 1 ORDER BY 1",
		"1.7672292e+18|30", "1.767231e+18|30")
	expect(t, fmt.Sprintf("SELECT count(*) FROM readings WHERE to_timestamp(epoch) BETWEEN '%s' AND '%s'", rfc(from), rfc(to)), "60")
}

func TestTypesThatGrafanaTellsApart(t *testing.T) {
	results := expect(t, "SELECT at AS time, local, day, epoch, value, price, name, ok, info, raw, took FROM readings WHERE epoch = 1767225660",
		`2026-01-01 00:01:00+00|2026-01-01 00:01:00|2026-01-01|1767225660|1|1.25|south|f|{"a": 1}|\x00ff|00:01:30`)
	wanted := "time:1184 local:1114 day:1082 epoch:20 value:701 price:1700 name:25 ok:16 info:3802 raw:17 took:1186"
	if got := strings.Join(columns(results[0]), " "); got != wanted {
		t.Fatal(got)
	}
}

func TestSeveralStatementsAreOneAnswer(t *testing.T) {
	expect(t, "SELECT 10; SELECT 20", "10", "20")
	expect(t, "SET TIMEZONE TO 'UTC'; select 42", "42")
	expect(t, "SELECT 10 AS value; -- a comment\nSELECT 20 AS value;", "10", "20")
	if _, err := panel("SELECT 1; SELECT nothing FROM readings"); err == nil || !strings.Contains(err.Error(), "42703") {
		t.Fatal(err)
	}
	expect(t, "SELECT 1", "1")
}

func TestThirtyPanelsAtOnce(t *testing.T) {
	var waiting sync.WaitGroup
	failed := make(chan error, 30)
	for at := range 30 {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			seconds := 60 * (1 + at%5)
			sql := fmt.Sprintf(`SELECT %s AS "time", avg(value) AS value FROM readings WHERE %s GROUP BY 1 ORDER BY 1`,
				timeGroup("at", seconds), timeFilter("at", begin, begin.Add(6*time.Hour)))
			got, err := panel(sql)
			if err == nil && len(rows(got)) != minutes*60/seconds {
				err = fmt.Errorf("%d rows for %d seconds", len(rows(got)), seconds)
			}
			failed <- err
		}()
	}
	waiting.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestASeriesComesInTheOrderOfItsTime(t *testing.T) {
	got, err := panel(`SELECT at AS "time", name AS metric, value FROM readings WHERE ` +
		timeFilter("at", begin, begin.Add(6*time.Hour)) + " ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	all := rows(got)
	if len(all) != minutes {
		t.Fatal(len(all))
	}
	for at := 1; at < len(all); at++ {
		if all[at-1] >= all[at] {
			t.Fatalf("%s before %s", all[at-1], all[at])
		}
	}
}

// rowsRead finds what EXPLAIN ANALYZE says of the rows that scans have read.
var rowsRead = regexp.MustCompile(`rows_read=([0-9.]+)( [KM])?`)

func TestATimeRangeOfALongViewReadsFewOfItsRows(t *testing.T) {
	const all = 200_000
	for _, statement := range []string{
		"CREATE TABLE series (at TIMESTAMPTZ, id INT, value DOUBLE PRECISION, PRIMARY KEY (at, id))",
		`CREATE MATERIALIZED VIEW history AS SELECT at, id, value * 2 AS doubled FROM series`,
		fmt.Sprintf(`INSERT INTO series SELECT timestamptz '2026-01-01 00:00:00Z' + i / 10 * interval '1 minute', i %% 10, i
			FROM generate_series(0, %d) AS t(i)`, all-1),
		"FLUSH",
	} {
		if _, err := panel(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	from := begin.Add(7 * 24 * time.Hour)
	sql := fmt.Sprintf(`SELECT %s AS "time", avg(doubled) AS value FROM history WHERE %s GROUP BY 1 ORDER BY 1`,
		timeGroup("at", 300), timeFilter("at", from, from.Add(6*time.Hour)))
	got, err := panel(sql)
	if err != nil || len(rows(got)) != 73 {
		t.Fatal(len(rows(got)), err)
	}
	// Blocks are skipped once a checkpoint has written them.
	for until := time.Now().Add(patience); ; {
		read := readRows(t, sql)
		if read > 0 && read < all/5 {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%v of %d rows are read", read, all)
		}
		if _, err := panel("FLUSH"); err != nil {
			t.Fatal(err)
		}
	}
}

func readRows(t *testing.T, sql string) float64 {
	t.Helper()
	results, err := panel("EXPLAIN ANALYZE " + sql)
	if err != nil {
		t.Fatal(err)
	}
	var read float64
	for _, row := range results[0].Rows {
		for _, found := range rowsRead.FindAllStringSubmatch(string(row[0]), -1) {
			number, err := strconv.ParseFloat(found[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			read += number * map[string]float64{"": 1, " K": 1e3, " M": 1e6}[found[2]]
		}
	}
	return read
}
