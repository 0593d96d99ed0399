//! Runs questions on the engine, so that they are listed, limited and cancelled like those of every other protocol, and
//! encodes their rows.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Fields, Schema, SchemaRef};
use cupola_query::{QueryEngine, QueryError, QueryLimits};
use cupola_telemetry::TenantId;
use datafusion_postgres::arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{FieldInfo, QueryResponse, Response};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::data::DataRow;
use datafusion_postgres::pgwire::types::format::FormatOptions;
use futures::{StreamExt as _, stream};

use super::statement::{Question, refusal};

/// Where `SET statement_timeout` leaves its milliseconds.
const STATEMENT_TIMEOUT: &str = "statement_timeout_ms";

/// Starts a question; its rows are encoded as they come.
pub(super) async fn execute<C: ClientInfo + ?Sized>(
    engine: &QueryEngine,
    tenant: &TenantId,
    question: Question,
    format: &Format,
    client: &C,
) -> PgWireResult<Response> {
    let limits = limits_of(client);
    let options = Arc::new(FormatOptions::from_client_metadata(client.metadata()));
    let fields = Arc::new(fields(&question.schema, format, Some(options))?);
    let result = engine
        .execute(tenant, &question.sql, question.planned, limits)
        .await;
    let result = result.map_err(|error| query_error(&error))?;
    let encoded_fields = fields.clone();
    let rows = result.stream.flat_map(move |batch| {
        let rows: Box<dyn Iterator<Item = PgWireResult<DataRow>> + Send + Sync> = match batch {
            Ok(batch) => encode_recordbatch(encoded_fields.clone(), batch),
            Err(error) => Box::new(std::iter::once(Err(query_error(&QueryError::from(error))))),
        };
        stream::iter(rows)
    });
    Ok(Response::Query(QueryResponse::new(fields, rows)))
}

/// What a client has set, and the limits of the server besides.
pub(super) fn limits_of<C: ClientInfo + ?Sized>(client: &C) -> QueryLimits {
    let timeout = client
        .metadata()
        .get(STATEMENT_TIMEOUT)
        .and_then(|text| text.parse().ok());
    QueryLimits {
        time: timeout.map(Duration::from_millis),
        ..QueryLimits::UNSET
    }
}

/// The columns of an answer in the formats a client wants.
pub(super) fn fields(
    schema: &SchemaRef,
    format: &Format,
    options: Option<Arc<FormatOptions>>,
) -> PgWireResult<Vec<FieldInfo>> {
    check_formats(format, schema.fields().len(), "columns")?;
    arrow_schema_to_pg_fields(&postgres_names(schema), format, options)
}

/// What PostgreSQL calls a column that has no name.
const UNNAMED: &str = "?column?";
/// How DataFusion writes constants, and so calls columns that begin with one.
const CONSTANTS: [&str; 5] = ["Boolean(", "Float64(", "Int64(", "UInt64(", "Utf8("];

/// The schema with PostgreSQL's names of columns that have none.
fn postgres_names(schema: &SchemaRef) -> SchemaRef {
    let is_constant =
        |name: &str| name == "NULL" || CONSTANTS.iter().any(|constant| name.starts_with(constant));
    if !schema.fields().iter().any(|field| is_constant(field.name())) {
        return schema.clone();
    }
    let fields = schema
        .fields()
        .iter()
        .map(|field| match is_constant(field.name()) {
            true => Arc::new(field.as_ref().clone().with_name(UNNAMED)),
            false => field.clone(),
        });
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

/// A client names one format for each, or one for all.
pub(super) fn check_formats(format: &Format, expected: usize, of: &str) -> PgWireResult<()> {
    match format {
        Format::Individual(formats) if formats.len() != expected => Err(refusal(
            "08P01",
            format!("there are {} formats for {expected} {of}", formats.len()),
        )),
        _ => Ok(()),
    }
}

/// SQLSTATE, message and hint.
pub(super) fn query_error(error: &QueryError) -> PgWireError {
    let code = match error {
        QueryError::Syntax { .. } => "42601",
        QueryError::Refused { .. } => "25006",
        QueryError::UnknownColumn { .. } => "42703",
        QueryError::UnknownTable { .. } => "42P01",
        QueryError::Plan { .. } => "42000",
        QueryError::TooComplex { .. } => "54001",
        QueryError::TimeLimit { .. } | QueryError::Cancelled => "57014",
        QueryError::RowLimit { .. } | QueryError::ByteLimit { .. } => "54000",
        QueryError::Memory { .. } => "53200",
        QueryError::Overloaded { .. } => "53000",
        QueryError::NameTaken { .. } => "42710",
        QueryError::Execution { .. } => "22000",
        QueryError::Store(cause) => internal(cause),
        QueryError::Setup { message } => internal(message),
        QueryError::Internal { cause } => internal(cause),
    };
    let mut info = ErrorInfo::new("ERROR".to_owned(), code.to_owned(), error.to_string());
    info.hint = error.hint();
    PgWireError::UserError(Box::new(info))
}

/// The cause is for the log.
fn internal(cause: impl std::fmt::Display) -> &'static str {
    tracing::error!(%cause, "postgresql statement failed");
    "XX000"
}
