//! What can go wrong with a query, said so that the person who wrote it can act.

use std::time::Duration;

use arrow::error::ArrowError;
use cupola_store::StoreError;
use datafusion::common::{Column, DataFusionError, SchemaError};

use crate::engine::QueryName;

/// Why a query was refused or stopped.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("the statement cannot be read: {message}")]
    Syntax { message: String },
    #[error("{statement} is refused: queries only read")]
    Refused { statement: String },
    #[error("there is no column {name}")]
    UnknownColumn { name: String, nearest: Vec<String> },
    #[error("there is no table {name}")]
    UnknownTable { name: String, tables: Vec<String> },
    #[error("the query cannot be planned: {message}")]
    Plan { message: String, hint: Option<String> },
    #[error("the query is too complex: {what}")]
    TooComplex { what: String },
    #[error("the query ran into its time limit of {limit:?}")]
    TimeLimit { limit: Duration },
    #[error("the answer has more than {limit} rows")]
    RowLimit { limit: u64 },
    #[error("the answer has more than {limit} bytes")]
    ByteLimit { limit: u64 },
    #[error("the query needs more memory than there is for it: {message}")]
    Memory { message: String },
    #[error("the query was cancelled")]
    Cancelled,
    /// Nothing was done: the same may be asked again soon.
    #[error("there is no room for another query: {waiting} are waiting already")]
    Overloaded { waiting: usize },
    /// The name that the query was to have is that of another one.
    #[error("a query named {name} is under way already")]
    NameTaken { name: QueryName },
    #[error("the data could not be opened")]
    Store(#[from] StoreError),
    /// Only when the engine is started.
    #[error("{message}")]
    Setup { message: String },
    /// Something that the statement does with the data cannot be done, as dividing by zero.
    #[error("the query failed: {message}")]
    Execution { message: String },
    /// Not the statement's fault. The cause is for the log: it can name files.
    #[error("the query failed for a reason that is not its own")]
    Internal { cause: String },
}

impl QueryError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            QueryError::Refused { .. } => Some("use SELECT, EXPLAIN, SHOW TABLES or SHOW COLUMNS".to_owned()),
            QueryError::UnknownColumn { name, nearest } => Some(column_hint(name, nearest)),
            QueryError::UnknownTable { tables, .. } => Some(format!("tables are {}", tables.join(", "))),
            QueryError::Plan { hint: Some(hint), .. } => Some(hint.clone()),
            QueryError::Plan { message, .. } | QueryError::Execution { message } => value_hint(message),
            QueryError::TimeLimit { .. } => Some("narrow the time range, or allow more time".to_owned()),
            QueryError::RowLimit { .. } | QueryError::ByteLimit { .. } => {
                Some("add a LIMIT, aggregate, or select fewer columns".to_owned())
            }
            QueryError::Memory { .. } => Some("narrow the time range, or group by fewer values".to_owned()),
            QueryError::Overloaded { .. } => Some("ask again when others have ended".to_owned()),
            QueryError::NameTaken { .. } => Some("choose another name for each query".to_owned()),
            _ => None,
        }
    }

    /// One word for what happened, of a small set: for metrics and spans.
    pub fn kind(&self) -> &'static str {
        match self {
            QueryError::Syntax { .. } => "syntax",
            QueryError::Refused { .. } => "refused",
            QueryError::UnknownColumn { .. } => "unknown_column",
            QueryError::UnknownTable { .. } => "unknown_table",
            QueryError::Plan { .. } => "plan",
            QueryError::TooComplex { .. } => "too_complex",
            QueryError::TimeLimit { .. } => "time_limit",
            QueryError::RowLimit { .. } => "row_limit",
            QueryError::ByteLimit { .. } => "byte_limit",
            QueryError::Memory { .. } => "memory_limit",
            QueryError::Cancelled => "cancelled",
            QueryError::Overloaded { .. } => "overloaded",
            QueryError::NameTaken { .. } => "name_taken",
            QueryError::Store(_) => "store",
            QueryError::Setup { .. } => "setup",
            QueryError::Execution { .. } => "execution",
            QueryError::Internal { .. } => "internal",
        }
    }

    /// Whether the statement is at fault, and not the server or its load.
    pub fn is_user_error(&self) -> bool {
        matches!(
            self,
            QueryError::Syntax { .. }
                | QueryError::Refused { .. }
                | QueryError::UnknownColumn { .. }
                | QueryError::UnknownTable { .. }
                | QueryError::Plan { .. }
                | QueryError::TooComplex { .. }
                | QueryError::Execution { .. }
        )
    }
}

/// Carried through DataFusion, which knows only its own errors.
impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> DataFusionError {
        DataFusionError::External(Box::new(error))
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> QueryError {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<QueryError>() {
                Ok(error) => *error,
                Err(inner) => match inner.downcast::<DataFusionError>() {
                    Ok(error) => QueryError::from(*error),
                    Err(inner) => QueryError::Internal {
                        cause: inner.to_string(),
                    },
                },
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                QueryError::from(*inner)
            }
            DataFusionError::Collection(mut errors) if !errors.is_empty() => {
                QueryError::from(errors.swap_remove(0))
            }
            DataFusionError::SQL(error, _) => syntax(&error.to_string()),
            DataFusionError::SchemaError(error, _) => schema_error(*error),
            DataFusionError::Plan(message) => plan_error(message),
            DataFusionError::NotImplemented(message) if message.contains("single SQL statement") => {
                QueryError::Syntax {
                    message: "there are several; send one statement at a time".to_owned(),
                }
            }
            DataFusionError::NotImplemented(message) | DataFusionError::Configuration(message) => {
                QueryError::Plan { message, hint: None }
            }
            DataFusionError::ResourcesExhausted(message) => QueryError::Memory { message },
            other => execution_error(&other),
        }
    }
}

/// An error of execution, perhaps one that several partitions share.
fn execution_error(error: &DataFusionError) -> QueryError {
    let root = error.find_root();
    let message = first_line(&root.strip_backtrace());
    match root {
        DataFusionError::ResourcesExhausted(message) => QueryError::Memory {
            message: message.clone(),
        },
        _ if message.contains("Cannot access field") => QueryError::Plan {
            message,
            hint: Some(
                "a member of attributes or JSON is written attributes['key'], the dots of its name kept"
                    .to_owned(),
            ),
        },
        DataFusionError::Execution(_) => QueryError::Execution { message },
        DataFusionError::ArrowError(error, _) if is_of_values(error) => QueryError::Execution { message },
        _ => QueryError::Internal {
            cause: error.strip_backtrace(),
        },
    }
}

/// Whether values are at fault, and not what is read or the server.
fn is_of_values(error: &ArrowError) -> bool {
    matches!(
        error,
        ArrowError::ArithmeticOverflow(_)
            | ArrowError::CastError(_)
            | ArrowError::ComputeError(_)
            | ArrowError::DivideByZero
            | ArrowError::InvalidArgumentError(_)
            | ArrowError::NotYetImplemented(_)
            | ArrowError::OffsetOverflowError(_)
            | ArrowError::ParseError(_)
    )
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn syntax(message: &str) -> QueryError {
    let message = message.trim_start_matches("sql parser error: ").to_owned();
    if message.contains("recursion limit") {
        return QueryError::TooComplex {
            what: "it is nested too deeply".to_owned(),
        };
    }
    QueryError::Syntax { message }
}

fn schema_error(error: SchemaError) -> QueryError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => unknown_column(&field, &valid_fields),
        other => QueryError::Plan {
            message: other.to_string(),
            hint: None,
        },
    }
}

fn unknown_column(field: &Column, valid: &[Column]) -> QueryError {
    let mut by_distance: Vec<(usize, String)> = valid
        .iter()
        .map(|column| (likeness(field.name(), column.name()), column.name().to_owned()))
        .collect();
    by_distance.sort();
    by_distance.dedup();
    let near = field.name().chars().count() / 2 + 1;
    let best = by_distance.first().map_or(0, |(distance, _)| *distance);
    let nearest = by_distance
        .into_iter()
        .filter(|(distance, _)| *distance <= near.min(best + 1))
        .map(|(_, name)| name)
        .take(3);
    QueryError::UnknownColumn {
        name: field.flat_name(),
        nearest: nearest.collect(),
    }
}

/// What other systems call our columns.
const OTHER_NAMES: [(&str, &str); 12] = [
    ("service", "service_name"),
    ("time", "timestamp"),
    ("ts", "timestamp"),
    ("_time", "timestamp"),
    ("message", "body"),
    ("msg", "body"),
    ("_msg", "body"),
    ("severity", "level"),
    ("status", "status_code"),
    ("trace", "trace_id"),
    ("metric", "name"),
    ("metric_name", "name"),
];

/// How far a name is from that of a column, or from how that begins: `servce` is nearly `service_name`.
fn likeness(name: &str, column: &str) -> usize {
    let lower = name.to_lowercase();
    if OTHER_NAMES.contains(&(lower.as_str(), column)) {
        return 0;
    }
    let beginnings = column
        .match_indices('_')
        .map(|(end, _)| distance(name, &column[..end]) + 1);
    beginnings.fold(distance(name, column), usize::min)
}

fn plan_error(message: String) -> QueryError {
    let table = message
        .strip_prefix("table '")
        .and_then(|rest| rest.split_once("' not found"));
    if let Some((name, _)) = table {
        let name = name.rsplit('.').next().unwrap_or(name).to_owned();
        return QueryError::UnknownTable {
            name,
            tables: crate::tables::table_names(),
        };
    }
    let hint = message
        .contains("Cannot infer common argument type for comparison")
        .then(|| {
            "values of an attribute are text where its types are mixed: compare with text, or cast, as in \
         (attributes->>'key')::bigint"
                .to_owned()
        });
    QueryError::Plan {
        message: first_line(&message),
        hint,
    }
}

/// What to write instead of a value that is no time.
fn value_hint(message: &str) -> Option<String> {
    let message = message.to_lowercase();
    let is_time = message.contains("parsing timestamp") || message.contains("parsing date");
    is_time.then(|| {
        "times are written '2026-01-31 12:00:00', and those before now as now() - interval '1 hour'"
            .to_owned()
    })
}

fn column_hint(name: &str, nearest: &[String]) -> String {
    let bare = name.rsplit('.').next().unwrap_or(name);
    let attribute = name.trim_start_matches("attributes.");
    let as_attribute = format!("if it is an attribute, write attributes['{attribute}']");
    match nearest {
        [] if bare != name => as_attribute,
        [] => format!("{as_attribute}; text is written in single quotes"),
        names => format!("did you mean {}? {as_attribute}", names.join(" or ")),
    }
}

/// How many letters have to change to get from one name to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_statement_did_is_told() {
        let own = DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None);
        assert!(matches!(QueryError::from(own), QueryError::Execution { .. }));
        let file = std::io::Error::new(std::io::ErrorKind::NotFound, "/data/secret.parquet");
        let context = DataFusionError::from(file).context("reading");
        let error = QueryError::from(context);
        assert!(matches!(error, QueryError::Internal { .. }), "{error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn names_are_near_by_letters() {
        assert_eq!(distance("service_nam", "service_name"), 1);
        assert_eq!(distance("body", "body"), 0);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("Level", "level"), 0);
    }

    #[test]
    fn a_slip_in_half_a_name_and_names_of_other_systems_are_understood() {
        let logs = [
            "timestamp",
            "service_name",
            "body",
            "level",
            "severity_text",
            "trace_id",
            "scope_name",
        ];
        let valid: Vec<Column> = logs.iter().map(|name| Column::from_name(*name)).collect();
        let meant = |name: &str| match unknown_column(&Column::from_name(name), &valid) {
            QueryError::UnknownColumn { nearest, .. } => nearest.first().cloned(),
            _ => None,
        };
        for (name, column) in [
            ("servce", "service_name"),
            ("service", "service_name"),
            ("time", "timestamp"),
            ("message", "body"),
            ("bdy", "body"),
            ("Severity", "level"),
        ] {
            assert_eq!(meant(name).as_deref(), Some(column), "{name}");
        }
        assert_eq!(meant("http_route_of_it"), None);
    }
}
