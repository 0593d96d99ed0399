//! The OTLP receiver: gRPC and HTTP, logs, metrics and traces.
//!
//! Owns the way from the socket to a validated [`cupola_telemetry::Batch`] handed to a sink, and the answer
//! in the protocol's own terms. An answer of success is given only after the sink has taken the batch.
//! Refuses to hold more than its memory budget allows: beyond it, requests are refused with the protocol's
//! retryable code before they are buffered.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>

mod config;
mod cors;
mod grpc;
mod http;
mod ingest;
mod server;
mod settings;
mod stats;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use cupola_export::{Sample, Sink};
use cupola_telemetry::memory::MemoryBudget;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[cfg(fuzzing)]
pub(crate) use crate::receivers::http::decompress::fuzz_decompress;
pub use config::{
    CONNECTIONS_MAX, CorsConfig, GrpcConfig, HttpConfig, OtlpReceiverConfig, OtlpReceiverConfigError,
};
#[cfg(fuzzing)]
pub(crate) use grpc::fuzz_grpc_message;
pub use settings::OtlpSettings;
pub use stats::{ReceiverStats, SignalStats, StatSample, TransportStats};

use crate::auth::Authenticators;
use crate::receivers::http::connection::Tasks;
use crate::receivers::http::guard::GuardError;
use ingest::Ingest;
use server::{Guards, Port, Server};

/// A receiver that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    #[error(transparent)]
    Config(#[from] OtlpReceiverConfigError),
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("cannot listen on {endpoint} for OTLP/{transport}; is another process using the port?")]
    Listen {
        endpoint: SocketAddr,
        transport: &'static str,
        source: io::Error,
    },
}

/// Starts OTLP receivers.
#[derive(Debug)]
pub struct OtlpReceiver;

impl OtlpReceiver {
    /// Binds the configured ports and serves them on the current runtime until
    /// [`RunningReceiver::shutdown`]. Request bodies are held within `memory`.
    pub async fn start(
        config: OtlpReceiverConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
    ) -> Result<RunningReceiver, ReceiverError> {
        OtlpReceiver::start_with(config, sink, memory, &Authenticators::default()).await
    }

    /// The same, with the authenticators that settings may name.
    pub async fn start_with(
        config: OtlpReceiverConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
        authenticators: &Authenticators,
    ) -> Result<RunningReceiver, ReceiverError> {
        config.validate()?;
        let guards = Guards::new(&config, authenticators)?;
        let grpc = match &config.grpc {
            Some(grpc) => Some(listen(grpc.endpoint, "gRPC").await?),
            None => None,
        };
        let http = match &config.http {
            Some(http) => Some(listen(http.endpoint, "HTTP").await?),
            None => None,
        };
        let stats = Arc::new(ReceiverStats::default());
        let running = RunningReceiver {
            grpc_addr: grpc.as_ref().map(|(_, address)| *address),
            http_addr: http.as_ref().map(|(_, address)| *address),
            stats: stats.clone(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            shutdown_timeout: config.shutdown_timeout,
            guards: guards.clone(),
        };
        let ingest = Ingest::new(sink, memory, stats);
        let tasks = Tasks::new(running.tasks.clone(), running.abort.clone());
        let server = Arc::new(Server::new(config, guards, ingest, running.stop.clone(), tasks));
        let ports = [(grpc, Port::Grpc), (http, Port::Http)];
        for ((listener, address), port) in ports.into_iter().filter_map(|(one, port)| Some((one?, port))) {
            tracing::info!(%address, port = port.as_str(), "otlp receiver listening");
            running.tasks.spawn(server.clone().accept(listener, port));
        }
        Ok(running)
    }
}

async fn listen(
    endpoint: SocketAddr,
    transport: &'static str,
) -> Result<(TcpListener, SocketAddr), ReceiverError> {
    let failed = |source| ReceiverError::Listen {
        endpoint,
        transport,
        source,
    };
    let listener = TcpListener::bind(endpoint).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// A receiver that is serving. Dropping it stops it without waiting for requests in flight.
#[derive(Debug)]
pub struct RunningReceiver {
    /// Where OTLP/gRPC is served, with the port the system chose if it was asked to.
    pub grpc_addr: Option<SocketAddr>,
    /// Where OTLP/HTTP is served.
    pub http_addr: Option<SocketAddr>,
    stats: Arc<ReceiverStats>,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    shutdown_timeout: std::time::Duration,
    guards: Guards,
}

impl RunningReceiver {
    pub fn stats(&self) -> &Arc<ReceiverStats> {
        &self.stats
    }

    /// Adds what is counted, also of handshakes and credentials.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        samples.extend(self.stats.samples().into_iter().map(Sample::from));
        self.guards.grpc.collect("grpc", samples);
        self.guards.http.collect("http", samples);
    }

    /// Stops accepting, finishes requests in flight, closes idle connections. Requests that are still not
    /// done after the configured time are cut off: they were not acknowledged.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.shutdown_timeout, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(connections = self.tasks.len(), "cutting off requests at shutdown");
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for RunningReceiver {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}
