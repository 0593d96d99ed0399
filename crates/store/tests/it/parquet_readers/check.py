"""Reads segments with DuckDB and pandas and checks rows, attributes and types. Usage: check.py LOGS SPANS SAMPLES."""

import sys

import duckdb
import pandas

logs, spans, samples = sys.argv[1:4]
connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")


def one(sql: str, path: str) -> tuple:
    return connection.execute(sql.format(f"read_parquet('{path}')")).fetchone()


def column_type(name: str, path: str) -> str:
    rows = connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()
    return next(row[1] for row in rows if row[0] == name)


def equal(found: object, expected: object) -> None:
    assert found == expected, f"found {found!r}, expected {expected!r}"


# DuckDB: counts, columns, maps.
equal(one("SELECT count(*), count(DISTINCT service_name) FROM {}", logs), (200, 2))
equal(
    one("SELECT body, severity_number, \"attributes.http.route\" FROM {} ORDER BY timestamp LIMIT 1", logs),
    ("request number 0", 9, "/cart"),
)
equal(
    one("SELECT attributes['rare'].value, attributes['rare'].type FROM {} WHERE map_contains(attributes, 'rare')", logs),
    ("42", 3),
)
equal(one("SELECT sum(\"attributes.retries\") FROM {}", logs), (sum(n % 3 for n in range(200)),))
equal(one("SELECT count(*) FROM {} WHERE \"attributes.cached\"", logs), (100,))
equal(column_type("timestamp", logs), "TIMESTAMPTZ_NS")
equal(column_type("attributes.retries", logs), "BIGINT")
equal(column_type("attributes.ratio", logs), "DOUBLE")
equal(column_type("attributes.cached", logs), "BOOLEAN")
equal(column_type("attributes", logs), "MAP(VARCHAR, STRUCT(\"type\" TINYINT, \"value\" VARCHAR))")
equal(one("SELECT count(*) FROM {} WHERE hex(trace_id) = '000102030405060708090A0B0C0D0E0F'", logs), (100,))
equal(one("SELECT events[1].name, len(links), duration FROM {}", spans), ("retry", 1, 1500))
equal(one("SELECT sum(value), sum(value_int) FROM {}", samples), (0.5, 7))

# pandas: the same rows.
frame = pandas.read_parquet(logs, engine="pyarrow")
equal(len(frame), 200)
first = frame.sort_values("timestamp").iloc[0]
equal(first["body"], "request number 0")
equal(str(first["timestamp"]), "2023-11-14 22:13:20+00:00")
equal(first["attributes.http.route"], "/cart")
equal(set(frame["service_name"]), {"cart", "größe"})
rare = [entry for entries in frame["attributes"] for entry in entries]
equal(rare, [("rare", {"type": 3, "value": "42"})])
events = pandas.read_parquet(spans, engine="pyarrow")["events"][0]
equal(events[0]["name"], "retry")
print("checked")
