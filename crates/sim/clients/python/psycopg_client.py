"""psycopg 3."""

import datetime as dt
import decimal
import threading
import uuid

import psycopg
from psycopg import errors
from psycopg.types.json import Json, Jsonb

from features import CA, HOST, PASSWORD, PORT, USER, fails, restart, run, same

WHERE = f"host={HOST} port={PORT} dbname=dev user={USER} password={PASSWORD}"
NOON = dt.datetime(2024, 2, 29, 12, 30, 0, 123456)
VALUES = [
    ("boolean", True),
    ("smallint", -32768),
    ("integer", 2**31 - 1),
    ("bigint", -(2**63)),
    ("real", 1.5),
    ("double precision", 0.1),
    ("numeric", decimal.Decimal("12345678901234567890123456789.123456789")),
    ("text", "h\u00e9llo \u20ac \U0001f600"),
    ("bytea", b"\x00\xff\\x"),
    ("date", NOON.date()),
    ("time", NOON.time()),
    ("timestamp", NOON),
    ("timestamptz", NOON.replace(tzinfo=dt.timezone.utc)),
    ("interval", dt.timedelta(days=1, seconds=2, microseconds=3)),
    ("uuid", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    ("integer[]", [1, None, 3]),
    ("text[]", ["a", 'b "c"', None, ""]),
    ("numeric[]", [decimal.Decimal("1.50"), None]),
    ("timestamptz[]", [NOON.replace(tzinfo=dt.timezone.utc)]),
    ("uuid[]", [uuid.UUID(int=7)]),
]
DOCUMENT = {"a": [1, None, "x"]}


def connect(**more):
    return psycopg.connect(WHERE, autocommit=True, **more)


def connects():
    with connect() as conn:
        same(conn.execute("SELECT current_user").fetchone(), (USER,))
    wrong = fails(psycopg.OperationalError, lambda: psycopg.connect(WHERE + " password=no"))
    assert "password authentication failed" in str(wrong), wrong


def tls():
    with connect(sslmode="verify-full", sslrootcert=CA) as conn:
        same(conn.pgconn.ssl_in_use, True)


def objects():
    with connect() as conn:
        found = conn.execute(
            "SELECT relname, relkind FROM pg_class WHERE relname LIKE 'psycopg%' ORDER BY 1"
        ).fetchall()
        found = [(name, kind.decode() if isinstance(kind, bytes) else kind) for name, kind in found]
        same([row for row in found if row[1] in "rmv"],
             [("psycopg_events", "r"), ("psycopg_kinds", "v"), ("psycopg_totals", "m")])


def describe():
    with connect() as conn:
        columns = conn.execute("SELECT * FROM psycopg_totals LIMIT 0").description
        same([(c.name, c.type_display) for c in columns],
             [("kind", "text"), ("n", "int8"), ("total", "float8")])
        found = conn.execute(
            """SELECT column_name, data_type, udt_name FROM information_schema.columns
               WHERE table_name = %s ORDER BY ordinal_position""", ("psycopg_events",))
        same(found.fetchall(), [("id", "integer", "int4"), ("kind", "text", "text"),
                                ("amount", "double precision", "float8")])
        info = psycopg.types.TypeInfo.fetch(conn, "timestamptz")
        same((info.oid, info.array_oid), (1184, 1185))


def types(binary):
    form = "b" if binary else "t"
    with connect() as conn, conn.cursor(binary=binary) as cursor:
        for sql, value in VALUES:
            for given in (value, None):
                cursor.execute(f"SELECT %{form}::{sql}", (given,))
                same(cursor.fetchone()[0], given)
        cursor.execute(f"SELECT %{form}::jsonb, %{form}::json", (Jsonb(DOCUMENT), Json(DOCUMENT)))
        same(cursor.fetchone(), (DOCUMENT, DOCUMENT))
        # Into columns, without casts.
        names = ", ".join(f"c{n} {sql}" for n, (sql, _) in enumerate(VALUES))
        cursor.execute("DROP TABLE IF EXISTS psycopg_types")
        cursor.execute(f"CREATE TABLE psycopg_types ({names})")
        marks = ", ".join([f"%{form}"] * len(VALUES))
        row = tuple(value for _, value in VALUES)
        cursor.execute(f"INSERT INTO psycopg_types VALUES ({marks})", row)
        cursor.execute(f"SELECT * FROM psycopg_types WHERE c2 = %{form} AND c7 = %{form} AND c12 = %{form}",
                       (row[2], row[7], row[12]))
        same(cursor.fetchone(), row)


def prepared():
    with connect() as conn:
        for n in range(8):
            same(conn.execute("SELECT %s::bigint + 1", (n,), prepare=True).fetchone(), (n + 1,))
        # What was prepared is made anew when the columns have changed.
        for columns in ("1 AS a", "1 AS a, 'x' AS b"):
            conn.execute("DROP VIEW IF EXISTS psycopg_v")
            conn.execute(f"CREATE VIEW psycopg_v AS SELECT {columns}")
            try:
                rows = conn.execute("SELECT * FROM psycopg_v", prepare=True).fetchall()
            except errors.FeatureNotSupported as error:
                assert "cached plan must not change result type" in str(error)
                rows = conn.execute("SELECT * FROM psycopg_v", prepare=False).fetchall()
            same(len(rows[0]), columns.count("AS"))
        conn.execute("DEALLOCATE ALL")
        with conn.pipeline():
            cursors = [conn.execute("SELECT %s::int", (n,)) for n in range(5)]
        same([cursor.fetchone()[0] for cursor in cursors], list(range(5)))


def failures():
    with connect() as conn:
        error = fails(errors.UndefinedColumn, lambda: conn.execute("SELECT 1, nothing FROM psycopg_events"))
        same((error.sqlstate, error.diag.statement_position), ("42703", "11"))
        for sql, kind in [
            ("SELECT * FROM nowhere", errors.UndefinedTable),
            ("SELEC 1", errors.SyntaxError),
            ("SELECT 1 / 0", errors.DivisionByZero),
            ("SELECT 'x'::integer", errors.InvalidTextRepresentation),
            ("INSERT INTO psycopg_events VALUES (1, NULL, 1)", errors.NotNullViolation),
            ("SELECT nothing(1)", errors.UndefinedFunction),
        ]:
            fails(kind, lambda: conn.execute(sql).fetchall())
        conn.execute("INSERT INTO psycopg_events VALUES (1, 'a', 1) ON CONFLICT DO NOTHING")
        error = fails(errors.UniqueViolation,
                      lambda: conn.execute("INSERT INTO psycopg_events VALUES (1, 'a', 1)"))
        same(error.diag.message_detail, "Key (id)=(1) already exists.")
        names = (error.diag.schema_name, error.diag.table_name, error.diag.constraint_name)
        same(names, ("public", "psycopg_events", "psycopg_events_pkey"))


def transactions():
    with connect() as conn, connect() as other:
        count = "SELECT count(*) FROM psycopg_events WHERE kind = 'tx'"
        insert = "INSERT INTO psycopg_events VALUES (%s, 'tx', 1)"
        with conn.transaction():
            conn.execute(insert, (100,))
            same(other.execute(count).fetchone(), (0,))
            with conn.transaction(force_rollback=True):
                conn.execute(insert, (101,))
            fails(errors.UniqueViolation, lambda: nested(conn, insert))
        same(other.execute(count).fetchone(), (1,))
        with conn.transaction(force_rollback=True):
            conn.execute(insert, (102,))
        same(other.execute(count).fetchone(), (1,))
        # What is sent before one Sync takes effect together.
        fails(errors.UniqueViolation, lambda: piped(conn, insert, (110, 111, 100)))
        same(other.execute(count).fetchone(), (1,))
        piped(conn, insert, (110, 111))
        same(other.execute(count).fetchone(), (3,))
        conn.autocommit = False
        fails(errors.UndefinedColumn, lambda: conn.execute("SELECT nothing"))
        fails(errors.InFailedSqlTransaction, lambda: conn.execute("SELECT 1"))
        conn.rollback()
        conn.read_only = True
        fails(errors.ReadOnlySqlTransaction, lambda: conn.execute(insert, (103,)))
        conn.rollback()


def nested(conn, insert):
    with conn.transaction():
        conn.execute(insert, (100,))


def piped(conn, insert, numbers):
    with conn.pipeline():
        for number in numbers:
            conn.execute(insert, (number,))


def streaming():
    with connect() as conn:
        # A cursor of the server.
        with conn.transaction(), conn.cursor("rows") as cursor:
            cursor.itersize = 1000
            cursor.execute("SELECT x FROM generate_series(1, 20000) AS g(x)")
            same(sum(x for (x,) in cursor), 200010000)
        # Row by row, without one.
        with conn.cursor() as cursor:
            rows = cursor.stream("SELECT x FROM generate_series(1, 20000) AS g(x)")
            same(sum(x for (x,) in rows), 200010000)


def copy_in():
    with connect() as conn, conn.cursor() as cursor:
        with cursor.copy("COPY psycopg_events FROM STDIN") as copy:
            for n in range(1000, 1500):
                copy.write_row((n, "copied\tin", None if n % 2 else n / 4))
        same(cursor.rowcount, 500)
        with cursor.copy("COPY psycopg_events (id, kind, amount) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text", "float8"])
            for n in range(1500, 2000):
                copy.write_row((n, "copied\tin", n / 4))
        with cursor.copy("COPY psycopg_events FROM STDIN (FORMAT csv, HEADER MATCH)") as copy:
            copy.write("id,kind,amount\n2000,\"copied\tin\",\n")
        found = cursor.execute("SELECT count(*), count(amount), min(amount) FROM psycopg_events WHERE kind = 'copied\tin'")
        same(found.fetchone(), (1001, 750, 250.0))

        def wrong():
            with cursor.copy("COPY psycopg_events FROM STDIN") as copy:
                copy.write("5000\ta\t1\nx\ta\t1\n")

        error = fails(errors.InvalidTextRepresentation, wrong)
        same(error.diag.context, 'COPY psycopg_events, line 2, column id: "x"')


def copy_out():
    with connect() as conn, conn.cursor() as cursor:
        sql = "(SELECT id, kind, amount FROM psycopg_events WHERE id BETWEEN 1498 AND 1501 ORDER BY id)"
        wanted = [(n, "copied\tin", None if n == 1499 else n / 4) for n in range(1498, 1502)]
        for form in ("text", "binary"):
            with cursor.copy(f"COPY {sql} TO STDOUT (FORMAT {form})") as copy:
                copy.set_types(["int4", "text", "float8"])
                same(list(copy.rows()), wanted)
        with cursor.copy(f"COPY {sql} TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE (kind))") as copy:
            text = b"".join(copy).decode()
        same(text, 'id,kind,amount\n1498,"copied\tin",374.5\n1499,"copied\tin",\n'
                   '1500,"copied\tin",375\n1501,"copied\tin",375.25\n')
        with cursor.copy("COPY psycopg_totals TO STDOUT") as copy:
            assert len(list(copy.rows())) > 0


def notices():
    with connect() as conn:
        heard = []
        conn.add_notice_handler(lambda notice: heard.append((notice.severity, notice.message_primary)))
        conn.execute("DROP TABLE IF EXISTS psycopg_nothing")
        same(heard, [("NOTICE", 'table "psycopg_nothing" does not exist, skipping')])


def cancel():
    with connect() as conn:
        endless = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c"
        over = threading.Event()

        def ask():
            while not over.wait(0.05):
                conn.cancel_safe()

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            fails(errors.QueryCanceled, lambda: conn.execute(endless))
        finally:
            over.set()
            asking.join()
        same(conn.execute("SELECT 1").fetchone(), (1,))


def pool():
    from psycopg_pool import ConnectionPool

    def reset(conn):
        conn.execute("DISCARD ALL")

    with ConnectionPool(WHERE, min_size=1, max_size=1, kwargs={"autocommit": True}, reset=reset,
                        check=ConnectionPool.check_connection) as connections:
        with connections.connection() as conn:
            conn.execute("SET application_name = 'other'")
            conn.execute("PREPARE once AS SELECT 1")
        with connections.connection() as conn:
            same(conn.execute("SHOW application_name").fetchone()[0] != "other", True)
            fails(errors.InvalidSqlStatementName, lambda: conn.execute("EXECUTE once"))


def application_name():
    with connect(application_name="psycopg test") as conn:
        same(conn.execute("SHOW application_name").fetchone(), ("psycopg test",))
        same(conn.info.parameter_status("application_name"), "psycopg test")
        found = conn.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'psycopg test'")
        same(found.fetchone(), (1,))


def reconnect():
    with connect() as conn:
        restart()
        fails(psycopg.OperationalError, lambda: conn.execute("SELECT 1"))
    with connect() as conn:
        same(conn.execute("SELECT count(*) >= 1000 FROM psycopg_events").fetchone(), (True,))


def live_view():
    with connect() as conn:
        conn.execute("DELETE FROM psycopg_events WHERE kind = 'live'")
        for n, amount in ((1, 2.5), (2, 4.0)):
            conn.execute("INSERT INTO psycopg_events VALUES (%s, 'live', %s)", (3000 + n, amount))
            found = conn.execute("SELECT n FROM psycopg_totals WHERE kind = %s", ("live",)).fetchone()
            same(found, (n,))


def subscribe():
    with connect() as conn, connect() as other:
        with conn.transaction():
            conn.execute("DECLARE changes CURSOR FOR SUBSCRIBE TO psycopg_totals WITH (snapshot = false)")
            other.execute("INSERT INTO psycopg_events VALUES (4001, 'followed', 1)")
            rows = conn.execute("FETCH ALL changes WITH (timeout = '10s')").fetchall()
            same([row[1:4] for row in rows], [(1, "followed", 1)])
            conn.execute("CLOSE changes")


# ANCHOR: snippet
def snippet():
    with psycopg.connect(f"host={HOST} port={PORT} dbname=dev user={USER} password={PASSWORD}",
                         autocommit=True) as conn:
        conn.execute("INSERT INTO psycopg_events VALUES (%s, %s, %s)", (9001, "snippet", 2.5))
        for kind, n, total in conn.execute(
            "SELECT kind, n, total FROM psycopg_totals WHERE kind = %s", ("snippet",)
        ):
            print(kind, n, total)
# ANCHOR_END: snippet


if __name__ == "__main__":
    run({
        "connect": connects, "tls": tls, "objects": objects, "describe": describe,
        "types_text": lambda: types(False), "types_binary": lambda: types(True),
        "prepared": prepared, "errors": failures, "transactions": transactions,
        "streaming": streaming, "copy_in": copy_in, "copy_out": copy_out, "notices": notices,
        "cancel": cancel, "pool": pool, "application_name": application_name,
        "view": live_view, "subscribe": subscribe, "reconnect": reconnect, "snippet": snippet,
    })
