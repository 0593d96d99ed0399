//! The one place where answers meet the query engine: statements in, streams of batches out, its errors as ours.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use cupola_query::datafusion::common::ScalarValue;
use cupola_query::datafusion::execution::session_state::SessionState;
use cupola_query::datafusion::logical_expr::LogicalPlan;
use cupola_query::{
    QueryEngine, QueryError, QueryHandle, QueryId, QueryLimits, QueryName, QueryProgress, QueryResult,
    parse_statement, readable_names,
};
use cupola_store::{Snapshot, StoreError};
use cupola_telemetry::TenantId;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;

use crate::encode::json::rfc3339;
use crate::error::ApiError;
use crate::model::RunningQuery;
use crate::query_string::now_ns;

/// A running statement and its rows. Dropping it cancels the statement.
pub(crate) struct Answer {
    pub(crate) id: String,
    pub(crate) schema: SchemaRef,
    pub(crate) batches: BoxStream<'static, Result<RecordBatch, ApiError>>,
    handle: QueryHandle,
}

impl Answer {
    fn new(result: QueryResult) -> Self {
        let batches = result
            .stream
            .map_err(|error| query_error(&QueryError::from(error)))
            .boxed();
        Self {
            id: match result.handle.name() {
                Some(name) => name.to_string(),
                None => result.handle.id().to_string(),
            },
            schema: result.schema,
            batches,
            handle: result.handle,
        }
    }

    pub(crate) fn progress(&self) -> QueryProgress {
        self.handle.progress()
    }
}

#[derive(Clone)]
pub(crate) struct Backend {
    engine: QueryEngine,
}

impl Backend {
    pub(crate) fn new(engine: QueryEngine) -> Self {
        Self { engine }
    }

    pub(crate) async fn sql(
        &self,
        tenant: &TenantId,
        sql: &str,
        limits: QueryLimits,
    ) -> Result<Answer, ApiError> {
        self.sql_named(tenant, sql, None, limits).await
    }

    /// A statement under a name by which the tenant can stop it.
    pub(crate) async fn sql_named(
        &self,
        tenant: &TenantId,
        sql: &str,
        name: Option<QueryName>,
        limits: QueryLimits,
    ) -> Result<Answer, ApiError> {
        let result = self.engine.sql_named(tenant, sql, name, limits).await;
        result.map(Answer::new).map_err(|error| query_error(&error))
    }

    /// A statement whose `$1`, `$2`, … have these values.
    pub(crate) async fn sql_with(
        &self,
        tenant: &TenantId,
        sql: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Answer, ApiError> {
        let (engine, text) = (self.engine.clone(), sql.to_owned());
        let started = async {
            let planned = self
                .engine
                .plan(tenant, sql, QueryLimits::UNSET, async move |session| {
                    let session = session.state();
                    let plan = logical_plan(&session, &text).await?;
                    engine.planned(session, plan.with_param_values(parameters)?)
                });
            let planned = planned.await??;
            self.engine
                .execute(tenant, sql, planned, QueryLimits::UNSET)
                .await
        };
        started
            .await
            .map(Answer::new)
            .map_err(|error| query_error(&error))
    }

    /// The columns a statement will give, and the names and types of its parameters.
    pub(crate) async fn describe(
        &self,
        tenant: &TenantId,
        sql: &str,
    ) -> Result<(SchemaRef, Vec<(String, Option<DataType>)>), ApiError> {
        let text = sql.to_owned();
        let described = self
            .engine
            .plan(tenant, sql, QueryLimits::UNSET, async move |session| {
                let plan = logical_plan(&session.state(), &text).await?;
                let parameters = plan.get_parameter_types()?;
                let schema = readable_names(plan.schema().inner());
                Ok((schema, parameters.into_iter().collect()))
            });
        let described = described.await.and_then(|described| described);
        described.map_err(|error| query_error(&error))
    }

    /// All rows of a statement of our own making, whose answer is bounded by its own LIMIT.
    pub(crate) async fn rows(&self, tenant: &TenantId, sql: &str) -> Result<Vec<RecordBatch>, ApiError> {
        self.sql(tenant, sql, QueryLimits::UNSET)
            .await?
            .batches
            .try_collect()
            .await
    }

    /// All tables of the tenant at one moment.
    pub(crate) async fn snapshot(&self, tenant: &TenantId) -> Result<Snapshot, ApiError> {
        let snapshot = self.engine.snapshot(tenant).await;
        snapshot.map_err(|error| query_error(&error))
    }

    /// The tenant's statements under way.
    pub(crate) fn running(&self, tenant: &TenantId) -> Vec<RunningQuery> {
        let now = now_ns();
        let own = self
            .engine
            .running()
            .into_iter()
            .filter(|query| query.tenant == *tenant);
        own.map(|query| {
            let elapsed_ns = i64::try_from(query.elapsed.as_nanos()).unwrap_or(i64::MAX);
            RunningQuery {
                id: match &query.name {
                    Some(name) => name.to_string(),
                    None => query.id.to_string(),
                },
                query: query.sql,
                started: rfc3339(now.saturating_sub(elapsed_ns)),
                elapsed_ms: u64::try_from(query.elapsed.as_millis()).unwrap_or(u64::MAX),
                rows_returned: query.progress.rows,
                rows_scanned: query.progress.rows_scanned,
                bytes_scanned: query.progress.bytes_scanned,
                segments_total: query.progress.files_total,
                segments_done: query.progress.files_done,
            }
        })
        .collect()
    }

    pub(crate) fn running_count(&self) -> usize {
        self.engine.running().len()
    }

    /// Cancels a statement of the tenant by its id or name; false when it has none.
    pub(crate) fn cancel(&self, tenant: &TenantId, id_or_name: &str) -> bool {
        // No name looks like an id.
        let (id, name) = (id_or_name.parse::<QueryId>().ok(), QueryName::parse(id_or_name));
        let running = self.engine.running();
        let wanted = running.iter().find(|query| {
            let is_named = name.is_some() && query.name == name;
            query.tenant == *tenant && (is_named || Some(query.id) == id)
        });
        wanted.is_some_and(|query| self.engine.cancel(query.id))
    }
}

/// The plan of a statement. On the engine's threads only.
async fn logical_plan(session: &SessionState, sql: &str) -> Result<LogicalPlan, QueryError> {
    let statement = parse_statement(session, sql)?;
    Ok(session.statement_to_plan(statement).await?)
}

pub(crate) fn query_error(error: &QueryError) -> ApiError {
    let message = error.to_string();
    let answer = match error {
        QueryError::TimeLimit { .. } => ApiError::timeout(message),
        QueryError::RowLimit { .. } | QueryError::ByteLimit { .. } | QueryError::TooComplex { .. } => {
            ApiError::limit_exceeded(message)
        }
        // Less of it may pass, and so may the same later: other queries and ingestion use the same memory.
        QueryError::Memory { .. } => ApiError::overloaded(message, None),
        QueryError::Overloaded { .. } => ApiError::overloaded(message, None),
        QueryError::Cancelled => ApiError::new(StatusCode::CONFLICT, "cancelled", message),
        QueryError::NameTaken { .. } => ApiError::new(StatusCode::CONFLICT, "query_id_taken", message),
        QueryError::Store(StoreError::Closed) => ApiError::overloaded("the store is shutting down", None),
        QueryError::Store(cause) => ApiError::internal("the data could not be opened", cause),
        // Something about the values, as a division by zero: nothing is wrong with the server.
        QueryError::Execution { .. } => ApiError::new(StatusCode::BAD_REQUEST, "query_failed", message),
        QueryError::Setup { message } => ApiError::internal("queries cannot be served", message),
        QueryError::Internal { cause } => {
            ApiError::internal("the query failed for a reason that is not its own", cause)
        }
        _ => ApiError::new(StatusCode::BAD_REQUEST, "query_invalid", message),
    };
    match error.hint() {
        Some(hint) => answer.with_hint(hint),
        None => answer,
    }
}
