"""Cupola as psycopg sees it: simple and extended protocol, parameters, binary results, cursors, errors, introspection."""

import datetime
import sys

import psycopg

host, port = sys.argv[1].rsplit(":", 1)


def connect(database: str = "default") -> psycopg.Connection:
    return psycopg.connect(host=host, port=port, dbname=database, user="anyone", sslmode="disable", autocommit=True)


def fails(connection: psycopg.Connection, sql: str, sqlstate: str) -> None:
    try:
        connection.execute(sql)
    except psycopg.Error as error:
        assert error.sqlstate == sqlstate, (sql, error.sqlstate, error)
        return
    raise AssertionError(f"{sql} should fail")


with connect() as db:
    # Parameters, in text and in binary results.
    for binary in (False, True):
        cursor = db.cursor(binary=binary)
        cursor.execute("SELECT name, duration, timestamp FROM spans WHERE service_name = %s AND duration >= %s ORDER BY timestamp",
                       ("cart", 30_000_000))
        rows = cursor.fetchall()
        assert [(row[0], row[1]) for row in rows] == [("load cart", 30_000_000)], rows
        assert rows[0][2] == datetime.datetime(2026, 1, 1, 0, 0, 0, 10_000, tzinfo=datetime.timezone.utc), rows
    # Prepared once, executed again over a fresh snapshot each time.
    for _ in range(3):
        count = db.execute("SELECT count(*) FROM logs WHERE level >= %s", ("info",), prepare=True).fetchone()
        assert count == (2,), count
    # Attributes are JSON text and readable by key.
    route = db.execute("SELECT attributes->>'http.route' FROM spans WHERE name = 'GET /cart'").fetchone()
    assert route == ("/cart",), route
    # A query on words.
    found = db.execute("SELECT body FROM logs WHERE match(body, %s)", ("timeout payment",)).fetchall()
    assert found == [("payment failed: Timeout of database",)], found
    # What a BI tool asks before it shows anything.
    tables = db.execute(
        """SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v') ORDER BY c.relname"""
    ).fetchall()
    assert {("logs",), ("spans",), ("records",), ("metrics",)} <= set(tables), tables
    columns = db.execute(
        """SELECT column_name, data_type FROM information_schema.columns
           WHERE table_catalog = current_database() AND table_schema = 'public' AND table_name = %s
           ORDER BY ordinal_position""",
        ("logs",),
    ).fetchall()
    assert columns[0][0] == "timestamp" and ("body" in {name for name, _ in columns}), columns
    assert db.execute("SELECT current_database(), current_schema()").fetchone() == ("default", "public")
    # Refusals keep the connection and have codes that drivers know.
    fails(db, "SELECT nothing FROM logs", "42703")
    fails(db, "SELECT * FROM nowhere", "42P01")
    fails(db, "SELEC 1", "42601")
    fails(db, "DROP TABLE logs", "25006")
    fails(db, "CREATE TABLE t (a int)", "25006")
    fails(db, "COPY logs TO '/tmp/cupola-test.csv'", "25006")
    db.execute("SET statement_timeout = '200ms'")
    fails(db, "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b", "57014")
    db.execute("SET statement_timeout = 0")
    assert db.execute("SELECT count(*) FROM spans").fetchone() == (4,)

# A transaction around statements, as drivers make it by default.
with psycopg.connect(host=host, port=port, dbname="default", user="anyone", sslmode="disable") as db:
    assert db.execute("SELECT count(*) FROM spans").fetchone() == (4,)
    assert db.execute("SELECT count(*) FROM logs").fetchone() == (3,)

# The database is the tenant.
with connect("other") as db:
    assert db.execute("SELECT name FROM spans").fetchall() == [("sesame",)]
    assert db.execute("SELECT count(*) FROM spans WHERE service_name = %s", ("cart",)).fetchone() == (0,)
with connect("nobody") as db:
    assert db.execute("SELECT count(*) FROM records").fetchone() == (0,)
try:
    connect("a/b")
    raise AssertionError("a/b is no tenant")
except psycopg.OperationalError as error:
    assert "tenant" in str(error), error
print("ok")
