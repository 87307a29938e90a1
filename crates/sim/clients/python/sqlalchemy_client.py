"""SQLAlchemy over psycopg, and pandas over SQLAlchemy."""

import datetime as dt
import decimal
import threading
import uuid

import pandas
import sqlalchemy as sa
from sqlalchemy import exc, orm
from sqlalchemy.dialects import postgresql as pg

from features import CA, HOST, PASSWORD, PORT, USER, fails, restart, run, same

URL = f"postgresql+psycopg://{USER}:{PASSWORD}@{HOST}:{PORT}/dev"
ENGINE = sa.create_engine(URL)
NOON = dt.datetime(2024, 2, 29, 12, 30, 0, 123456)
VALUES = [
    (sa.Boolean, True),
    (sa.SmallInteger, -32768),
    (sa.Integer, 2**31 - 1),
    (sa.BigInteger, -(2**63)),
    (sa.REAL, 1.5),
    (sa.Double, 0.1),
    (sa.Numeric, decimal.Decimal("12345678901234567890123456789.123456789")),
    (sa.Text, "h\u00e9llo \u20ac \U0001f600"),
    (sa.LargeBinary, b"\x00\xff\\x"),
    (sa.Date, NOON.date()),
    (sa.Time, NOON.time()),
    (sa.DateTime, NOON),
    (sa.DateTime(timezone=True), NOON.replace(tzinfo=dt.timezone.utc)),
    (sa.Interval, dt.timedelta(days=1, seconds=2, microseconds=3)),
    (sa.Uuid, uuid.UUID("12345678-1234-5678-1234-567812345678")),
    (pg.JSONB, {"a": [1, None, "x"]}),
    (sa.ARRAY(sa.Integer), [1, None, 3]),
    (sa.ARRAY(sa.Text), ["a", 'b "c"', None, ""]),
]


class Base(orm.DeclarativeBase):
    pass


class Event(Base):
    __tablename__ = "sqlalchemy_events"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    kind: orm.Mapped[str]
    amount: orm.Mapped[float | None]


def connects():
    with ENGINE.connect() as conn:
        same(conn.scalar(sa.text("SELECT current_user")), USER)
    wrong = sa.create_engine(URL.replace(PASSWORD + "@", "no@"))
    assert "password authentication failed" in str(fails(exc.OperationalError, wrong.connect))


def tls():
    engine = sa.create_engine(URL, connect_args={"sslmode": "verify-full", "sslrootcert": CA})
    with engine.connect() as conn:
        same(conn.connection.driver_connection.pgconn.ssl_in_use, True)


def objects():
    inspector = sa.inspect(ENGINE)
    own = lambda names: sorted(name for name in names if name.startswith("sqlalchemy_"))
    same(own(inspector.get_table_names()), ["sqlalchemy_events"])
    same(own(inspector.get_view_names()), ["sqlalchemy_kinds"])
    same(own(inspector.get_materialized_view_names()), ["sqlalchemy_totals"])
    assert "public" in inspector.get_schema_names()
    same((inspector.has_table("sqlalchemy_events"), inspector.has_table("nowhere")), (True, False))


def describe():
    inspector = sa.inspect(ENGINE)
    columns = inspector.get_columns("sqlalchemy_events")
    same([(c["name"], str(c["type"]), c["nullable"]) for c in columns],
         [("id", "INTEGER", False), ("kind", "TEXT", False), ("amount", "DOUBLE PRECISION", True)])
    same([c["name"] for c in inspector.get_columns("sqlalchemy_totals")], ["kind", "n", "total"])
    same(inspector.get_pk_constraint("sqlalchemy_events")["constrained_columns"], ["id"])
    same(inspector.get_foreign_keys("sqlalchemy_events"), [])
    inspector.get_indexes("sqlalchemy_events")
    assert "count" in inspector.get_view_definition("sqlalchemy_totals").lower()
    table = sa.Table("sqlalchemy_events", sa.MetaData(), autoload_with=ENGINE)
    same([c.name for c in table.primary_key], ["id"])


def types(binary):
    # The dialect reads arrays and documents in text itself, so only the parameters of the driver differ.
    engine = sa.create_engine(URL, connect_args={"cursor_factory": cursors(binary)})
    metadata = sa.MetaData()
    table = sa.Table("sqlalchemy_types", metadata, *[sa.Column(f"c{n}", kind) for n, (kind, _) in enumerate(VALUES)])
    metadata.drop_all(engine)
    metadata.create_all(engine)
    row = tuple(value for _, value in VALUES)
    with engine.begin() as conn:
        conn.execute(sa.insert(table), dict(zip(table.c.keys(), row)))
        conn.execute(sa.insert(table), {"c2": 7})
        found = conn.execute(sa.select(table).where(table.c.c2 == row[2], table.c.c7 == row[7], table.c.c12 == row[12]))
        same(tuple(found.one()), row)
        same(set(conn.execute(sa.select(table).where(table.c.c2 == 7)).one()), {7, None})
        same(conn.scalar(sa.select(sa.func.count()).where(table.c.c2.in_([1, 7, row[2]]))), 2)


def cursors(binary):
    import psycopg

    def make(connection, **options):
        cursor = psycopg.Cursor(connection, **options)
        cursor.format = psycopg.pq.Format.BINARY if binary else psycopg.pq.Format.TEXT
        return cursor

    return make


def prepared():
    with ENGINE.connect() as conn:
        for n in range(8):
            same(conn.scalar(sa.text("SELECT CAST(:n AS bigint) + 1"), {"n": n}), n + 1)


def failures():
    with ENGINE.connect() as conn:
        error = fails(exc.ProgrammingError, lambda: conn.execute(sa.text("SELECT 1, nothing FROM sqlalchemy_events")))
        same((error.orig.sqlstate, error.orig.diag.statement_position), ("42703", "11"))
        conn.rollback()
        fails(exc.DataError, lambda: conn.execute(sa.text("SELECT 1 / 0")))
    with orm.Session(ENGINE) as session:
        session.add_all([Event(id=1, kind="a", amount=1.0)])
        session.commit()
        session.add(Event(id=1, kind="a", amount=1.0))
        session.expunge_all()
        again = lambda: session.execute(sa.insert(Event).values(id=1, kind="a"))
        same(fails(exc.IntegrityError, again).orig.diag.message_detail, "Key (id)=(1) already exists.")


def transactions():
    count = sa.select(sa.func.count()).where(Event.kind == "tx")
    with ENGINE.begin() as conn:
        conn.execute(sa.insert(Event).values(id=100, kind="tx", amount=1))
        nested = conn.begin_nested()
        fails(exc.IntegrityError, lambda: conn.execute(sa.insert(Event).values(id=100, kind="tx")))
        nested.rollback()
    with ENGINE.connect() as conn:
        conn.execute(sa.insert(Event).values(id=101, kind="tx", amount=1))
        conn.rollback()
        same(conn.scalar(count), 1)
    with ENGINE.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(sa.delete(Event).where(Event.id == 100))
    with orm.Session(ENGINE) as session:
        same(session.scalar(count), 0)
        event = Event(id=102, kind="orm", amount=None)
        session.add(event)
        session.flush()
        event.amount = 2.0
        session.commit()
        same(session.get(Event, 102).amount, 2.0)


def streaming():
    sql = sa.text("SELECT x FROM generate_series(1, 20000) AS g(x)")
    with ENGINE.connect() as conn:
        rows = conn.execution_options(stream_results=True, yield_per=1000).execute(sql)
        same(sum(x for portion in rows.partitions() for (x,) in portion), 200010000)
    with ENGINE.connect().execution_options(stream_results=True) as conn:
        portions = pandas.read_sql(sql, conn, chunksize=5000)
        same([len(portion) for portion in portions], [5000] * 4)


def copy_in():
    def copy(table, conn, keys, rows):
        cursor = conn.connection.cursor()
        with cursor.copy(f"COPY {table.name} ({', '.join(keys)}) FROM STDIN") as lines:
            for row in rows:
                lines.write_row(row)
        return cursor.rowcount

    frame = pandas.DataFrame({"id": range(1000, 2000), "kind": "copied", "amount": 0.5})
    frame.to_sql("sqlalchemy_events", ENGINE, if_exists="append", index=False, method=copy)
    frame = pandas.DataFrame({"id": range(2000, 2100), "kind": "inserted", "amount": 0.5})
    frame.to_sql("sqlalchemy_events", ENGINE, if_exists="append", index=False, method="multi")
    frame.to_sql("sqlalchemy_frame", ENGINE, if_exists="replace", index=False)
    with ENGINE.connect() as conn:
        rows = conn.execute(sa.text("SELECT kind, n FROM sqlalchemy_totals WHERE n >= 100 ORDER BY kind"))
        same([tuple(row) for row in rows], [("copied", 1000), ("inserted", 100)])
        same(conn.scalar(sa.text("SELECT count(*) FROM sqlalchemy_frame")), 100)


def copy_out():
    with ENGINE.connect() as conn:
        cursor = conn.connection.cursor()
        with cursor.copy("COPY (SELECT id, kind FROM sqlalchemy_events WHERE id = 1000) TO STDOUT CSV HEADER") as data:
            same(b"".join(data), b"id,kind\n1000,copied\n")


def notices():
    with ENGINE.connect() as conn:
        heard = []
        conn.connection.driver_connection.add_notice_handler(lambda notice: heard.append(notice.message_primary))
        conn.execute(sa.text("DROP TABLE IF EXISTS sqlalchemy_nothing"))
        same(heard[0], 'table "sqlalchemy_nothing" does not exist, skipping')


def cancel():
    endless = sa.text("SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c")
    with ENGINE.connect() as conn:
        over = threading.Event()
        driver = conn.connection.driver_connection

        def ask():
            while not over.wait(0.05):
                driver.cancel()

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            same(fails(exc.OperationalError, lambda: conn.execute(endless)).orig.sqlstate, "57014")
        finally:
            over.set()
            asking.join()


def pool():
    engine = sa.create_engine(URL, pool_size=1, max_overflow=0, pool_pre_ping=True)

    @sa.event.listens_for(engine, "reset")
    def reset(connection, record, state):
        connection.rollback()
        connection.autocommit = True
        connection.execute("DISCARD ALL")
        connection.autocommit = False

    with engine.connect() as conn:
        conn.execute(sa.text("SET application_name = 'other'"))
        conn.commit()
    with engine.connect() as conn:
        same(conn.scalar(sa.text("SHOW application_name")) != "other", True)


def application_name():
    engine = sa.create_engine(URL, connect_args={"application_name": "sqlalchemy test"})
    with engine.connect() as conn:
        same(conn.scalar(sa.text("SHOW application_name")), "sqlalchemy test")
        same(conn.scalar(sa.text("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")), "sqlalchemy test")


def live_view():
    for n in (1, 2):
        with ENGINE.begin() as conn:
            conn.execute(sa.insert(Event).values(id=3000 + n, kind="live", amount=2.5))
        frame = pandas.read_sql(sa.text("SELECT * FROM sqlalchemy_totals WHERE kind = :kind"), ENGINE, params={"kind": "live"})
        same([(int(row.n), float(row.total)) for row in frame.itertuples()], [(n, 2.5 * n)])


def subscribe():
    with ENGINE.connect() as conn:
        conn.execute(sa.text("DECLARE changes CURSOR FOR SUBSCRIBE TO sqlalchemy_totals WITH (snapshot = false)"))
        with ENGINE.begin() as other:
            other.execute(sa.insert(Event).values(id=4001, kind="followed", amount=1))
        frame = pandas.DataFrame(conn.execute(sa.text("FETCH ALL changes WITH (timeout = '10s')")).mappings())
        same((list(frame["kind"]), [int(n) for n in frame["n"]]), (["followed"], [1]))


def reconnect():
    engine = sa.create_engine(URL, pool_pre_ping=True)
    with engine.connect() as conn:
        conn.execute(sa.text("SELECT 1"))
    restart()
    # The pool sees that the connection is gone before it hands it out.
    with engine.connect() as conn:
        same(conn.scalar(sa.text("SELECT count(*) > 0 FROM sqlalchemy_events")), True)


# ANCHOR: snippet
def snippet():
    engine = sa.create_engine(f"postgresql+psycopg://{USER}:{PASSWORD}@{HOST}:{PORT}/dev")
    with engine.begin() as conn:
        insert = sa.text("INSERT INTO sqlalchemy_events VALUES (:id, :kind, :amount)")
        conn.execute(insert, {"id": 9001, "kind": "snippet", "amount": 2.5})
    print(pandas.read_sql("SELECT kind, n, total FROM sqlalchemy_totals", engine))
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
