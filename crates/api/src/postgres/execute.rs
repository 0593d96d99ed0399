//! Runs queries on the engine, so that they are listed, limited and cancelled like those of every other protocol, and
//! encodes their rows. The last hook: statements about the connection itself have been answered before.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cupola_query::datafusion::common::ParamValues;
use cupola_query::datafusion::error::DataFusionError;
use cupola_query::datafusion::logical_expr::LogicalPlan;
use cupola_query::datafusion::prelude::SessionContext;
use cupola_query::datafusion::sql::parser::Statement as DfStatement;
use cupola_query::datafusion::sql::sqlparser::ast::Statement;
use cupola_query::{QueryEngine, QueryError, QueryLimits};
use cupola_telemetry::TenantId;
use datafusion_postgres::QueryHook;
use datafusion_postgres::arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{QueryResponse, Response};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::data::DataRow;
use datafusion_postgres::pgwire::types::format::FormatOptions;
use futures::{StreamExt as _, stream};

/// Where `SET statement_timeout` leaves its milliseconds.
const STATEMENT_TIMEOUT: &str = "statement_timeout_ms";

pub(super) struct Execute {
    pub(super) engine: QueryEngine,
    pub(super) tenant: TenantId,
    /// Of the columns of the answer; text for simple queries.
    pub(super) format: Format,
}

impl Execute {
    async fn run(
        &self,
        sql: String,
        plan: LogicalPlan,
        session: &SessionContext,
        client: &mut dyn HookClient,
    ) -> PgWireResult<Response> {
        let timeout = client
            .metadata()
            .get(STATEMENT_TIMEOUT)
            .and_then(|text| text.parse().ok());
        let limits = QueryLimits {
            time: timeout.map(Duration::from_millis),
            ..QueryLimits::UNSET
        };
        let options = Arc::new(FormatOptions::from_client_metadata(client.metadata()));
        let fields = Arc::new(arrow_schema_to_pg_fields(
            plan.schema().as_arrow(),
            &self.format,
            Some(options),
        )?);
        let result = self
            .engine
            .execute(&self.tenant, &sql, session.state(), plan, limits)
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
        _ => "XX000",
    };
    let mut info = ErrorInfo::new("ERROR".to_owned(), code.to_owned(), error.to_string());
    info.hint = error.hint();
    PgWireError::UserError(Box::new(info))
}

fn plan_error(error: DataFusionError) -> PgWireError {
    query_error(&QueryError::from(error))
}

fn is_query(statement: &Statement) -> bool {
    matches!(statement, Statement::Query(_) | Statement::Explain { .. })
}

#[async_trait]
impl QueryHook for Execute {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        session: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        if !is_query(statement) {
            return None;
        }
        let planned = session
            .state()
            .statement_to_plan(DfStatement::Statement(Box::new(statement.clone())))
            .await;
        Some(match planned {
            Ok(plan) => self.run(statement.to_string(), plan, session, client).await,
            Err(error) => Err(plan_error(error)),
        })
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        session: &SessionContext,
        _client: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        if !is_query(statement) {
            return None;
        }
        let planned = session
            .state()
            .statement_to_plan(DfStatement::Statement(Box::new(statement.clone())))
            .await;
        Some(planned.map_err(plan_error))
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        plan: &LogicalPlan,
        parameters: &ParamValues,
        session: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        if !is_query(statement) {
            return None;
        }
        Some(match plan.clone().replace_params_with_values(parameters) {
            Ok(plan) => self.run(statement.to_string(), plan, session, client).await,
            Err(error) => Err(plan_error(error)),
        })
    }
}
