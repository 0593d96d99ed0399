//! The tables: which columns we write, how they are made, and how those of an existing table are told. Refuses to change
//! or drop a column that is there.

use cupola_telemetry::Signal;

use super::copy::Stored;

/// A column as we make it.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    sql: &'static str,
    /// How it may be stored in a table that somebody else made.
    stored: &'static [Stored],
}

impl Field {
    /// The type as `pg_type` names it.
    #[cfg(test)]
    pub(super) fn made_as(&self) -> &'static str {
        match self.sql.trim_end_matches(" NOT NULL") {
            "UUID" => "uuid",
            "TIMESTAMPTZ" => "timestamptz",
            "TEXT" => "text",
            "INTEGER" => "int4",
            "BIGINT" => "int8",
            "DOUBLE PRECISION" => "float8",
            "BOOLEAN" => "bool",
            _ => "jsonb",
        }
    }
}

const fn field(name: &'static str, sql: &'static str, stored: &'static [Stored]) -> Field {
    Field { name, sql, stored }
}

const UUID: &[Stored] = &[Stored::Uuid];
const TIME: &[Stored] = &[Stored::Timestamp];
const TEXT: &[Stored] = &[Stored::Text];
const INT: &[Stored] = &[Stored::Int4, Stored::Int8, Stored::Int2];
const JSON: &[Stored] = &[Stored::Jsonb, Stored::Json];

/// The order is that of the cells in `rows`.
pub(super) const LOGS: &[Field] = &[
    field("id", "UUID NOT NULL", UUID),
    field("timestamp", "TIMESTAMPTZ NOT NULL", TIME),
    field("severity_text", "TEXT", TEXT),
    field("severity_number", "INTEGER", INT),
    field("body", "TEXT", TEXT),
    field("trace_id", "TEXT", TEXT),
    field("span_id", "TEXT", TEXT),
    field("resource", "JSONB", JSON),
    field("attributes", "JSONB", JSON),
    field("timestamp_nanos", "BIGINT", INT),
    field("observed_timestamp_nanos", "BIGINT", INT),
    field("tenant", "TEXT", TEXT),
    field("event_name", "TEXT", TEXT),
    field("flags", "BIGINT", INT),
    field("scope", "JSONB", JSON),
    field("details", "JSONB", JSON),
];

pub(super) const SPANS: &[Field] = &[
    field("id", "UUID NOT NULL", UUID),
    field("timestamp", "TIMESTAMPTZ NOT NULL", TIME),
    field("end_timestamp", "TIMESTAMPTZ", TIME),
    field("duration_nanos", "BIGINT", INT),
    field("trace_id", "TEXT", TEXT),
    field("span_id", "TEXT", TEXT),
    field("parent_span_id", "TEXT", TEXT),
    field("trace_state", "TEXT", TEXT),
    field("name", "TEXT", TEXT),
    field("kind", "TEXT", TEXT),
    field("status_code", "TEXT", TEXT),
    field("status_message", "TEXT", TEXT),
    field("resource", "JSONB", JSON),
    field("attributes", "JSONB", JSON),
    field("events", "JSONB", JSON),
    field("links", "JSONB", JSON),
    field("timestamp_nanos", "BIGINT", INT),
    field("end_timestamp_nanos", "BIGINT", INT),
    field("tenant", "TEXT", TEXT),
    field("flags", "BIGINT", INT),
    field("scope", "JSONB", JSON),
    field("details", "JSONB", JSON),
];

pub(super) const POINTS: &[Field] = &[
    field("id", "UUID NOT NULL", UUID),
    field("timestamp", "TIMESTAMPTZ NOT NULL", TIME),
    field("start_timestamp", "TIMESTAMPTZ", TIME),
    field("metric_name", "TEXT", TEXT),
    field("description", "TEXT", TEXT),
    field("unit", "TEXT", TEXT),
    field("type", "TEXT", TEXT),
    field("temporality", "TEXT", TEXT),
    field("monotonic", "BOOLEAN", &[Stored::Bool]),
    field("value", "DOUBLE PRECISION", &[Stored::Float8]),
    field("value_int", "BIGINT", INT),
    field("histogram", "JSONB", JSON),
    field("resource", "JSONB", JSON),
    field("attributes", "JSONB", JSON),
    field("exemplars", "JSONB", JSON),
    field("timestamp_nanos", "BIGINT", INT),
    field("start_timestamp_nanos", "BIGINT", INT),
    field("tenant", "TEXT", TEXT),
    field("flags", "BIGINT", INT),
    field("scope", "JSONB", JSON),
    field("details", "JSONB", JSON),
];

pub(super) fn fields(signal: Signal) -> &'static [Field] {
    match signal {
        Signal::Logs => LOGS,
        Signal::Traces => SPANS,
        Signal::Metrics => POINTS,
    }
}

/// The columns that have an index of their own.
pub(super) fn indexed(signal: Signal) -> &'static [&'static str] {
    match signal {
        Signal::Logs => &["timestamp", "trace_id", "severity_text"],
        Signal::Traces => &["timestamp", "trace_id", "name"],
        Signal::Metrics => &["timestamp", "metric_name"],
    }
}

/// A column that a table has.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// As `pg_type` names it.
    pub(super) kind: String,
    /// Filled by the server if we leave it out.
    pub(super) optional: bool,
}

/// How rows get into one table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) copy: String,
    /// Which of our fields, and how each is stored.
    pub(super) columns: Vec<(usize, Stored)>,
    pub(super) partitioned: bool,
}

impl Table {
    /// Matches our fields with the columns that are there.
    pub(super) fn new(
        signal: Signal,
        name: &str,
        existing: &[Column],
        partitioned: bool,
    ) -> Result<Table, String> {
        let mut columns = Vec::new();
        let mut names = Vec::new();
        for (index, field) in fields(signal).iter().enumerate() {
            let Some(column) = existing.iter().find(|column| column.name == field.name) else {
                continue;
            };
            match Stored::of(&column.kind).filter(|stored| field.stored.contains(stored)) {
                Some(stored) => {
                    columns.push((index, stored));
                    names.push(quoted(field.name));
                }
                // Such as `id BIGSERIAL`: the server's to fill.
                None if column.optional => {}
                None => {
                    return Err(format!(
                        "column `{}` of {name} is {}, which cannot hold {}; alter it, or give it a default",
                        field.name, column.kind, field.sql
                    ));
                }
            }
        }
        let known = |column: &&Column| fields(signal).iter().any(|field| field.name == column.name);
        if let Some(column) = existing.iter().find(|column| !column.optional && !known(column)) {
            return Err(format!(
                "column `{}` of {name} must have a value and we have none for it; give it a default",
                column.name
            ));
        }
        if columns.is_empty() {
            return Err(format!("{name} has none of the columns that we write"));
        }
        Ok(Table {
            copy: format!("COPY {name} ({}) FROM STDIN (FORMAT binary)", names.join(", ")),
            columns,
            partitioned,
        })
    }
}

/// Makes the table with its indexes.
pub(super) fn create(signal: Signal, schema: &str, table: &str, partitioned: bool) -> String {
    let columns: Vec<String> = fields(signal)
        .iter()
        .map(|field| format!("{} {}", quoted(field.name), field.sql))
        .collect();
    let name = qualified(schema, table);
    let (by, default) = match partitioned {
        true => (
            " PARTITION BY RANGE (\"timestamp\")",
            format!(
                "CREATE TABLE IF NOT EXISTS {} PARTITION OF {name} DEFAULT;",
                qualified(schema, &format!("{table}_default"))
            ),
        ),
        false => ("", String::new()),
    };
    let indexes: Vec<String> = indexed(signal)
        .iter()
        .map(|column| create_index(schema, table, column))
        .collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {name} ({}){by};{default}{}",
        columns.join(", "),
        indexes.join("")
    )
}

pub(super) fn create_index(schema: &str, table: &str, column: &str) -> String {
    format!(
        "CREATE INDEX IF NOT EXISTS {} ON {} ({});",
        quoted(&format!("{table}_{column}_idx")),
        qualified(schema, table),
        quoted(column)
    )
}

/// Adds those of our columns that a table lacks; empty if it has all.
pub(super) fn add_columns(signal: Signal, schema: &str, table: &str, existing: &[Column]) -> String {
    let missing = fields(signal)
        .iter()
        .filter(|field| existing.iter().all(|column| column.name != field.name));
    let added: Vec<String> = missing
        .map(|field| {
            let kind = field.sql.trim_end_matches(" NOT NULL");
            format!("ADD COLUMN IF NOT EXISTS {} {kind}", quoted(field.name))
        })
        .collect();
    match added.is_empty() {
        true => String::new(),
        false => format!("ALTER TABLE {} {};", qualified(schema, table), added.join(", ")),
    }
}

/// What is remembered of batches: `refused` are the items that are not in the table, and `reason` says why.
pub(super) fn create_batches(schema: &str, table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {name} (\"id\" UUID PRIMARY KEY, \"taken\" TIMESTAMPTZ NOT NULL DEFAULT now(), \
         \"refused\" INTEGER[], \"reason\" TEXT);\
         CREATE INDEX IF NOT EXISTS {index} ON {name} (\"taken\");",
        name = qualified(schema, table),
        index = quoted(&format!("{table}_taken_idx")),
    )
}

/// An identifier that is taken as it stands.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

/// A text as it stands in a statement.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: &str, optional: bool) -> Column {
        Column {
            name: name.to_owned(),
            kind: kind.to_owned(),
            optional,
        }
    }

    #[test]
    fn a_table_that_others_made_is_filled_as_far_as_it_goes() {
        let existing = [
            column("id", "int8", true),
            column("timestamp", "timestamptz", false),
            column("body", "varchar", true),
            column("severity_number", "int2", true),
            column("ingested", "timestamptz", true),
        ];
        let table = Table::new(Signal::Logs, "t", &existing, false).unwrap();
        assert_eq!(
            table.copy,
            "COPY t (\"timestamp\", \"severity_number\", \"body\") FROM STDIN (FORMAT binary)"
        );
        assert_eq!(
            table.columns,
            [(1, Stored::Timestamp), (3, Stored::Int2), (4, Stored::Text)]
        );
        let error = |column: Column| Table::new(Signal::Logs, "t", &[column], false).unwrap_err();
        assert!(error(column("timestamp", "text", false)).contains("`timestamp`"));
        assert!(error(column("customer", "text", false)).contains("`customer`"));
        assert!(error(column("other", "text", true)).contains("none of the columns"));
    }

    #[test]
    fn names_are_taken_as_they_stand() {
        let sql = create(Signal::Logs, "my schema", "o\"dd", true);
        assert!(sql.contains("\"my schema\".\"o\"\"dd\""), "{sql}");
        assert!(sql.contains("PARTITION BY RANGE"), "{sql}");
        assert_eq!(sql.matches("CREATE INDEX").count(), 3);
        assert_eq!(literal("it's"), "'it''s'");
    }
}
