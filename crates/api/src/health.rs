//! The health server: `/`, `/health` and `/ready`. It starts before the store is opened, so that a long recovery shows as
//! "alive, not ready" instead of as a dead process. Knows nothing of what it reports on: the binary sets the state.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use parking_lot::RwLock;
use serde_json::json;

use crate::connections::Connections;
use crate::listener::{Listening, StartError, bind, serve_http};

/// Probes open one each now and then; whoever opens more has another purpose.
const CONNECTIONS_MAX: usize = 128;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What `/ready` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadyState {
    /// Not yet, or no longer; the text says what is under way.
    NotReady(String),
    Ready,
}

/// Handle by which the binary says whether requests can be served. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<RwLock<ReadyState>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(ReadyState::NotReady("starting".to_owned()))))
    }
}

impl Readiness {
    pub fn set_ready(&self) {
        *self.0.write() = ReadyState::Ready;
    }

    pub fn set_not_ready(&self, why: impl Into<String>) {
        *self.0.write() = ReadyState::NotReady(why.into());
    }

    pub fn state(&self) -> ReadyState {
        self.0.read().clone()
    }
}

/// Starts the health server.
#[derive(Debug)]
pub struct HealthServer;

/// A health server under way; stops when `shutdown` is called or it is dropped.
#[derive(Debug)]
pub struct RunningHealth {
    pub addr: SocketAddr,
    pub readiness: Readiness,
    /// For whoever publishes metrics.
    pub connections: Connections,
    listening: Listening,
}

impl HealthServer {
    pub async fn start(listen: SocketAddr) -> Result<RunningHealth, StartError> {
        let bound = bind("health", listen).await?;
        let readiness = Readiness::default();
        let router = Router::new()
            .route("/", get(health))
            .route("/health", get(health))
            .route("/ready", get(ready))
            .with_state(readiness.clone());
        let connections = Connections::new(CONNECTIONS_MAX, HEADER_TIMEOUT);
        let listening = serve_http(bound, router, connections.clone());
        Ok(RunningHealth {
            addr: listening.addr,
            readiness,
            connections,
            listening,
        })
    }
}

impl RunningHealth {
    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }
}

async fn health() -> Response {
    // The shape of the OpenTelemetry Collector's health_check extension.
    Json(json!({ "status": "Server available" })).into_response()
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness.state() {
        ReadyState::Ready => Json(json!({ "status": "ready" })).into_response(),
        ReadyState::NotReady(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "status": "not ready", "reason": why })),
        )
            .into_response(),
    }
}
