"""psql, as a person and as scripts use it."""

import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import tempfile

from features import CA, HOST, PASSWORD, PORT, USER, Absent, restart, run, same

ENVIRONMENT = {**os.environ, "PGHOST": HOST, "PGPORT": str(PORT), "PGUSER": USER, "PGDATABASE": "dev",
               "PGPASSWORD": PASSWORD, "PGSSLMODE": "disable", "PSQL_PAGER": "", "LC_ALL": "C.UTF-8"}


def start(*options, **environment):
    # Lines leave at once, as they do on a terminal.
    return subprocess.Popen(["stdbuf", "-oL", "psql", "-X", *options], env={**ENVIRONMENT, **environment}, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def psql(script, *options, **environment):
    """What psql writes for a script: results unaligned, without names."""
    process = start("-qAt", *options, **environment)
    out, err = process.communicate(script, timeout=60)
    return out.rstrip("\n"), err.rstrip("\n")


def good(script, *options, **environment):
    out, err = psql(script, *options, **environment)
    same(err, "")
    return out


def connects():
    same(good("SELECT current_user"), USER)
    assert "password authentication failed" in psql("SELECT 1", PGPASSWORD="no")[1]


def tls():
    out = good("\\conninfo", PGSSLMODE="verify-full", PGSSLROOTCERT=CA)
    assert "SSL connection (protocol: TLSv1." in out, out


def objects():
    lines = good("\\dt psql_*\n\\dv psql_*\n\\dm psql_*").split("\n")
    kinds = {line.split("|")[1]: line.split("|")[2] for line in lines}
    same(kinds, {"psql_events": "table", "psql_kinds": "view", "psql_totals": "materialized view"})
    listed = good("\\d")
    assert f"public|psql_totals|materialized view|{USER}" in listed.split("\n"), listed
    for command in ("\\dt+", "\\dm+", "\\l", "\\dn", "\\du", "\\df", "\\di", "\\dT", "\\dp", "\\db", "\\dx"):
        good(command)


def describe():
    same(good("\\d psql_events"), "id|integer||not null|\nkind|text||not null|\namount|double precision|||")
    # What stands below a table is shown with its names only.
    below = ("-P", "tuples_only=off")
    out = good("\\d psql_events", *below)
    assert 'Indexes:\n    "psql_events_pkey" PRIMARY KEY, btree (id)' in out, out
    out = good("\\d+ psql_totals", *below)
    assert "n|bigint|" in out and "View definition:" in out and "count(*)" in out, out
    same(good("SELECT id, kind, amount FROM psql_events WHERE id = 1 \\gdesc"), "id|integer\nkind|text\namount|double precision")


VALUES = [
    ("boolean", "t"), ("smallint", "-32768"), ("integer", "2147483647"), ("bigint", "-9223372036854775808"),
    ("real", "1.5"), ("double precision", "0.1"), ("numeric", "12345678901234567890123456789.123456789"),
    ("text", "h\u00e9llo \u20ac"), ("bytea", "\\x00ff5c"), ("date", "2024-02-29"), ("time", "12:30:00.123456"),
    ("timestamp", "2024-02-29 12:30:00.123456"), ("timestamptz", "2024-02-29 12:30:00.123456+00"),
    ("interval", "1 mon 2 days 03:04:05.6"), ("uuid", "12345678-1234-5678-1234-567812345678"),
    ("jsonb", '{"a": [1, null]}'), ("integer[]", "{1,NULL,3}"), ("text[]", '{a,"b \\"c\\"",NULL,""}'),
]


def types_text():
    for sql, value in VALUES:
        text = value.replace("'", "''")
        same(good(f"SELECT '{text}'::{sql}, NULL::{sql}"), f"{value}|")
        same(good(f"\\set v '{text.replace(chr(92), chr(92) * 2)}'\nSELECT :'v'::{sql}"), value)


def types_binary():
    raise Absent("psql asks for text only")


def prepared():
    same(good("PREPARE p (bigint) AS SELECT $1 + 1;\nEXECUTE p(1);\nEXECUTE p(41);\nDEALLOCATE p;"), "2\n42")


def failures():
    _, err = psql("SELECT 1,\n  nothing FROM psql_events;", "-v", "VERBOSITY=verbose")
    same(err.split("\n")[:3], ['ERROR:  42703: column "nothing" does not exist', "LINE 2:   nothing FROM psql_events;", "          ^"])
    _, err = psql("SELECT 1; SELECT * FROM nowhere;")
    same(err.split("\n"), ['ERROR:  relation "nowhere" does not exist', "LINE 1: SELECT * FROM nowhere;", "                      ^"])
    same(psql("SELECT 1/0;\n\\echo :LAST_ERROR_SQLSTATE :ROW_COUNT")[0], "22012 0")
    process = start("-v", "ON_ERROR_STOP=1", "-c", "SELECT nothing")
    process.communicate()
    same(process.returncode, 1)


def transactions():
    out, err = psql("""BEGIN; INSERT INTO psql_events VALUES (100, 'tx', 1); SAVEPOINT a;
        INSERT INTO psql_events VALUES (100, 'tx', 1);
        SELECT 1;
        ROLLBACK TO a; SELECT count(*) FROM psql_events WHERE kind = 'tx'; ROLLBACK;
        SELECT count(*) FROM psql_events WHERE kind = 'tx';""")
    same(out, "1\n0")
    same([line for line in err.split("\n") if line.startswith("ERROR")],
         ['ERROR:  duplicate key value violates unique constraint "psql_events_pkey"',
          "ERROR:  current transaction is aborted, commands ignored until end of transaction block"])
    # Of one string either all statements take effect or none.
    insert = "INSERT INTO psql_events VALUES (%d, 'tx', 1);"
    err = psql("", "-c", insert % 110 + insert % 110)[1]
    same(err.split("\n")[0], 'ERROR:  duplicate key value violates unique constraint "psql_events_pkey"')
    same(good("SELECT count(*) FROM psql_events WHERE kind = 'tx';"), "0")
    same(good("\\set ON_ERROR_ROLLBACK on\nBEGIN;\nSELECT 1;\nCOMMIT;"), "1")


def streaming():
    out = good("\\set FETCH_COUNT 1000\nSELECT x FROM generate_series(1, 20000) AS g(x);")
    same(sum(int(line) for line in out.split("\n")), 200010000)


def copy_in():
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "in.csv")
        path.write_text('id,kind,amount\n1000,"copied, in",2.5\n1001,"copied, in",\n')
        good(f"\\copy psql_events FROM '{path}' WITH (FORMAT csv, HEADER match)")
        good("COPY psql_events FROM STDIN;\n1002\tcopied\\tin\t\\N\n\\.\n")
        path.write_text("1003\ta\t1\nx\ta\t1\n")
        err = psql(f"\\copy psql_events FROM '{path}'", "-v", "VERBOSITY=verbose")[1]
        same(err.split("\n")[:2], ['ERROR:  22P02: invalid input syntax for type integer: "x"',
                                   'CONTEXT:  COPY psql_events, line 2, column id: "x"'])
    same(good("SELECT id, amount FROM psql_events WHERE id BETWEEN 1000 AND 1099 ORDER BY id"), "1000|2.5\n1001|\n1002|")
    assert "COPY 1" in start("-c", "COPY psql_events FROM STDIN").communicate("1004\ta\t1\n")[0]


def copy_out():
    same(good("COPY (SELECT id, kind, amount FROM psql_events WHERE id IN (1000, 1002) ORDER BY id) TO STDOUT"),
         "1000\tcopied, in\t2.5\n1002\tcopied\\tin\t\\N")
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "out")
        good(f"\\copy (SELECT id, kind, amount FROM psql_events WHERE id IN (1000, 1001) ORDER BY id) TO '{path}' CSV HEADER")
        same(path.read_text(), 'id,kind,amount\n1000,"copied, in",2.5\n1001,"copied, in",\n')
        good(f"\\copy psql_totals TO '{path}' (FORMAT binary)")
        same(path.read_bytes()[:11], b"PGCOPY\n\xff\r\n\0")
        # A binary copy goes back in.
        good(f"CREATE TABLE psql_back (kind TEXT, n BIGINT, total FLOAT8);\n\\copy psql_back FROM '{path}' (FORMAT binary)")
        same(good("SELECT count(*) FROM psql_back"), good("SELECT count(*) FROM psql_totals"))


def notices():
    same(psql("DROP TABLE IF EXISTS psql_nothing;")[1], 'NOTICE:  table "psql_nothing" does not exist, skipping')
    assert re.search(r"Time: \d+\.\d+ ms", good("\\timing on\nSELECT 1;"))


def cancel():
    process = start("-c", "\\echo begun", "-c", "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, "
                    "generate_series(1, 100000) c", "-At")
    same(process.stdout.readline(), "begun\n")
    # Ctrl-C has no effect before the query has begun: ask until it has worked.
    while not select.select([process.stderr], [], [], 0.1)[0] and process.poll() is None:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    same((out, err.strip().split("\n")[-1]), ("", "ERROR:  canceling statement due to user request"))


def watch():
    """\\watch goes on until Ctrl-C."""
    process = start("-At")
    process.stdin.write("SELECT 'seen' \\watch 0.1\n")
    process.stdin.flush()
    seen = 0
    while seen < 3:
        seen += "seen" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def pool():
    same(good("SET application_name = 'other'; PREPARE p AS SELECT 1; DISCARD ALL; SHOW application_name;"), "psql")


def application_name():
    same(good("SHOW application_name", PGAPPNAME="psql test"), "psql test")
    same(good("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()", PGAPPNAME="psql test"), "psql test")


def reconnect():
    """As at a terminal: the first statement fails, psql connects again, the next one works."""
    here, there = pty.openpty()
    process = subprocess.Popen(["psql", "-XqAt"], env={**ENVIRONMENT, "TERM": "dumb"}, stdin=there, stdout=there, stderr=there, close_fds=True)
    os.write(here, b"SELECT 'fi' || 'rst';\n")
    until(here, "first")
    restart()
    os.write(here, b"SELECT 'sec' || 'ond';\n")
    seen = until(here, "Succeeded")
    assert "server closed the connection unexpectedly" in seen, seen
    os.write(here, b"SELECT 'th' || 'ird';\n")
    until(here, "third")
    os.write(here, b"\\q\n")
    process.wait(timeout=30)


def until(terminal, wanted):
    """What is written up to a text."""
    seen = ""
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, f"no {wanted!r} in {seen!r}"
        seen += os.read(terminal, 4096).decode()
    return seen


def live_view():
    same(good("""INSERT INTO psql_events VALUES (3001, 'live', 2.5); SELECT n, total FROM psql_totals WHERE kind = 'live';
        INSERT INTO psql_events VALUES (3002, 'live', 4); SELECT n, total FROM psql_totals WHERE kind = 'live';"""), "1|2.5\n2|6.5")
    watch()


def subscribe():
    out = good("""BEGIN; DECLARE c CURSOR FOR SUBSCRIBE TO psql_totals; FETCH 1 c WITH (timeout = '10s'); CLOSE c; COMMIT;""")
    assert "|1|" in out, out
    # Without a cursor it goes on until there is enough of it.
    process = start("-At", "-c", "COPY (SUBSCRIBE TO psql_totals) TO STDOUT")
    assert "\t1\t" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


SNIPPET = r"""
# ANCHOR: snippet
psql "host=$MILLRACE_HOST port=$MILLRACE_PORT dbname=dev user=$MILLRACE_USER password=$MILLRACE_PASSWORD" <<'SQL'
INSERT INTO psql_events VALUES (9001, 'snippet', 2.5);
SELECT kind, n, total FROM psql_totals WHERE kind = 'snippet';
\copy (SELECT * FROM psql_totals) TO '/dev/null' CSV HEADER
SQL
# ANCHOR_END: snippet
"""


def snippet():
    done = subprocess.run(["sh", "-ec", SNIPPET], env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=True)
    same((done.stderr, "snippet |" in done.stdout), ("", True))


if __name__ == "__main__":
    run({
        "connect": connects, "tls": tls, "objects": objects, "describe": describe,
        "types_text": types_text, "types_binary": types_binary, "prepared": prepared, "errors": failures,
        "transactions": transactions, "streaming": streaming, "copy_in": copy_in, "copy_out": copy_out,
        "notices": notices, "cancel": cancel, "pool": pool, "application_name": application_name,
        "view": live_view, "subscribe": subscribe, "reconnect": reconnect, "snippet": snippet,
    })
