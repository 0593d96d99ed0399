"""Cupola as ADBC's Flight SQL driver sees it: statements, parameters, metadata, tenants, errors."""

import sys

import adbc_driver_flightsql.dbapi as flight
import adbc_driver_manager
from adbc_driver_flightsql import DatabaseOptions

HEADER = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value + "x-scope-orgid"


def connect(tenant: str | None = None):
    options = {} if tenant is None else {HEADER: tenant}
    return flight.connect(f"grpc://{sys.argv[1]}", db_kwargs=options, autocommit=True)


def fails(cursor, sql: str, words: str) -> None:
    try:
        cursor.execute(sql)
        cursor.fetchall()
    except adbc_driver_manager.Error as error:
        assert words in str(error), (sql, error)
        return
    raise AssertionError(f"{sql} should fail")


with connect() as db, db.cursor() as cursor:
    cursor.execute("SELECT name, duration FROM spans WHERE service_name = 'cart' ORDER BY timestamp")
    table = cursor.fetch_arrow_table()
    assert table.column("name").to_pylist() == ["load cart", "SELECT"], table
    assert str(table.schema.field("duration").type) == "int64", table.schema
    # Parameters of a prepared statement.
    for service, count in (("cart", 2), ("front", 2), ("nobody", 0)):
        cursor.execute("SELECT count(*) AS n FROM spans WHERE service_name = $1", (service,))
        assert cursor.fetchall() == [(count,)], service
    # More rows than one message holds.
    cursor.execute("SELECT value FROM generate_series(1, 100000)")
    assert cursor.fetch_arrow_table().num_rows == 100_000
    # What there is.
    objects = db.adbc_get_objects(depth="all", db_schema_filter="public").read_all().to_pylist()
    schemas = [schema for catalog in objects for schema in catalog["catalog_db_schemas"] or []]
    tables = {table["table_name"]: table for schema in schemas for table in schema["db_schema_tables"] or []}
    assert {"logs", "spans", "records", "metrics"} <= set(tables), tables.keys()
    columns = [column["column_name"] for column in tables["logs"]["table_columns"]]
    assert "body" in columns and "attributes" in columns, columns
    assert db.adbc_get_table_types() == ["TABLE", "VIEW"], db.adbc_get_table_types()
    assert db.adbc_get_info()["vendor_name"] == "Cupola"
    schema = db.adbc_get_table_schema("spans", db_schema_filter="public")
    assert "trace_id" in schema.names, schema
    fails(cursor, "SELECT nothing FROM logs", "nothing")
    fails(cursor, "DROP TABLE logs", "")
    fails(cursor, "CREATE TABLE t AS SELECT 1", "")
    fails(cursor, "COPY logs TO '/tmp/cupola-flight.csv'", "")
    cursor.execute("SELECT count(*) FROM spans")
    assert cursor.fetchall() == [(4,)]

with connect("other") as db, db.cursor() as cursor:
    cursor.execute("SELECT name FROM spans")
    assert cursor.fetchall() == [("sesame",)]
with connect("a/b") as db, db.cursor() as cursor:
    fails(cursor, "SELECT 1", "tenant")
print("ok")
