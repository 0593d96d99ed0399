//! Starts the HTTP API and the protocol servers beside it, and stops them again.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cupola_query::QueryEngine;
use cupola_store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::config::ApiConfig;
use crate::connections::Connections;
use crate::control::Control;
use crate::listener::{Listening, StartError, bind, serve_http};
use crate::metrics::MetricsSource;
use crate::model::OtlpPorts;
use crate::own_metrics::OwnMetrics;
use crate::pages::{PageServer, RunningPages};
use crate::routes::agent::AgentState;
use crate::security::HostPolicy;
use crate::state::{AppState, Shared};
use crate::{flight, postgres, routes};

/// Starts everything this crate serves, but for health.
#[derive(Debug)]
pub struct ApiServer;

/// The servers under way. Dropping it stops them at once; [`shutdown`](Self::shutdown) lets answers under way end.
pub struct RunningApi {
    /// Web page, HTTP API and `/metrics`.
    pub addr: SocketAddr,
    /// PostgreSQL wire protocol, unless switched off.
    pub postgres_addr: Option<SocketAddr>,
    /// Arrow Flight SQL, unless switched off.
    pub flight_addr: Option<SocketAddr>,
    otlp: Arc<OnceLock<OtlpPorts>>,
    control: Arc<OnceLock<Arc<dyn Control>>>,
    own: Arc<OwnMetrics>,
    metrics: Arc<dyn MetricsSource>,
    stop: CancellationToken,
    servers: Vec<Listening>,
}

impl ApiServer {
    /// Binds every address first, so that nothing is served when one is taken.
    pub async fn start(
        config: ApiConfig,
        engine: QueryEngine,
        store: Store,
        metrics: Arc<dyn MetricsSource>,
    ) -> Result<RunningApi, StartError> {
        let api = bind("the HTTP API", config.listen).await?;
        let postgres = match config.postgres_listen {
            Some(addr) => Some(bind("the PostgreSQL protocol", addr).await?),
            None => None,
        };
        let flight = match config.flight_listen {
            Some(addr) => Some(bind("Arrow Flight SQL", addr).await?),
            None => None,
        };
        let own = Arc::new(OwnMetrics::default());
        let stop = CancellationToken::new();
        let otlp = Arc::new(OnceLock::new());
        let control = Arc::new(OnceLock::new());
        let mut running = RunningApi {
            addr: api.addr,
            postgres_addr: postgres.as_ref().map(|bound| bound.addr),
            flight_addr: flight.as_ref().map(|bound| bound.addr),
            otlp: otlp.clone(),
            control: control.clone(),
            own: own.clone(),
            metrics: metrics.clone(),
            stop: stop.clone(),
            servers: Vec::new(),
        };
        if let Some(bound) = postgres {
            let connections_max = config.postgres_connections_max;
            running.servers.push(postgres::serve(
                bound,
                engine.clone(),
                connections_max,
                own.clone(),
            )?);
        }
        let connections = Connections::new(config.connections_max, config.header_timeout);
        let flight_connections = Connections::new(config.flight_connections_max, config.header_timeout);
        own.set_connections(vec![
            ("http", connections.clone()),
            ("flight_sql", flight_connections.clone()),
        ]);
        if let Some(bound) = flight {
            running.servers.push(flight::serve(
                bound,
                engine.clone(),
                flight_connections,
                config.flight_statements_max,
                own.clone(),
            ));
        }
        let hosts = hosts(&config);
        let state = AppState::new(Shared {
            backend: Backend::new(engine),
            store,
            metrics,
            own,
            tails: Arc::new(Semaphore::new(config.tails_max)),
            stop,
            otlp,
            control,
            openapi: routes::openapi_json(),
            started: Instant::now(),
            config,
        });
        running
            .servers
            .push(serve_http(api, routes::router(state, hosts), connections));
        Ok(running)
    }
}

impl ApiServer {
    /// Starts what there is without a store: `/metrics`, and reading the configuration again. PostgreSQL and Flight SQL,
    /// which have nothing to answer from, are not listened for.
    pub async fn start_without_store(
        config: ApiConfig,
        metrics: Arc<dyn MetricsSource>,
    ) -> Result<RunningApi, StartError> {
        let api = bind("the HTTP API", config.listen).await?;
        let addr = api.addr;
        let own = Arc::new(OwnMetrics::default());
        let connections = Connections::new(config.connections_max, config.header_timeout);
        own.set_connections(vec![("http", connections.clone())]);
        let control = Arc::new(OnceLock::new());
        let state = AgentState {
            metrics: metrics.clone(),
            own: own.clone(),
            control: control.clone(),
        };
        let router = routes::agent::router(state, hosts(&config), config.body_bytes_max);
        Ok(RunningApi {
            addr,
            postgres_addr: None,
            flight_addr: None,
            otlp: Arc::default(),
            control,
            own,
            metrics,
            stop: CancellationToken::new(),
            servers: vec![serve_http(api, router, connections)],
        })
    }
}

fn hosts(config: &ApiConfig) -> HostPolicy {
    HostPolicy::of(config.listen, &config.allowed_hosts)
}

impl RunningApi {
    /// Lets the status and the page say where telemetry is taken. Counts the first time.
    pub fn announce_otlp(&self, ports: OtlpPorts) {
        let _ = self.otlp.set(ports);
    }

    /// Lets the configuration be read again on request. Counts the first time.
    pub fn set_control(&self, control: Arc<dyn Control>) {
        let _ = self.control.set(control);
    }

    /// Serves `/metrics` at an address of its own as well, for whoever should reach nothing else.
    pub async fn serve_metrics(
        &self,
        listen: SocketAddr,
        allowed_hosts: &[String],
    ) -> Result<RunningPages, StartError> {
        let router = routes::metrics_router(self.own.clone(), self.metrics.clone());
        PageServer::start("the page of own metrics", listen, allowed_hosts, router).await
    }

    /// Ends tails and statements under way, lets other answers end, and stops listening.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        for server in std::mem::take(&mut self.servers) {
            server.shutdown().await;
        }
    }
}

impl Drop for RunningApi {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
