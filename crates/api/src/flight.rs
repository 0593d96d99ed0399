//! Arrow Flight SQL: statements, prepared statements with parameters, and what tables there are, for ADBC, JDBC and ODBC
//! drivers. The gRPC header `x-scope-orgid` selects the tenant. Read-only.
//!
//! A ticket is the statement itself, so nothing is kept between asking for a plan and fetching its rows; only prepared
//! statements are kept, at most so many, the oldest going first.

mod metadata;
mod statements;

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo,
    CommandGetTableTypes, CommandGetTables, CommandPreparedStatementQuery, CommandStatementQuery,
    DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, Ticket,
};
use bytes::Bytes;
use cupola_query::{QueryEngine, QueryLimits};
use cupola_telemetry::TenantId;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use tonic::{Request, Response, Status};

use crate::backend::{Answer, Backend};
use crate::connections::Connections;
use crate::error::ApiError;
use crate::listener::{Bound, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, Listening};
use crate::own_metrics::OwnMetrics;
use crate::tenant::{TENANT_HEADER, parse_tenant};
use statements::{Prepared, Statements, planned_schema};

type Rows = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send + 'static>>;

/// Serves until stopped.
pub(crate) fn serve(
    bound: Bound,
    engine: QueryEngine,
    connections: Connections,
    statements_max: usize,
    own: Arc<OwnMetrics>,
) -> Listening {
    let service = FlightSql {
        backend: Backend::new(engine.clone()),
        engine,
        statements: Arc::new(Statements::new(statements_max, own)),
    };
    let what = bound.what;
    Listening::spawn(bound, move |socket, stop| async move {
        let incoming = stream::unfold((socket, connections), move |(socket, connections)| async move {
            let connection = connections.accept(&socket, what).await;
            Some((Ok::<_, std::io::Error>(connection), (socket, connections)))
        });
        let server = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .add_service(FlightServiceServer::new(service));
        if let Err(error) = server
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
            .await
        {
            tracing::error!(%error, "flight sql server stopped");
        }
    })
}

#[derive(Clone)]
struct FlightSql {
    backend: Backend,
    engine: QueryEngine,
    statements: Arc<Statements>,
}

fn status(error: ApiError) -> Status {
    let code = match error.status.as_u16() {
        400 | 404 | 406 => tonic::Code::InvalidArgument,
        413 | 422 | 429 => tonic::Code::ResourceExhausted,
        408 | 504 => tonic::Code::DeadlineExceeded,
        409 => tonic::Code::Cancelled,
        503 => tonic::Code::Unavailable,
        _ => tonic::Code::Internal,
    };
    let message = match error.hint {
        Some(hint) => format!("{}; hint: {hint}", error.message),
        None => error.message,
    };
    Status::new(code, message)
}

fn internal(error: impl std::fmt::Display) -> Status {
    status(ApiError::internal("the answer could not be encoded", error))
}

fn tenant_of<T>(request: &Request<T>) -> Result<TenantId, Status> {
    let mut values = request.metadata().get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(TenantId::default_tenant());
    };
    if values.next().is_some() {
        return Err(Status::invalid_argument(
            "the x-scope-orgid header is there more than once",
        ));
    }
    let text = value
        .to_str()
        .map_err(|_| Status::invalid_argument("the x-scope-orgid header is not ASCII"))?;
    parse_tenant(text).map_err(status)
}

fn flight_info(
    schema: &Schema,
    ticket: impl Into<Bytes>,
    descriptor: FlightDescriptor,
) -> Result<Response<FlightInfo>, Status> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
    let info = FlightInfo::new().try_with_schema(schema).map_err(internal)?;
    Ok(Response::new(
        info.with_endpoint(endpoint).with_descriptor(descriptor),
    ))
}

/// The rows of a statement, sent as fast as they are read.
fn rows(answer: Answer) -> Response<Rows> {
    let schema = answer.schema.clone();
    let batches = stream::unfold(answer, |mut answer| async move {
        answer.batches.next().await.map(|batch| (batch, answer))
    });
    encoded(schema, batches.map_err(|error| FlightError::from(status(error))))
}

fn batch(batch: RecordBatch) -> Response<Rows> {
    encoded(batch.schema(), stream::once(std::future::ready(Ok(batch))))
}

fn encoded(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> Response<Rows> {
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
    Response::new(encoder.map_err(Status::from).boxed())
}

fn ipc_schema(schema: &Schema) -> Result<Bytes, Status> {
    let message: IpcMessage = SchemaAsIpc::new(schema, &IpcWriteOptions::default())
        .try_into()
        .map_err(internal)?;
    Ok(message.0)
}

#[tonic::async_trait]
impl FlightSqlService for FlightSql {
    type FlightService = FlightSql;

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let tenant = tenant_of(&request)?;
        let (schema, _) = planned_schema(&self.backend, &tenant, &query.query).await?;
        let ticket = TicketStatementQuery {
            statement_handle: query.query.into(),
        };
        flight_info(&schema, ticket.as_any().encode_to_vec(), request.into_inner())
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let tenant = tenant_of(&request)?;
        let sql = std::str::from_utf8(&ticket.statement_handle)
            .map_err(|_| Status::invalid_argument("the ticket is not one this server gave"))?;
        Ok(rows(
            self.backend
                .sql(&tenant, sql, QueryLimits::UNSET)
                .await
                .map_err(status)?,
        ))
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let tenant = tenant_of(&request)?;
        let (schema, parameters) = planned_schema(&self.backend, &tenant, &query.query).await?;
        let handle = self.statements.insert(Prepared {
            tenant,
            sql: query.query,
            parameters: None,
        });
        let parameters = Schema::new(
            parameters
                .into_iter()
                .map(|(name, kind)| Field::new(name, kind, true))
                .collect::<Vec<_>>(),
        );
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle,
            dataset_schema: ipc_schema(&schema)?,
            parameter_schema: ipc_schema(&parameters)?,
        })
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let tenant = tenant_of(&request)?;
        let data = request.into_inner().map_err(FlightError::from);
        let bound = statements::read_parameters(data).await?;
        self.statements
            .bind(&tenant, &query.prepared_statement_handle, bound)?;
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(query.prepared_statement_handle),
        })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let tenant = tenant_of(&request)?;
        let prepared = self.statements.get(&tenant, &query.prepared_statement_handle)?;
        let (schema, _) = planned_schema(&self.backend, &tenant, &prepared.sql).await?;
        flight_info(&schema, query.as_any().encode_to_vec(), request.into_inner())
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let tenant = tenant_of(&request)?;
        let prepared = self.statements.get(&tenant, &query.prepared_statement_handle)?;
        match prepared.parameters {
            None => Ok(rows(
                self.backend
                    .sql(&tenant, &prepared.sql, QueryLimits::UNSET)
                    .await
                    .map_err(status)?,
            )),
            Some(parameters) => {
                let answer = self
                    .backend
                    .sql_with(&tenant, &prepared.sql, parameters)
                    .await
                    .map_err(status)?;
                Ok(rows(answer))
            }
        }
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        self.statements
            .remove(&tenant_of(&request)?, &query.prepared_statement_handle);
        Ok(())
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = query.as_any().encode_to_vec();
        flight_info(&query.into_builder().schema(), ticket, request.into_inner())
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let session = metadata::session(&self.engine, &tenant_of(&request)?).await?;
        Ok(batch(metadata::catalogs(&session, query).map_err(internal)?))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = query.as_any().encode_to_vec();
        flight_info(&query.into_builder().schema(), ticket, request.into_inner())
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let session = metadata::session(&self.engine, &tenant_of(&request)?).await?;
        Ok(batch(metadata::schemas(&session, query).map_err(internal)?))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = query.as_any().encode_to_vec();
        flight_info(&query.into_builder().schema(), ticket, request.into_inner())
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let session = metadata::session(&self.engine, &tenant_of(&request)?).await?;
        Ok(batch(metadata::tables(&session, query).await?))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = query.as_any().encode_to_vec();
        flight_info(&query.into_builder().schema(), ticket, request.into_inner())
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        _request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        Ok(batch(metadata::table_types(query).map_err(internal)?))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = query.as_any().encode_to_vec();
        flight_info(
            &query.into_builder(metadata::server()?).schema(),
            ticket,
            request.into_inner(),
        )
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        _request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        Ok(batch(
            query
                .into_builder(metadata::server()?)
                .build()
                .map_err(internal)?,
        ))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
