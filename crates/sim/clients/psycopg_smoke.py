"""What a Python program does with Millrace, over psycopg 3: DDL, parameters, types in text and
binary, errors, several statements, cursors. Starts a server of its own.

    psycopg_smoke.py PATH-OF-MILLRACE
"""

import datetime as dt
import decimal
import re
import signal
import subprocess
import sys
import tempfile
import time

import psycopg
from psycopg import errors


def check(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: got {got!r}, wanted {wanted!r}")


def values(conn):
    """Values there and back, in both formats of the protocol."""
    row = (
        True,
        42,
        2**62,
        1.5,
        decimal.Decimal("12345678901234567890.5"),
        "h\u00e9llo",
        b"\x00\xff",
        dt.date(2024, 2, 29),
        dt.datetime(2024, 2, 29, 12, 30, 0, 123456),
        dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone.utc),
        dt.timedelta(days=1, seconds=2),
        [1, 2, None],
        None,
    )
    sql = """SELECT %s::boolean, %s::integer, %s::bigint, %s::double precision, %s::numeric, %s::text,
                    %s::bytea, %s::date, %s::timestamp, %s::timestamptz, %s::interval, %s::bigint[],
                    %s::text"""
    for binary in (False, True):
        with conn.cursor(binary=binary) as cursor:
            cursor.execute(sql, row)
            check(f"values, binary={binary}", cursor.fetchone(), row)


def declared(conn):
    """Parameters whose types psycopg declares need no cast."""
    one = dt.timedelta(days=1)
    for sql, row, wanted in [
        ("SELECT %s", (7,), 7),
        ("SELECT %s + %s", (1, 2), 3),
        ("SELECT %s", (dt.date(2024, 2, 29),), dt.date(2024, 2, 29)),
        ("SELECT timestamp '2024-02-29' - %s", (one,), dt.datetime(2024, 2, 28)),
        ("SELECT 2 = ANY(%s)", ([1, 2],), True),
        ("SELECT CASE WHEN %s THEN 1 ELSE %s END", (False, 2), 2),
    ]:
        check(sql, conn.execute(sql, row).fetchone(), (wanted,))


def views(conn):
    """A source and a view; rows appear."""
    conn.execute(
        """CREATE SOURCE ticks (id BIGINT, value BIGINT, ts TIMESTAMPTZ,
               WATERMARK FOR ts AS ts - INTERVAL '1 second')
           WITH (connector = 'datagen', rows.per.second = '200', fields.id.kind = 'sequence',
                 fields.value.kind = 'random', fields.value.min = '1', fields.value.max = '9',
                 fields.ts.kind = 'now')"""
    )
    conn.execute(
        """CREATE MATERIALIZED VIEW sums AS SELECT window_start, sum(value) AS total, count(*) AS n
           FROM TUMBLE(ticks, ts, INTERVAL '10 seconds') GROUP BY window_start"""
    )
    deadline = time.monotonic() + 60
    sql = "SELECT window_start, total, n FROM sums WHERE n >= %s ORDER BY window_start"
    while not (rows := conn.execute(sql, (10,)).fetchall()):
        if time.monotonic() > deadline:
            sys.exit("no window has ten rows after a minute")
        time.sleep(0.05)
    start, total, n = rows[0]
    check("window_start is aligned", (start.tzinfo is not None, start.second % 10), (True, 0))
    if not n <= total <= 9 * n:
        sys.exit(f"a sum of {n} values from 1 to 9 cannot be {total}")
    names = [column.name for column in conn.execute("SELECT * FROM sums LIMIT 1").description]
    check("columns", names, ["window_start", "total", "n"])
    with conn.cursor() as cursor:
        cursor.executemany("SELECT n FROM sums WHERE n > %s", [(0,), (5,)], returning=True)
    conn.execute("DROP MATERIALIZED VIEW sums")
    conn.execute("DROP SOURCE ticks")


def failures(conn):
    """Errors are of the right class, and the session goes on."""
    for sql, error in [
        ("SELECT nothing FROM millrace.views", errors.UndefinedColumn),
        ("SELECT * FROM nowhere", errors.UndefinedTable),
        ("SELEC 1", errors.SyntaxError),
        ("SELECT 1 / 0", errors.DivisionByZero),
        ("SELECT 'x'::integer", errors.InvalidTextRepresentation),
        ("CREATE TRIGGER s BEFORE INSERT ON t EXECUTE FUNCTION f()", errors.FeatureNotSupported),
    ]:
        try:
            conn.execute(sql).fetchall()
        except error:
            pass
        else:
            sys.exit(f"{sql}: no {error.__name__}")
    check("after errors", conn.execute("SELECT 1").fetchone(), (1,))


def transactions(conn):
    """Blocks open, fail and end as in PostgreSQL."""
    conn.autocommit = False
    check("in a block", conn.execute("SELECT 1").fetchone(), (1,))
    check("status", conn.info.transaction_status.name, "INTRANS")
    try:
        conn.execute("SELECT nothing")
    except errors.UndefinedColumn:
        pass
    check("status", conn.info.transaction_status.name, "INERROR")
    try:
        conn.execute("SELECT 1")
        sys.exit("a failed block takes a statement")
    except errors.InFailedSqlTransaction:
        pass
    conn.rollback()
    check("status", conn.info.transaction_status.name, "IDLE")
    conn.autocommit = True


def run(address):
    host, port = address.rsplit(":", 1)
    where = f"host={host} port={port} user=root dbname=dev"
    with psycopg.connect(where, autocommit=True) as conn:
        check("server_encoding", conn.info.encoding, "utf-8")
        values(conn)
        declared(conn)
        views(conn)
        failures(conn)
        transactions(conn)
        # A statement that is run often is prepared on the server after five times.
        for n in range(8):
            check("prepared", conn.execute("SELECT %s::bigint + 1", (n,)).fetchone(), (n + 1,))


def main():
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.argv[1], "serve", "--data-dir", directory, "--listen", "127.0.0.1:0"]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        log = []
        try:
            for line in server.stderr:
                log.append(line)
                if found := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
                    run(found.group(1))
                    break
            else:
                sys.exit("the server did not start:\n" + "".join(log))
            server.send_signal(signal.SIGTERM)
            log += server.stderr.readlines()
            check("exit status", server.wait(timeout=60), 0)
            complaints = [line for line in log if re.match(r"\S+\s+(WARN|ERROR)\b", line)]
            check("log", complaints, [])
        finally:
            server.kill()
    print("psycopg", psycopg.__version__, "works")


main()
