//! Connections: accepting, serving HTTP/1.1 and HTTP/2 on each, and letting go of them at shutdown. Owns the
//! bound on connections, the HTTP settings, and the tasks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::http::{Request, Response};
use cupola_export::auth::AuthSettings;
use cupola_export::tls::ServerTlsSettings;
use cupola_telemetry::Client;
use hyper::body::Incoming;
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::config::{HttpConfig, OtlpReceiverConfig};
use super::ingest::Ingest;
use super::stats::{TransportStats, count};
use super::{grpc, http};
use crate::auth::Authenticators;
use crate::receivers::http::connection::{Tasks, builder, serve_connection};
use crate::receivers::http::guard::{Guard, GuardError};
use crate::receivers::http::response::ResponseBody;

/// After a failed accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Grpc,
    Http,
}

impl Port {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Port::Grpc => "grpc",
            Port::Http => "http",
        }
    }
}

/// What stands before the requests of each port.
#[derive(Clone, Debug)]
pub(super) struct Guards {
    pub(super) grpc: Guard,
    pub(super) http: Guard,
}

impl Guards {
    pub(super) fn new(
        config: &OtlpReceiverConfig,
        authenticators: &Authenticators,
    ) -> Result<Guards, GuardError> {
        let guard = |tls: &Option<ServerTlsSettings>, auth: &Option<AuthSettings>, metadata| {
            Guard::new(tls.as_ref(), auth.as_ref(), metadata, authenticators)
        };
        let grpc = match &config.grpc {
            Some(grpc) => guard(&grpc.tls, &grpc.auth, grpc.include_metadata)?,
            None => Guard::default(),
        };
        let http = match &config.http {
            Some(http) => guard(&http.tls, &http.auth, http.include_metadata)?,
            None => Guard::default(),
        };
        Ok(Guards { grpc, http })
    }

    fn of(&self, port: Port) -> &Guard {
        match port {
            Port::Grpc => &self.grpc,
            Port::Http => &self.http,
        }
    }
}

pub(super) struct Server {
    guards: Guards,
    ingest: Ingest,
    config: OtlpReceiverConfig,
    /// Largest message of gRPC on either port, and largest body of plain HTTP on the gRPC port.
    grpc_message_bytes_max: usize,
    connections: Arc<Semaphore>,
    builder: Builder<Tasks>,
    stop: CancellationToken,
    tasks: Tasks,
}

impl Server {
    pub(super) fn new(
        config: OtlpReceiverConfig,
        guards: Guards,
        ingest: Ingest,
        stop: CancellationToken,
        tasks: Tasks,
    ) -> Server {
        let builder = builder(&tasks);
        let connections = Arc::new(Semaphore::new(config.connections_max));
        let grpc_message_bytes_max = config.grpc.clone().unwrap_or_default().message_bytes_max;
        Server {
            guards,
            ingest,
            grpc_message_bytes_max,
            connections,
            builder,
            stop,
            tasks,
            config,
        }
    }

    pub(super) fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    pub(super) fn body_timeout(&self) -> Duration {
        self.config.body_timeout
    }

    fn transport(&self, port: Port) -> &TransportStats {
        match port {
            Port::Grpc => &self.ingest.stats().grpc,
            Port::Http => &self.ingest.stats().http,
        }
    }

    /// Accepts connections until told to stop. Each is a task.
    pub(super) async fn accept(self: Arc<Server>, listener: TcpListener, port: Port) {
        let stop = self.stop.clone();
        let accepting = async {
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        // Without a free place this one waits, and the system's backlog holds the rest.
                        if self.connections.available_permits() == 0 {
                            count(&self.transport(port).connections_waited, 1);
                        }
                        let Ok(place) = self.connections.clone().acquire_owned().await else {
                            return;
                        };
                        let server = self.clone();
                        self.tasks.spawn(async move {
                            server.connection(stream, peer, port).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, port = port.as_str(), "cannot accept connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = stop.cancelled() => {}
        }
    }

    async fn connection(self: Arc<Server>, stream: TcpStream, peer: SocketAddr, port: Port) {
        let stats = self.transport(port);
        count(&stats.connections_total, 1);
        count(&stats.connections, 1);
        tokio::select! {
            () = self.clone().serve(stream, peer, port) => {}
            () = self.tasks.aborted() => {}
        }
        stats.connections.fetch_sub(1, Ordering::Relaxed);
    }

    async fn serve(self: Arc<Server>, stream: TcpStream, peer: SocketAddr, port: Port) {
        let opened = self.clone();
        let from = Arc::new(Client::at(peer.ip()));
        let handle = move |request| {
            let (server, from) = (opened.clone(), from.clone());
            async move { server.handle(port, &from, request).await }
        };
        serve_connection(
            &self.builder,
            stream,
            peer,
            &self.stop,
            self.guards.of(port),
            self.config.body_timeout,
            handle,
        )
        .await;
    }

    async fn handle(
        &self,
        port: Port,
        peer: &Arc<Client>,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let guard = self.guards.of(port);
        if grpc::is_grpc(&request) {
            return grpc::serve(self, guard, peer, self.grpc_message_bytes_max, request).await;
        }
        match (port, &self.config.http) {
            (Port::Http, Some(config)) => http::serve(self, guard, peer, config, request).await,
            // Plain HTTP on the gRPC port gets the same answers, without CORS.
            _ => {
                let config = HttpConfig {
                    body_bytes_max: self.grpc_message_bytes_max,
                    ..HttpConfig::default()
                };
                http::serve(self, guard, peer, &config, request).await
            }
        }
    }
}
