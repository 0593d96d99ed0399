//! The health server: `/`, `/health` and `/ready`. It starts before the store is opened, so that a long recovery shows as
//! "alive, not ready" instead of as a dead process. Knows nothing of what it reports on: the binary sets the state, and says
//! how each component is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, middleware};
use http::{Method, StatusCode, Uri};
use parking_lot::RwLock;
use serde::Serialize;
use serde_json::json;

use crate::connections::Connections;
use crate::listener::{Listening, StartError, bind, serve_http};
use crate::security::{HostPolicy, protect};

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

/// Where the health server listens, and what it answers.
#[derive(Debug, Clone)]
pub struct HealthConfig {
    pub listen: SocketAddr,
    /// Where it is said that the process lives, besides `/`.
    pub path: Option<String>,
    /// What is said there, instead of what the Collector says.
    pub healthy_body: Option<String>,
    /// Host names answered besides this machine's own while `listen` is a loopback address.
    pub allowed_hosts: Vec<String>,
}

impl HealthConfig {
    /// Answers as the Collector does.
    pub fn new(listen: SocketAddr) -> HealthConfig {
        HealthConfig {
            listen,
            path: None,
            healthy_body: None,
            allowed_hosts: Vec::new(),
        }
    }
}

/// Says how the components of the process are.
pub trait HealthSource: Send + Sync {
    fn health(&self) -> ComponentHealth;
}

/// How a component is, or all of several, in the shape that the Collector's `healthcheckv2` gives it.
///
/// <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/extension/healthcheckv2extension>
#[derive(Debug, Clone, Serialize)]
pub struct ComponentHealth {
    pub healthy: bool,
    pub status: HealthStatus,
    /// What does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Since when it is so, if that is known; this and the other times are RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_time: Option<String>,
    /// What did not work last, whether it does now or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error_time: Option<String>,
    /// When it last began to work again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered_time: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, ComponentHealth>,
}

/// The Collector's states that there are here, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum HealthStatus {
    #[serde(rename = "StatusOK")]
    Ok,
    #[serde(rename = "StatusStarting")]
    Starting,
    #[serde(rename = "StatusRecoverableError")]
    Recoverable,
    #[serde(rename = "StatusPermanentError")]
    Permanent,
}

impl ComponentHealth {
    /// Nothing is known to be wrong.
    pub fn ok() -> ComponentHealth {
        ComponentHealth {
            healthy: true,
            status: HealthStatus::Ok,
            error: None,
            status_time: None,
            last_error: None,
            last_error_time: None,
            recovered_time: None,
            components: BTreeMap::new(),
        }
    }

    /// Several as one: as bad as the worst of them.
    pub fn of(components: BTreeMap<String, ComponentHealth>) -> ComponentHealth {
        let mut all = ComponentHealth::ok();
        all.healthy = components.values().all(|one| one.healthy);
        if let Some(worst) = components.values().max_by_key(|one| one.status) {
            all.status = worst.status;
            all.error.clone_from(&worst.error);
            all.status_time.clone_from(&worst.status_time);
        }
        all.components = components;
        all
    }
}

/// Starts the health server.
#[derive(Debug)]
pub struct HealthServer;

#[derive(Clone)]
struct HealthState {
    config: Arc<HealthConfig>,
    readiness: Readiness,
    source: Arc<OnceLock<Arc<dyn HealthSource>>>,
}

/// A health server under way; stops when `shutdown` is called or it is dropped.
pub struct RunningHealth {
    pub addr: SocketAddr,
    pub readiness: Readiness,
    /// For whoever publishes metrics.
    pub connections: Connections,
    source: Arc<OnceLock<Arc<dyn HealthSource>>>,
    listening: Listening,
}

impl HealthServer {
    pub async fn start(config: HealthConfig) -> Result<RunningHealth, StartError> {
        let bound = bind("health", config.listen).await?;
        let hosts = HostPolicy::of(config.listen, &config.allowed_hosts);
        let readiness = Readiness::default();
        let source = Arc::<OnceLock<_>>::default();
        let state = HealthState {
            config: Arc::new(config),
            readiness: readiness.clone(),
            source: source.clone(),
        };
        let router = Router::new()
            .fallback(answer)
            .with_state(state)
            .layer(middleware::from_fn_with_state(hosts, protect));
        let connections = Connections::new(CONNECTIONS_MAX, HEADER_TIMEOUT);
        let listening = serve_http(bound, router, connections.clone());
        Ok(RunningHealth {
            addr: listening.addr,
            readiness,
            connections,
            source,
            listening,
        })
    }
}

impl RunningHealth {
    /// Lets it be said how each component is. Counts the first time.
    pub fn set_source(&self, source: Arc<dyn HealthSource>) {
        let _ = self.source.set(source);
    }

    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }
}

/// Paths are compared and not routed, because one of them is anything that somebody configured.
async fn answer(State(state): State<HealthState>, method: Method, uri: Uri) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    match uri.path() {
        path if path == "/" || state.config.path.as_deref() == Some(path) => alive(&state.config),
        "/health" => health(state.source.get().map(Arc::as_ref)),
        "/ready" => ready(&state.readiness),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn alive(config: &HealthConfig) -> Response {
    match &config.healthy_body {
        Some(body) => body.clone().into_response(),
        // The shape of the OpenTelemetry Collector's health_check extension.
        None => Json(json!({ "status": "Server available" })).into_response(),
    }
}

/// Always a success: that a destination is away is no reason to end the process, which is what a failing probe does.
fn health(source: Option<&dyn HealthSource>) -> Response {
    let health = match source {
        Some(source) => source.health(),
        None => ComponentHealth {
            status: HealthStatus::Starting,
            ..ComponentHealth::ok()
        },
    };
    Json(health).into_response()
}

fn ready(readiness: &Readiness) -> Response {
    match readiness.state() {
        ReadyState::Ready => Json(json!({ "status": "ready" })).into_response(),
        ReadyState::NotReady(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "status": "not ready", "reason": why })),
        )
            .into_response(),
    }
}
