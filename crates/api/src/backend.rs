//! The one place where answers meet the query engine: statements in, streams of batches out, its errors as ours.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use cupola_query::datafusion::common::ScalarValue;
use cupola_query::{QueryEngine, QueryError, QueryHandle, QueryId, QueryLimits, QueryProgress, QueryResult};
use cupola_store::StoreError;
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
            id: result.handle.id().to_string(),
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
        let result = self.engine.sql(tenant, sql, limits).await;
        result.map(Answer::new).map_err(|error| query_error(&error))
    }

    /// A statement whose `$1`, `$2`, … have these values.
    pub(crate) async fn sql_with(
        &self,
        tenant: &TenantId,
        sql: &str,
        parameters: Vec<ScalarValue>,
    ) -> Result<Answer, ApiError> {
        let planned = async {
            let session = self.engine.session(tenant).await?.state();
            let plan = session
                .create_logical_plan(sql)
                .await?
                .with_param_values(parameters)?;
            self.engine
                .execute(tenant, sql, session, plan, QueryLimits::UNSET)
                .await
        };
        planned
            .await
            .map(Answer::new)
            .map_err(|error| query_error(&error))
    }

    /// All rows of a statement of our own making, whose answer is bounded by its own LIMIT.
    pub(crate) async fn rows(&self, tenant: &TenantId, sql: &str) -> Result<Vec<RecordBatch>, ApiError> {
        self.sql(tenant, sql, QueryLimits::UNSET)
            .await?
            .batches
            .try_collect()
            .await
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
                id: query.id.to_string(),
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

    /// Cancels a statement of the tenant; false when it has none of this id.
    pub(crate) fn cancel(&self, tenant: &TenantId, id: &str) -> bool {
        let Ok(id) = id.parse::<QueryId>() else {
            return false;
        };
        let is_own = self
            .engine
            .running()
            .iter()
            .any(|query| query.id == id && query.tenant == *tenant);
        is_own && self.engine.cancel(id)
    }
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
        QueryError::Cancelled => ApiError::new(StatusCode::CONFLICT, "cancelled", message),
        QueryError::Store(StoreError::Closed) => ApiError::overloaded("the store is shutting down", None),
        QueryError::Store(cause) => ApiError::internal("the data could not be opened", cause),
        QueryError::Execution { message } => ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "query_failed",
            format!("the query failed: {message}"),
        ),
        _ => ApiError::new(StatusCode::BAD_REQUEST, "query_invalid", message),
    };
    match error.hint() {
        Some(hint) => answer.with_hint(hint),
        None => answer,
    }
}
