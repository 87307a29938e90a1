"""asyncpg: always the extended protocol, everything in binary."""

import asyncio
import datetime as dt
import decimal
import io
import ssl
import uuid

import asyncpg

from features import CA, HOST, PASSWORD, PORT, USER, Absent, restart, run, same

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
    ("jsonb", '{"a": [1, null, "x"]}'),
    ("json", '{"a": [1, null, "x"]}'),
    ("integer[]", [1, None, 3]),
    ("text[]", ["a", 'b "c"', None, ""]),
    ("numeric[]", [decimal.Decimal("1.5"), None]),
    ("timestamptz[]", [NOON.replace(tzinfo=dt.timezone.utc)]),
    ("uuid[]", [uuid.UUID(int=7)]),
]


def connect(**more):
    more = {"password": PASSWORD, "ssl": False, **more}
    return asyncpg.connect(host=HOST, port=PORT, user=USER, database="dev", **more)


def plain(value):
    """asyncpg has a class of its own for UUIDs."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return uuid.UUID(str(value)) if isinstance(value, uuid.UUID) else value


async def raises(error, awaited):
    try:
        await awaited
    except error as raised:
        return raised
    raise AssertionError(f"no {error.__name__}")


async def connects():
    conn = await connect()
    same(await conn.fetchval("SELECT current_user"), USER)
    same(conn.get_server_version().major, 16)
    await conn.close()
    await raises(asyncpg.InvalidPasswordError, connect(password="no"))


async def tls():
    conn = await connect(ssl=ssl.create_default_context(cafile=CA))
    same(await conn.fetchval("SELECT 1"), 1)
    await conn.close()


async def objects():
    conn = await connect()
    rows = await conn.fetch("SELECT relname, relkind FROM pg_class WHERE relname LIKE $1 ORDER BY 1", "asyncpg%")
    kinds = {row["relname"]: row["relkind"] for row in rows}
    kinds = {name: kind.decode() if isinstance(kind, bytes) else kind for name, kind in kinds.items()}
    same([kinds[f"asyncpg_{name}"] for name in ("events", "kinds", "totals")], ["r", "v", "m"])
    same(await conn.fetchval("SELECT matviewname FROM pg_matviews WHERE matviewname LIKE 'asyncpg%'"), "asyncpg_totals")
    await conn.close()


async def describe():
    conn = await connect()
    statement = await conn.prepare("SELECT * FROM asyncpg_totals WHERE n > $1")
    same([(a.name, a.type.name) for a in statement.get_attributes()],
         [("kind", "text"), ("n", "int8"), ("total", "float8")])
    same([p.name for p in statement.get_parameters()], ["int8"])
    rows = await conn.fetch(
        "SELECT column_name, udt_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position",
        "asyncpg_events")
    same([tuple(row) for row in rows], [("id", "int4"), ("kind", "text"), ("amount", "float8")])
    await conn.close()


def types_text():
    raise Absent("the driver asks for binary only")


async def types_binary():
    conn = await connect()
    for sql, value in VALUES:
        for given in (value, None):
            same(plain(await conn.fetchval(f"SELECT $1::{sql}", given)), given)
    names = ", ".join(f"c{n} {sql}" for n, (sql, _) in enumerate(VALUES))
    await conn.execute("DROP TABLE IF EXISTS asyncpg_types")
    await conn.execute(f"CREATE TABLE asyncpg_types ({names})")
    marks = ", ".join(f"${n + 1}" for n in range(len(VALUES)))
    row = tuple(value for _, value in VALUES)
    await conn.execute(f"INSERT INTO asyncpg_types VALUES ({marks})", *row)
    found = await conn.fetchrow("SELECT * FROM asyncpg_types WHERE c2 = $1 AND c7 = $2 AND c12 = $3", row[2], row[7], row[12])
    same(tuple(plain(value) for value in found), row)
    # Types that asyncpg asks the catalog for.
    await conn.set_type_codec("jsonb", encoder=str, decoder=str, schema="pg_catalog")
    await conn.reload_schema_state()
    await conn.close()


async def prepared():
    conn = await connect()
    statement = await conn.prepare("SELECT $1::bigint + 1")
    for n in range(8):
        same(await statement.fetchval(n), n + 1)
    for columns in ("1 AS a", "1 AS a, 'x' AS b"):
        await conn.execute("DROP VIEW IF EXISTS asyncpg_v")
        await conn.execute(f"CREATE VIEW asyncpg_v AS SELECT {columns}")
        # Once a statement has changed the driver prepares it anew by itself.
        same(len(await conn.fetchrow("SELECT * FROM asyncpg_v")), columns.count("AS"))
    await conn.executemany("INSERT INTO asyncpg_events VALUES ($1, 'many', $2)", [(n, n / 2) for n in range(50, 60)])
    same(await conn.fetchval("SELECT n FROM asyncpg_totals WHERE kind = 'many'"), 10)
    await conn.close()


async def failures():
    conn = await connect()
    error = await raises(asyncpg.UndefinedColumnError, conn.fetch("SELECT 1, nothing FROM asyncpg_events"))
    same((error.sqlstate, error.position), ("42703", "11"))
    await raises(asyncpg.DivisionByZeroError, conn.fetch("SELECT 1 / 0"))
    await raises(asyncpg.PostgresSyntaxError, conn.fetch("SELEC 1"))
    await conn.execute("INSERT INTO asyncpg_events VALUES (1, 'a', 1)")
    error = await raises(asyncpg.UniqueViolationError, conn.execute("INSERT INTO asyncpg_events VALUES (1, 'a', 1)"))
    same(error.detail, "Key (id)=(1) already exists.")
    await raises(asyncpg.DataError, conn.fetchval("SELECT $1::int", "x"))
    await conn.close()


async def transactions():
    conn, other = await connect(), await connect()
    count = "SELECT count(*) FROM asyncpg_events WHERE kind = 'tx'"
    async with conn.transaction():
        await conn.execute("INSERT INTO asyncpg_events VALUES ($1, 'tx', 1)", 100)
        same(await other.fetchval(count), 0)
        inner = conn.transaction()
        await inner.start()
        await conn.execute("INSERT INTO asyncpg_events VALUES ($1, 'tx', 1)", 101)
        await inner.rollback()
    same(await other.fetchval(count), 1)
    outer = conn.transaction(isolation="read_committed", readonly=True)
    await outer.start()
    await raises(asyncpg.ReadOnlySQLTransactionError, conn.execute("DELETE FROM asyncpg_events"))
    await raises(asyncpg.InFailedSQLTransactionError, conn.fetch("SELECT 1"))
    await outer.rollback()
    same(await conn.fetchval("SELECT 1"), 1)
    # Without a transaction of their own, many take effect together.
    insert = "INSERT INTO asyncpg_events VALUES ($1, 'tx', 1)"
    await raises(asyncpg.UniqueViolationError, conn.executemany(insert, [(110,), (111,), (100,), (112,)]))
    await raises(asyncpg.UniqueViolationError, conn.execute(
        "INSERT INTO asyncpg_events VALUES (113, 'tx', 1); INSERT INTO asyncpg_events VALUES (100, 'tx', 1)"))
    same(await other.fetchval(count), 1)
    await conn.executemany(insert, [(110,), (111,)])
    same(await other.fetchval(count), 3)
    await conn.close()
    await other.close()


async def streaming():
    conn = await connect()
    async with conn.transaction():
        total = 0
        async for (x,) in conn.cursor("SELECT x FROM generate_series(1, 20000) AS g(x)", prefetch=1000):
            total += x
        same(total, 200010000)
        cursor = await conn.cursor("SELECT x FROM generate_series(1, 10) AS g(x)")
        same([row[0] for row in await cursor.fetch(3)], [1, 2, 3])
        same(await cursor.forward(2), 2)
        same((await cursor.fetchrow())[0], 6)
    await conn.close()


async def copy_in():
    conn = await connect()
    records = [(n, "copied\tin", None if n % 2 else n / 4) for n in range(1000, 2000)]
    same(await conn.copy_records_to_table("asyncpg_events", records=records), "COPY 1000")
    data = io.BytesIO(b"2000;\"copied\tin\";7\n")
    same(await conn.copy_to_table("asyncpg_events", source=data, format="csv", delimiter=";"), "COPY 1")
    same(await conn.fetchval("SELECT count(amount) FROM asyncpg_events WHERE kind = $1", "copied\tin"), 501)
    await conn.close()


async def copy_out():
    conn = await connect()
    out = io.BytesIO()
    count = await conn.fetchval("SELECT count(*) FROM asyncpg_events")
    same(await conn.copy_from_table("asyncpg_events", output=out, columns=["kind", "id"], format="csv", header=True), f"COPY {count}")
    assert b"copied\tin,2000\n" in out.getvalue() and out.getvalue().startswith(b"kind,id\n")
    out = io.BytesIO()
    same(await conn.copy_from_query("SELECT id, amount FROM asyncpg_events WHERE id >= $1", 2000, output=out, format="binary"), "COPY 1")
    same(out.getvalue()[:11], b"PGCOPY\n\xff\r\n\x00")
    await conn.close()


async def notices():
    conn = await connect()
    heard = []
    conn.add_log_listener(lambda _, message: heard.append((message.severity, message.message)))
    await conn.execute("DROP TABLE IF EXISTS asyncpg_nothing")
    await asyncio.sleep(0)
    same(heard, [("NOTICE", 'table "asyncpg_nothing" does not exist, skipping')])
    await conn.close()


async def cancel():
    conn = await connect()
    endless = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c"
    await raises(asyncio.TimeoutError, conn.fetch(endless, timeout=0.2))
    same(await conn.fetchval("SELECT 1"), 1)
    await conn.close()


async def pool():
    async with asyncpg.create_pool(host=HOST, port=PORT, user=USER, password=PASSWORD, database="dev", ssl=False, min_size=1, max_size=1) as connections:
        async with connections.acquire() as conn:
            await conn.execute("SET application_name = 'other'")
        async with connections.acquire() as conn:
            same(await conn.fetchval("SHOW application_name") != "other", True)


async def application_name():
    conn = await connect(server_settings={"application_name": "asyncpg test"})
    same(await conn.fetchval("SHOW application_name"), "asyncpg test")
    same(conn.get_settings().application_name, "asyncpg test")
    await conn.close()


async def reconnect():
    conn = await connect()
    restart()
    await raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError), conn.fetch("SELECT 1"))
    conn = await connect()
    same(await conn.fetchval("SELECT count(*) > 0 FROM asyncpg_events"), True)
    await conn.close()


async def live_view():
    conn = await connect()
    for n, amount in ((1, 2.5), (2, 4.0)):
        await conn.execute("INSERT INTO asyncpg_events VALUES ($1, 'live', $2)", 3000 + n, amount)
        same(await conn.fetchval("SELECT n FROM asyncpg_totals WHERE kind = $1", "live"), n)
    await conn.close()


async def subscribe():
    conn, other = await connect(), await connect()
    async with conn.transaction():
        await conn.execute("DECLARE changes CURSOR FOR SUBSCRIBE TO asyncpg_totals WITH (snapshot = false)")
        await other.execute("INSERT INTO asyncpg_events VALUES (4001, 'followed', 1)")
        rows = await conn.fetch("FETCH ALL changes WITH (timeout = '10s')")
        same([tuple(row)[1:4] for row in rows], [(1, "followed", 1)])
    await conn.close()
    await other.close()


# ANCHOR: snippet
async def snippet():
    conn = await asyncpg.connect(host=HOST, port=PORT, database="dev", user=USER, password=PASSWORD)
    await conn.execute("INSERT INTO asyncpg_events VALUES ($1, $2, $3)", 9001, "snippet", 2.5)
    for row in await conn.fetch("SELECT kind, n, total FROM asyncpg_totals WHERE kind = $1", "snippet"):
        print(row["kind"], row["n"], row["total"])
    await conn.close()
# ANCHOR_END: snippet


def waiting(test):
    return lambda: asyncio.run(asyncio.wait_for(test(), 60))


if __name__ == "__main__":
    run({
        "connect": waiting(connects), "tls": waiting(tls), "objects": waiting(objects),
        "describe": waiting(describe), "types_text": types_text, "types_binary": waiting(types_binary),
        "prepared": waiting(prepared), "errors": waiting(failures), "transactions": waiting(transactions),
        "streaming": waiting(streaming), "copy_in": waiting(copy_in), "copy_out": waiting(copy_out),
        "notices": waiting(notices), "cancel": waiting(cancel), "pool": waiting(pool),
        "application_name": waiting(application_name), "view": waiting(live_view),
        "subscribe": waiting(subscribe), "reconnect": waiting(reconnect), "snippet": waiting(snippet),
    })
