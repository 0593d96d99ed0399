//! What the handlers of the HTTP API share.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cupola_store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::config::ApiConfig;
use crate::control::Control;
use crate::metrics::MetricsSource;
use crate::model::OtlpPorts;
use crate::own_metrics::OwnMetrics;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) config: ApiConfig,
    pub(crate) backend: Backend,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<dyn MetricsSource>,
    pub(crate) own: Arc<OwnMetrics>,
    /// One permit per live tail.
    pub(crate) tails: Arc<Semaphore>,
    /// Cancelled at shutdown: ends the answers that have no end of their own.
    pub(crate) stop: CancellationToken,
    /// Known once the receivers have started, which is after us.
    pub(crate) otlp: Arc<OnceLock<OtlpPorts>>,
    /// Known once everything has started.
    pub(crate) control: Arc<OnceLock<Arc<dyn Control>>>,
    pub(crate) openapi: String,
    pub(crate) started: Instant,
}

impl AppState {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl std::ops::Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
