"""Reads segments with DuckDB and pandas and checks rows, attributes and types. Usage: duckdb_pandas.py FOLDER...

Each folder has one file for each table, named after it.
"""

import sys

import duckdb
import pandas

connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")


def one(sql: str, path: str) -> tuple:
    return connection.execute(sql.format(f"read_parquet('{path}')")).fetchone()


def column_type(name: str, path: str) -> str:
    rows = connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()
    return next(row[1] for row in rows if row[0] == name)


def equal(found: object, expected: object) -> None:
    assert found == expected, f"found {found!r}, expected {expected!r}"


def check_with_duckdb(folder: str) -> None:
    logs, spans = f"{folder}/logs.parquet", f"{folder}/spans.parquet"
    equal(one("SELECT count(*), count(DISTINCT service_name) FROM {}", logs), (200, 2))
    equal(
        one("SELECT body, severity_number, \"attributes.http.route\" FROM {} ORDER BY timestamp LIMIT 1", logs),
        ("request number 0", 9, "/cart"),
    )
    equal(
        one(
            "SELECT attributes['rare'].value, attributes['rare'].type FROM {} "
            "WHERE map_contains(attributes, 'rare')",
            logs,
        ),
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
    equal(
        one("SELECT events[1].name, len(links), duration FROM {} WHERE name = 'GET /cart'", spans),
        ("retry", 1, 1500),
    )
    equal(one("SELECT len(events), len(links) FROM {} WHERE name = 'POST /cart'", spans), (0, 0))
    check_metrics_with_duckdb(folder)


def check_metrics_with_duckdb(folder: str) -> None:
    def first(table: str, columns: str) -> tuple:
        return one(f"SELECT count(*) OVER (), {columns} FROM {{}} ORDER BY timestamp", f"{folder}/{table}.parquet")

    series = f"{folder}/series.parquet"
    equal(column_type("series_id", series), "UBIGINT")
    equal(one("SELECT count(*), count(DISTINCT name), count(DISTINCT series_id) FROM {}", series), (10, 5, 10))
    joined = f"{{}} JOIN read_parquet('{series}') AS series USING (series_id)"
    equal(
        one(
            "SELECT sum(value), sum(value_int), string_agg(DISTINCT \"attributes.zone\", '' ORDER BY \"attributes.zone\")"
            f" FROM {joined}",
            f"{folder}/samples.parquet",
        ),
        (1.0, 14, "ab"),
    )
    equal(
        first("histograms", "count, sum, bucket_counts, explicit_bounds"),
        (2, 6, 61.5, [1, 2, 3], [5.0, 10.0]),
    )
    equal(
        first(
            "exponential_histograms",
            "count, scale, zero_count, positive_offset, positive_bucket_counts, negative_bucket_counts",
        ),
        (2, 4, 2, 1, -1, [2, 1], []),
    )
    equal(
        first("summaries", "count, sum, quantile_values"),
        (2, 9, 4.5, [{"quantile": 0.5, "value": 0.25}]),
    )
    equal(first("exemplars", "value, hex(trace_id)"), (2, 1.5, "000102030405060708090A0B0C0D0E0F"))


def check_with_pandas(folder: str) -> None:
    def read(table: str) -> pandas.DataFrame:
        return pandas.read_parquet(f"{folder}/{table}.parquet", engine="pyarrow").sort_values("timestamp")

    logs = read("logs")
    equal(len(logs), 200)
    first = logs.iloc[0]
    equal(first["body"], "request number 0")
    equal(str(first["timestamp"]), "2023-11-14 22:13:20+00:00")
    equal(first["attributes.http.route"], "/cart")
    equal(set(logs["service_name"]), {"cart", "größe"})
    rare = [entry for entries in logs["attributes"] for entry in entries]
    equal(rare, [("rare", {"type": 3, "value": "42"})])
    spans = read("spans").set_index("name")
    equal(spans.loc["GET /cart"]["events"][0]["name"], "retry")
    joined = read("samples").merge(read("series"), on="series_id")
    equal(sorted(joined["name"]), ["requests", "requests", "temperature", "temperature"])
    equal(joined["value_int"].sum(), 14)
    equal(list(read("histograms").iloc[0]["bucket_counts"]), [1, 2, 3])
    equal(list(read("exponential_histograms").iloc[0]["positive_bucket_counts"]), [2, 1])
    equal(read("summaries").iloc[0]["quantile_values"][0], {"quantile": 0.5, "value": 0.25})
    equal(read("exemplars").iloc[0]["trace_id"], bytes(range(16)))


for folder in sys.argv[1:]:
    check_with_duckdb(folder)
    check_with_pandas(folder)
print("checked")
