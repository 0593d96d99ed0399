"""Reads segments with Spark and checks rows, attributes and types. Usage: spark.py FOLDER...

Each folder has one file for each table, named after it.
"""

import os
import sys

# Nothing listens beyond this machine.
os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"

from pyspark.sql import Row, SparkSession  # noqa: E402

START = 1_700_000_000_000_000_000
NANOS_AS_LONG = "spark.sql.legacy.parquet.nanosAsLong"

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.log.level", "OFF")
    # Starting is most of the work here: nothing is worth compiling.
    .config("spark.sql.codegen.wholeStage", "false")
    .getOrCreate()
)


def equal(found: object, expected: object) -> None:
    assert found == expected, f"found {found!r}, expected {expected!r}"


def rows(folder: str, table: str) -> list[Row]:
    # Short enough to be sorted here.
    return sorted(spark.read.parquet(f"{folder}/{table}.parquet").collect(), key=lambda row: row["timestamp"])


def check(folder: str) -> None:
    logs = rows(folder, "logs")
    equal((len(logs), {row["service_name"] for row in logs}), (200, {"cart", "größe"}))
    first = logs[0]
    equal((first["timestamp"], first["body"], first["severity_number"]), (START, "request number 0", 9))
    equal(bytes(first["trace_id"]), bytes(range(16)))
    equal(first["attributes.http.route"], "/cart")
    equal(sum(row["attributes.retries"] for row in logs), sum(number % 3 for number in range(200)))
    equal([row["attributes.ratio"] for row in logs], [number / 4 for number in range(200)])
    equal(sum(row["attributes.cached"] for row in logs), 100)
    rare = [entry for row in logs for entry in row["attributes"].items()]
    equal(rare, [("rare", Row(type=3, value="42"))])
    spans = {row["name"]: row for row in rows(folder, "spans")}
    span = spans["GET /cart"]
    equal((span["duration"], span["events"][0]["name"], len(span["links"])), (1500, "retry", 1))
    equal(spans["POST /cart"]["events"], [])
    check_metrics(folder)


def check_metrics(folder: str) -> None:
    names = {row["series_id"]: row["name"] for row in rows(folder, "series")}
    samples = [(names[row["series_id"]], row["value"], row["value_int"]) for row in rows(folder, "samples")]
    equal(sorted(samples, key=str), [("requests", None, 7)] * 2 + [("temperature", 0.5, None)] * 2)
    histogram = rows(folder, "histograms")[0]
    equal((histogram["bucket_counts"], histogram["explicit_bounds"]), ([1, 2, 3], [5.0, 10.0]))
    exponential = rows(folder, "exponential_histograms")[0]
    equal((exponential["scale"], exponential["positive_offset"]), (2, -1))
    equal(exponential["positive_bucket_counts"], [2, 1])
    equal(rows(folder, "summaries")[0]["quantile_values"], [Row(quantile=0.5, value=0.25)])
    equal(bytes(rows(folder, "exemplars")[0]["trace_id"]), bytes(range(16)))


# What the documentation says is needed, is; once it no longer is, it should no longer say so.
try:
    spark.read.parquet(f"{sys.argv[1]}/logs.parquet")
    raise SystemExit(f"Spark reads times in nanoseconds without {NANOS_AS_LONG}")
except Exception as error:
    assert "NANOS" in str(error), error
spark.conf.set(NANOS_AS_LONG, "true")
for folder in sys.argv[1:]:
    check(folder)
print("checked")
