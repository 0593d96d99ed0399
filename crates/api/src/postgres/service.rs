//! Statements of one connection. Each is planned on a session of its own, that is on a fresh snapshot, and then handled by
//! `datafusion-postgres`.

use std::sync::Arc;

use async_trait::async_trait;
use cupola_query::datafusion::error::DataFusionError;
use cupola_query::datafusion::logical_expr::LogicalPlan;
use cupola_query::datafusion::sql::sqlparser::ast::Statement;
use cupola_query::datafusion::sql::sqlparser::parser::ParserError;
use cupola_query::{QueryEngine, QueryError};
use cupola_telemetry::TenantId;
use datafusion_postgres::hooks::cursor::CursorStatementHook;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::results::{FieldInfo, Response};
use datafusion_postgres::pgwire::api::stmt::{QueryParser, StoredStatement};
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{
    ClientInfo, ClientPortalStore, ErrorHandler, METADATA_DATABASE, METADATA_USER, Type,
};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::{DfSessionService, QueryHook};
use futures::Sink;
use tokio::sync::OnceCell;

use super::catalog::{ConnectionCatalog, StaticCatalog};
use super::execute::{Execute, query_error};
use super::read_only::ReadOnly;

/// A parsed statement as `datafusion-postgres` keeps it.
type Prepared = (String, Option<(Statement, LogicalPlan)>);

#[derive(Clone)]
pub(super) struct StatementService(Arc<Shared>);

struct Shared {
    engine: QueryEngine,
    statics: Arc<StaticCatalog>,
    catalog: OnceCell<ConnectionCatalog>,
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

    /// Handlers over a fresh snapshot of the client's tenant.
    async fn fresh<C: ClientInfo + ?Sized>(
        &self,
        client: &C,
        format: Format,
    ) -> PgWireResult<DfSessionService> {
        let tenant = tenant_of(client)?;
        let shared = &self.0;
        let catalog = shared
            .catalog
            .get_or_try_init(|| async { ConnectionCatalog::new(&shared.statics, tenant.as_str()) })
            .await
            .map_err(api_error)?;
        let session = shared
            .engine
            .session(&tenant)
            .await
            .map_err(|error| query_error(&error))?;
        let session = catalog.attach(&session).map_err(api_error)?;
        let hooks: Vec<Arc<dyn QueryHook>> = vec![
            Arc::new(ReadOnly),
            Arc::new(CursorStatementHook),
            Arc::new(SetShowHook),
            Arc::new(TransactionStatementHook),
            Arc::new(Execute {
                engine: shared.engine.clone(),
                tenant,
                format,
            }),
        ];
        Ok(DfSessionService::new_with_hooks(Arc::new(session), hooks))
    }
}

fn api_error(error: impl std::error::Error + Send + Sync + 'static) -> PgWireError {
    PgWireError::ApiError(Box::new(error))
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
        let service = self.fresh(&*client, Format::UnifiedText).await?;
        <DfSessionService as SimpleQueryHandler>::do_query(&service, client, query).await
    }
}

#[async_trait]
impl ExtendedQueryHandler for StatementService {
    type Statement = Prepared;
    type QueryParser = Self;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        Arc::new(self.clone())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let service = self.fresh(&*client, portal.result_column_format.clone()).await?;
        let stored = &portal.statement;
        // The plan made when it was prepared holds the snapshot of then: plan it again.
        let parser = service.query_parser();
        let again = parser
            .parse_sql(&*client, &stored.statement.0, &stored.parameter_types)
            .await?;
        let Some(again) = again else {
            return Ok(Response::EmptyQuery);
        };
        let mut fresh = Portal::default();
        fresh.name.clone_from(&portal.name);
        fresh.statement = Arc::new(StoredStatement::new(
            stored.id.clone(),
            again,
            stored.parameter_types.clone(),
        ));
        fresh.parameter_format = portal.parameter_format.clone();
        fresh.parameters.clone_from(&portal.parameters);
        fresh.result_column_format = portal.result_column_format.clone();
        <DfSessionService as ExtendedQueryHandler>::do_query(&service, client, &fresh, max_rows).await
    }
}

#[async_trait]
impl QueryParser for StatementService {
    type Statement = Prepared;

    async fn parse_sql<C>(
        &self,
        client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        self.fresh(client, Format::UnifiedText)
            .await?
            .query_parser()
            .parse_sql(client, sql, types)
            .await
    }

    fn get_parameter_types(&self, statement: &Self::Statement) -> PgWireResult<Vec<Type>> {
        any_parser().get_parameter_types(statement)
    }

    fn get_result_schema(
        &self,
        statement: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        any_parser().get_result_schema(statement, format)
    }
}

/// Types of a planned statement are read from its plan alone; which session the parser has does not matter.
fn any_parser() -> Arc<datafusion_postgres::Parser> {
    use std::sync::LazyLock;

    use cupola_query::datafusion::prelude::SessionContext;
    static PARSER: LazyLock<Arc<datafusion_postgres::Parser>> = LazyLock::new(|| {
        DfSessionService::new_with_hooks(Arc::new(SessionContext::new()), Vec::new()).query_parser()
    });
    PARSER.clone()
}

/// Gives errors of the parser and the planner the codes and hints that clients know, wherever they arose.
pub(super) struct Errors;

impl ErrorHandler for Errors {
    fn on_error<C>(&self, _client: &C, error: &mut PgWireError)
    where
        C: ClientInfo,
    {
        *error = readable(std::mem::replace(error, PgWireError::PortalNotStarted));
        tracing::debug!(%error, "postgresql statement refused");
    }
}

fn readable(error: PgWireError) -> PgWireError {
    let PgWireError::ApiError(cause) = error else {
        return error;
    };
    let cause = match cause.downcast::<DataFusionError>() {
        Ok(error) => return query_error(&QueryError::from(*error)),
        Err(cause) => cause,
    };
    match cause.downcast::<ParserError>() {
        Ok(error) => query_error(&QueryError::from(DataFusionError::SQL(error, None))),
        Err(cause) => PgWireError::ApiError(cause),
    }
}
