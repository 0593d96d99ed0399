"""Runs the benchmark's questions in DuckDB and chDB over the rows of a Cupola store.

Usage: engines.py load ENGINE PARQUET_GLOB_DIR WORK_DIR      builds the engine's own tables, prints its bytes on disk
       engines.py ask  ENGINE WORK_DIR QUESTIONS_JSON RUNS    prints one JSON line a question: seconds of each run, answer

ENGINE is duckdb or chdb. Every question is asked by one process on `--threads` threads; the first run of a fresh
process counts as cold, the others as warm. Answers are printed so that the caller can compare them between engines.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

TABLES = ("logs", "spans")
# Cupola's own telemetry is beside it, as another tenant.
TENANT = "default"
THREADS = int(os.environ.get("BENCH_THREADS", "2"))


def flat_file(work: Path, table: str) -> Path:
    return work / f"{table}.parquet"


def flatten(source: str, work: Path) -> None:
    """One Parquet file a table with the same columns in every row group: promoted attributes stay columns of their own."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads TO {THREADS}; SET preserve_insertion_order = false")
    for table in TABLES:
        target = flat_file(work, table)
        if target.exists():
            continue
        glob = f"{source}/{TENANT}/{table}/*/*.parquet"
        connection.execute(
            f"COPY (SELECT * FROM read_parquet('{glob}', union_by_name = true, hive_partitioning = false))"
            f" TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        )


def duckdb_load(work: Path) -> Path:
    import duckdb

    path = work / "bench.duckdb"
    path.unlink(missing_ok=True)
    connection = duckdb.connect(str(path))
    connection.execute(f"SET threads TO {THREADS}")
    for table in TABLES:
        order = "service_name, timestamp"
        connection.execute(
            # Its functions of time know no nanoseconds with a time zone.
            f"CREATE TABLE {table} AS SELECT * REPLACE (make_timestamp_ns(epoch_ns(timestamp)) AS timestamp)"
            f" FROM read_parquet('{flat_file(work, table)}') ORDER BY {order}"
        )
    connection.execute("CHECKPOINT")
    connection.close()
    return path


def chdb_session(work: Path):
    from chdb import session

    return session.Session(str(work / "chdb"))


def chdb_load(work: Path) -> Path:
    path = work / "chdb"
    shutil.rmtree(path, ignore_errors=True)
    engine = chdb_session(work)
    engine.query(f"SET max_threads = {THREADS}")
    engine.query("CREATE DATABASE IF NOT EXISTS bench")
    for table in TABLES:
        file = flat_file(work, table)
        engine.query(
            f"CREATE TABLE bench.{table} ENGINE = MergeTree ORDER BY (service_name, timestamp)"
            f" SETTINGS allow_nullable_key = 1 AS SELECT * FROM file('{file}', Parquet)"
        )
        engine.query(f"OPTIMIZE TABLE bench.{table} FINAL")
    return path


def bytes_below(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


def table_bytes(engine: str, work: Path) -> dict:
    if engine == "chdb":
        connection = chdb_session(work)
        rows = connection.query(
            "SELECT table, sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'bench' GROUP BY table",
            "CSV",
        )
        out = {}
        for line in str(rows).strip().splitlines():
            name, size = line.split(",")
            out[name.strip('"')] = int(size)
        return out
    return {"all": bytes_below(work / "bench.duckdb")}


def ask_duckdb(work: Path):
    import duckdb

    connection = duckdb.connect(str(work / "bench.duckdb"), read_only=True)
    connection.execute(f"SET threads TO {THREADS}; SET TimeZone = 'UTC'")
    return lambda query: [list(map(str, row)) for row in connection.execute(query).fetchall()]


def ask_chdb(work: Path):
    engine = chdb_session(work)
    engine.query("USE bench")
    engine.query(f"SET max_threads = {THREADS}")

    def run(query: str):
        # Ids are bytes as they are, which is no UTF-8.
        text = engine.query(query, "JSONCompactEachRow").bytes().decode(errors="replace")
        return [list(map(str, json.loads(line, strict=False))) for line in text.split("\n") if line]

    return run


def main() -> None:
    command, engine = sys.argv[1], sys.argv[2]
    if command == "load":
        source, work = sys.argv[3], Path(sys.argv[4])
        work.mkdir(parents=True, exist_ok=True)
        flatten(source, work)
        started = time.perf_counter()
        {"duckdb": duckdb_load, "chdb": chdb_load}[engine](work)
        seconds = time.perf_counter() - started
        print(json.dumps({"engine": engine, "bytes": table_bytes(engine, work), "load_seconds": seconds}))
        return
    work, questions, runs = Path(sys.argv[3]), json.loads(Path(sys.argv[4]).read_text()), int(sys.argv[5])
    run = {"duckdb": ask_duckdb, "chdb": ask_chdb}[engine](work)
    for question in questions:
        seconds = []
        try:
            for _ in range(runs):
                started = time.perf_counter()
                rows = run(question[engine])
                seconds.append(time.perf_counter() - started)
            line = {"id": question["id"], "seconds": seconds, "count": len(rows), "rows": rows[:200]}
        except Exception as error:  # the caller reports what the engine could not answer
            line = {"id": question["id"], "error": str(error)[:500]}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
