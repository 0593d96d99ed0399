//! The PostgreSQL wire protocol, so that `psql` and BI tools can ask. The name of the database is the tenant:
//! `psql -h 127.0.0.1 -p 4301 default`. Read-only, without passwords: it listens on loopback unless told otherwise.
//!
//! Every statement, also each execution of a prepared one, is planned on a fresh snapshot.

mod catalog;
mod execute;
mod service;
mod socket;
mod statement;

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use cupola_query::QueryEngine;
use datafusion_postgres::pgwire::api::auth::noop::NoopStartupHandler;
use datafusion_postgres::pgwire::api::cancel::DefaultCancelHandler;
use datafusion_postgres::pgwire::api::{ClientInfo, ConnectionManager};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use futures::Sink;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::listener::{Bound, Listening, StartError};
use crate::own_metrics::OwnMetrics;
use catalog::StaticCatalog;
use service::StatementService;
use socket::Handlers;

pub(crate) fn serve(
    bound: Bound,
    engine: QueryEngine,
    connections_max: usize,
    own: Arc<OwnMetrics>,
) -> Result<Listening, StartError> {
    let catalog = StaticCatalog::load().map_err(|error| StartError::Setup {
        what: "the PostgreSQL protocol",
        reason: error.to_string(),
    })?;
    let server = Server {
        engine,
        catalog: Arc::new(catalog),
        connections: Arc::new(ConnectionManager::new()),
        permits: Arc::new(Semaphore::new(connections_max)),
        own,
    };
    Ok(Listening::spawn(bound, move |socket, stop| {
        server.accept(socket, stop)
    }))
}

struct Server {
    engine: QueryEngine,
    catalog: Arc<StaticCatalog>,
    /// Shared by all connections: a cancel request comes on a connection of its own.
    connections: Arc<ConnectionManager>,
    permits: Arc<Semaphore>,
    own: Arc<OwnMetrics>,
}

impl Server {
    async fn accept(self, listener: TcpListener, stop: CancellationToken) {
        // Dropping the set at the end closes what is still open.
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = tasks.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "postgresql connection not accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(permit) = self.permits.clone().try_acquire_owned() else {
                self.own
                    .postgres_connections_refused
                    .fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%peer, "postgresql connection closed: too many are open");
                continue;
            };
            tasks.spawn(self.connection(socket, permit));
        }
    }

    fn connection(
        &self,
        socket: TcpStream,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + use<> {
        let handlers = Handlers {
            service: Arc::new(StatementService::new(self.engine.clone(), self.catalog.clone())),
            startup: Arc::new(Startup {
                connections: self.connections.clone(),
            }),
            cancel: Arc::new(DefaultCancelHandler::new(self.connections.clone())),
        };
        let own = self.own.clone();
        async move {
            let _permit = permit;
            own.postgres_connections_active.fetch_add(1, Ordering::Relaxed);
            let left = departure(&socket);
            tokio::select! {
                served = socket::serve(socket, handlers) => {
                    if let Err(error) = served {
                        tracing::debug!(%error, "postgresql connection ended");
                    }
                }
                // Dropping the other branch cancels the statement under way.
                () = left => tracing::debug!("postgresql client left"),
            }
            own.postgres_connections_active.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Ends when the client closes its side. While a statement runs nobody reads the socket, so that only a second handle on it
/// shows that nobody waits for the rows any more.
fn departure(socket: &TcpStream) -> impl Future<Output = ()> + use<> {
    let second = socket.as_fd().try_clone_to_owned().map(std::net::TcpStream::from);
    let second = second.and_then(TcpStream::from_std);
    async move {
        let Ok(socket) = second else {
            return std::future::pending().await;
        };
        loop {
            match socket.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {
                    // What there is to read is for the other handle: wait for the next change.
                    let _ = socket.try_io(Interest::READABLE, || -> std::io::Result<()> {
                        Err(std::io::ErrorKind::WouldBlock.into())
                    });
                }
                _ => return,
            }
        }
    }
}

struct Startup {
    connections: Arc<ConnectionManager>,
}

#[async_trait]
impl NoopStartupHandler for Startup {
    fn connection_manager(&self) -> Option<Arc<ConnectionManager>> {
        Some(self.connections.clone())
    }

    async fn post_startup<C>(&self, client: &mut C, _message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // A name that cannot be a tenant is refused now, not at the first statement.
        service::tenant_of(client).map(|_| ())
    }
}
