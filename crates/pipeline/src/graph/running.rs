//! A plan at work: its components made and joined, changed to another plan while batches flow, and ended.
//!
//! Everything that a batch can meet is made before any receiver listens, and everything ends in the direction of the
//! data, so that nothing is taken in that could not be passed on.

mod collect;
mod describe;
mod edges;
mod make;
mod reload;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use cupola_config::ComponentId;
use cupola_export::Component;
use futures::future::join_all;
use parking_lot::RwLock;
use tokio::sync::Mutex;

use super::context::Context;
use super::id::PipelineId;
use super::kinds::{BuildError, Receiver};
use super::plan::Plan;
use super::station::Station;
use crate::auth::Authenticators;
use edges::Edges;

pub use super::station::Counts;
pub use describe::{Role, RunningPart, RunningPipeline};
pub use reload::{ReloadError, Reloaded};

/// Pipelines could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the {role} `{id}`")]
pub struct StartError {
    /// `receiver`, `processor`, `exporter`, `connector` or `extension`.
    pub role: &'static str,
    pub id: ComponentId,
    #[source]
    pub source: BuildError,
}

/// Pipelines that run until [`shutdown`](Self::shutdown).
pub struct Pipelines {
    context: Context,
    running: RwLock<Running>,
    /// Held by whoever changes what runs.
    changing: Mutex<Ended>,
}

/// Whether everything has been ended for good.
type Ended = bool;

/// What runs now.
#[derive(Clone, Default)]
struct Running {
    plan: Arc<Plan>,
    edges: Edges,
    authenticators: Arc<Authenticators>,
    exporters: BTreeMap<ComponentId, Arc<Station>>,
    connectors: BTreeMap<ComponentId, Arc<Station>>,
    /// A processor is made once for each pipeline that has it.
    processors: BTreeMap<(PipelineId, ComponentId), Arc<Station>>,
    receivers: BTreeMap<ComponentId, Arc<dyn Receiver>>,
}

impl Pipelines {
    /// Makes and joins all components, receivers last. What was made is ended again if one fails.
    pub async fn start(plan: Plan, context: Context) -> Result<Pipelines, StartError> {
        let authenticators = Arc::new(plan.make_authenticators()?);
        let mut running = Running {
            plan: Arc::new(plan),
            authenticators,
            ..Running::default()
        };
        match running.make_all(&context).await {
            Ok(()) => Ok(Pipelines {
                context,
                running: RwLock::new(running),
                changing: Mutex::new(false),
            }),
            Err(error) => {
                running.end().await;
                Err(error)
            }
        }
    }

    /// Ends receivers, then every component in the direction of the data. What is held back is handed on as far as its
    /// destinations take it.
    pub async fn shutdown(&self) {
        let mut ended = self.changing.lock().await;
        *ended = true;
        let running = self.running.read().clone();
        running.end().await;
    }

    /// Where receivers listen: component, protocol, address.
    pub fn addresses(&self) -> Vec<(ComponentId, &'static str, SocketAddr)> {
        let running = self.running.read();
        let of = |(id, receiver): (&ComponentId, &Arc<dyn Receiver>)| {
            let listening = receiver.addresses();
            let id = id.clone();
            listening
                .into_iter()
                .map(move |(protocol, address)| (id.clone(), protocol, address))
        };
        running.receivers.iter().flat_map(of).collect()
    }
}

impl Running {
    async fn end(&self) {
        join_all(self.receivers.values().map(|receiver| receiver.shutdown())).await;
        let order = self.plan.downstream();
        for (index, pipeline) in order.iter().enumerate() {
            let Some(of) = self.plan.pipelines.get(pipeline) else {
                continue;
            };
            for id in &of.processors {
                if let Some(station) = self.processors.get(&(pipeline.clone(), id.clone())) {
                    station.component.shutdown().await;
                }
            }
            for id in &of.exporters {
                // A connector ends after the last of the pipelines that feed it.
                let later = self
                    .plan
                    .feeding(id)
                    .any(|feeding| order[index + 1..].contains(feeding));
                if let Some(station) = self.connectors.get(id).filter(|_| !later) {
                    station.component.shutdown().await;
                }
            }
        }
        join_all(
            self.exporters
                .values()
                .map(|station| station.component.shutdown()),
        )
        .await;
    }

    /// Components that a pipeline hands its batches to, as components of the graph.
    fn destination(&self, id: &ComponentId) -> Option<&Arc<Station>> {
        self.connectors.get(id).or_else(|| self.exporters.get(id))
    }

    fn component(&self, pipeline: &PipelineId, id: &ComponentId) -> Option<Arc<dyn Component>> {
        let station = self.processors.get(&(pipeline.clone(), id.clone()));
        station.map(|station| station.component.clone())
    }
}
