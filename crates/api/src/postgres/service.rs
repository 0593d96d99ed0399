//! Statements of one connection. Each is planned on a session of its own, that is on a fresh snapshot, and on the
//! engine's threads.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use cupola_query::datafusion::common::ParamValues;
use cupola_query::datafusion::prelude::SessionContext;
use cupola_query::{QueryEngine, QueryError, QueryLimits};
use cupola_telemetry::TenantId;
use datafusion_postgres::arrow_pg::datatypes::arrow_schema_to_pg_fields;
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::portal::{Format, Portal, PortalExecutionState};
use datafusion_postgres::pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_execution_response, send_partial_query_response,
};
use datafusion_postgres::pgwire::api::results::{FieldInfo, QueryResponse, Response};
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::store::{Entry, PortalStore};
use datafusion_postgres::pgwire::api::{
    ClientInfo, ClientPortalStore, ConnectionHandle, DEFAULT_NAME, ErrorHandler, METADATA_DATABASE,
    METADATA_USER, PgWireConnectionState, Type,
};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::extendedquery::Execute;
use datafusion_postgres::pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use futures::{Sink, SinkExt as _};
use tokio::sync::OnceCell;

use super::catalog::{ConnectionCatalog, StaticCatalog};
use super::execute::{check_formats, execute, fields, limits_of, query_error};
use super::statement::{self, AboutConnection, Prepared, Question, Step, refusal};

#[derive(Clone)]
pub(super) struct StatementService(Arc<Shared>);

struct Shared {
    engine: QueryEngine,
    statics: Arc<StaticCatalog>,
    catalog: OnceCell<Arc<ConnectionCatalog>>,
}

/// The tenant a connection is for: the name of its database, which libpq takes from the user where none is given.
pub(super) fn tenant_of<C: ClientInfo + ?Sized>(client: &C) -> PgWireResult<TenantId> {
    let metadata = client.metadata();
    let database = metadata
        .get(METADATA_DATABASE)
        .or_else(|| metadata.get(METADATA_USER));
    let name = database.map_or("", String::as_str);
    TenantId::parse(name).map_err(|error| {
        // invalid_catalog_name
        let message = format!("the database name {name:?} selects the tenant and cannot be one: {error}");
        PgWireError::UserError(Box::new(ErrorInfo::new(
            "FATAL".to_owned(),
            "3D000".to_owned(),
            message,
        )))
    })
}

impl StatementService {
    pub(super) fn new(engine: QueryEngine, statics: Arc<StaticCatalog>) -> Self {
        Self(Arc::new(Shared {
            engine,
            statics,
            catalog: OnceCell::new(),
        }))
    }

    /// Does `work` on the engine's threads over a fresh snapshot of the tenant.
    async fn plan<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        sql: &str,
        limits: QueryLimits,
        work: impl AsyncFnOnce(&QueryEngine, &SessionContext, String) -> PgWireResult<T> + Send + 'static,
    ) -> PgWireResult<T> {
        let shared = &self.0;
        let catalog = shared
            .catalog
            .get_or_try_init(|| async {
                ConnectionCatalog::new(&shared.statics, tenant.as_str()).map(Arc::new)
            })
            .await;
        let catalog = catalog
            .map_err(|error| query_error(&QueryError::from(error)))?
            .clone();
        let (engine, text) = (shared.engine.clone(), sql.to_owned());
        let planned = shared
            .engine
            .plan(tenant, sql, limits, async move |session| {
                let session = catalog
                    .attach(&session)
                    .map_err(|error| query_error(&QueryError::from(error)))?;
                work(&engine, &session, text).await
            })
            .await;
        planned.map_err(|error| query_error(&error))?
    }

    async fn run<C: ClientInfo + ?Sized>(
        &self,
        tenant: &TenantId,
        question: Question,
        format: &Format,
        client: &C,
    ) -> PgWireResult<Response> {
        if client.transaction_status() == TransactionStatus::Error {
            return Err(refusal(
                "25P02",
                "the transaction has failed: statements are ignored until it ends".to_owned(),
            ));
        }
        execute(&self.0.engine, tenant, question, format, client).await
    }
}

async fn respond(about: &AboutConnection, client: &mut dyn HookClient) -> PgWireResult<Response> {
    match about.respond(client).await {
        Some(response) => response,
        None => Err(refusal("0A000", "this statement is not supported".to_owned())),
    }
}

#[async_trait]
impl SimpleQueryHandler for StatementService {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let tenant = tenant_of(client)?;
        let limits = limits_of(client);
        let steps = self.plan(&tenant, query, limits, async move |engine, session, sql| {
            statement::steps(engine, session, &sql).await
        });
        let mut responses = Vec::new();
        for step in steps.await? {
            responses.push(match step {
                Step::Connection(about) => respond(&about, client).await?,
                Step::Question(question) => self.run(&tenant, question, &Format::UnifiedText, client).await?,
            });
        }
        if responses.is_empty() {
            responses.push(Response::EmptyQuery);
        }
        Ok(responses)
    }
}

#[async_trait]
impl ExtendedQueryHandler for StatementService {
    type Statement = Prepared;
    type QueryParser = Self;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        Arc::new(self.clone())
    }

    /// Sends rows as they are read; what this replaces collects as many as the client asks for.
    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let handle = client.session_extensions().get::<Arc<ConnectionHandle>>();
        let done = match handle {
            Some(handle) => {
                let cancelled = handle.start_query().await;
                tokio::select! {
                    done = self.send_rows(client, message) => done,
                    Ok(()) = cancelled => Err(PgWireError::QueryCanceled),
                }
            }
            None => self.send_rows(client, message).await,
        };
        let status = done?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        client.set_transaction_status(status);
        Ok(())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let prepared = portal.statement.statement.clone();
        if let Some(about) = &prepared.connection {
            return respond(about, client).await;
        }
        let tenant = tenant_of(client)?;
        let parameters = parameters(portal)?;
        let limits = limits_of(client);
        let question = self.plan(
            &tenant,
            &prepared.sql,
            limits,
            async move |engine, session, sql| statement::bind(engine, session, sql, &parameters).await,
        );
        let question = question.await?;
        if prepared.parameters.is_empty() && types(&prepared.schema)? != types(&question.schema)? {
            // As PostgreSQL says it, which drivers look for to prepare again.
            return Err(refusal(
                "0A000",
                "cached plan must not change result type".to_owned(),
            ));
        }
        self.run(&tenant, question, &portal.result_column_format, client)
            .await
    }
}

impl StatementService {
    /// Starts a portal, unless it has been, and sends rows of it. What is the state of the transaction after it.
    async fn send_rows<C>(&self, client: &mut C, message: Execute) -> PgWireResult<TransactionStatus>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // 0 is all of them, and so is anything else that is no number of rows.
        let rows_max = usize::try_from(message.max_rows).unwrap_or(0);
        let status = client.transaction_status();
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                let empty = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
                client.feed(empty).await?;
                return Ok(status);
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        let state = portal.state();
        let mut state = state.lock().await;
        if matches!(*state, PortalExecutionState::Initial) {
            match ExtendedQueryHandler::do_query(self, client, &portal, rows_max).await? {
                Response::Query(rows) => *state = PortalExecutionState::Suspended(rows),
                Response::Execution(tag) => {
                    send_execution_response(client, tag).await?;
                    return Ok(status);
                }
                Response::TransactionStart(tag) => {
                    send_execution_response(client, tag).await?;
                    return Ok(status.to_in_transaction_state());
                }
                Response::TransactionEnd(tag) => {
                    send_execution_response(client, tag).await?;
                    client.portal_store().rm_portal(DEFAULT_NAME);
                    return Ok(status.to_idle_state());
                }
                _ => return Err(refusal("0A000", "this statement is not supported".to_owned())),
            }
        }
        // Whatever comes of it but more rows, it is over.
        let mut rows = match std::mem::replace(&mut *state, PortalExecutionState::Finished) {
            PortalExecutionState::Suspended(rows) => rows,
            _ => empty_rows(),
        };
        if send_partial_query_response(client, &mut rows, rows_max).await? {
            *state = PortalExecutionState::Suspended(rows);
        }
        Ok(status)
    }
}

fn empty_rows() -> QueryResponse {
    QueryResponse::new(Arc::default(), futures::stream::empty())
}

/// The values a client has bound, in the types it was told.
fn parameters(portal: &Portal<Prepared>) -> PgWireResult<ParamValues> {
    let known = &portal.statement.statement.parameters;
    let given = portal.parameter_len();
    if given != known.len() {
        return Err(refusal(
            "08P01",
            format!("there are {given} parameters, the statement has {}", known.len()),
        ));
    }
    check_formats(&portal.parameter_format, given, "parameters")?;
    let wire: Vec<Option<&Type>> = known.iter().map(|(wire, _)| Some(wire)).collect();
    let types: Vec<_> = known.iter().map(|(_, known)| known.as_ref()).collect();
    deserialize_parameters_with_server_types(portal, &types, &wire)
}

/// The types of columns on the wire.
fn types(schema: &SchemaRef) -> PgWireResult<Vec<Type>> {
    let fields = arrow_schema_to_pg_fields(schema, &Format::UnifiedText, None)?;
    Ok(fields.iter().map(|field| field.datatype().clone()).collect())
}

#[async_trait]
impl QueryParser for StatementService {
    type Statement = Prepared;

    async fn parse_sql<C>(
        &self,
        client: &C,
        sql: &str,
        _types: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let tenant = tenant_of(client)?;
        self.plan(&tenant, sql, limits_of(client), async move |_, session, sql| {
            statement::prepare(session, sql).await
        })
        .await
    }

    fn get_parameter_types(&self, statement: &Self::Statement) -> PgWireResult<Vec<Type>> {
        let types = statement.parameters.iter();
        Ok(types.map(|(wire, _)| wire.clone()).collect())
    }

    fn get_result_schema(
        &self,
        statement: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        fields(&statement.schema, format.unwrap_or(&Format::UnifiedText), None)
    }
}

/// What is refused goes to the log for those who look for it.
pub(super) struct Errors;

impl ErrorHandler for Errors {
    fn on_error<C>(&self, _client: &C, error: &mut PgWireError)
    where
        C: ClientInfo,
    {
        tracing::debug!(%error, "postgresql statement refused");
    }
}
