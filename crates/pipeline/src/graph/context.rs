//! What a component is given when it is made, beside its settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_config::ComponentId;
use cupola_telemetry::Signal;
use cupola_telemetry::memory::MemoryBudget;

use crate::auth::Authenticators;
use crate::ottl::{Env, SystemEnv};

/// The surroundings of one component.
#[derive(Clone)]
pub struct Context {
    /// As `service.pipelines` names it.
    pub id: ComponentId,
    /// For request bodies of receivers.
    pub ingest: MemoryBudget,
    /// For what components hold back: queues, batches being gathered, traces waiting for a decision.
    pub held: MemoryBudget,
    /// Resident bytes of the process and the ceiling on them.
    pub memory: Arc<dyn MemoryProbe>,
    pub env: Arc<dyn Env + Send>,
    pub extensions: Arc<Extensions>,
    /// What the settings of a component name as `auth`.
    pub authenticators: Arc<Authenticators>,
    /// The environment of the process.
    pub variables: Arc<BTreeMap<String, String>>,
    /// Of a receiver: what pipelines take from it.
    pub signals: Vec<Signal>,
    /// Of an exporter: a pipeline hands its batches to others as well.
    pub one_of_several: bool,
    /// Where what must survive the process is kept unless settings say otherwise: dead letters, fall-back files.
    pub directory: PathBuf,
}

impl Context {
    /// Surroundings without bounds, for tests and tools.
    pub fn unbounded(directory: &Path) -> Context {
        Context {
            id: "component".parse().expect("a word is the name of a component"),
            ingest: MemoryBudget::unlimited(),
            held: MemoryBudget::unlimited(),
            memory: Arc::new(NoProbe),
            env: Arc::new(SystemEnv),
            extensions: Arc::default(),
            authenticators: Arc::default(),
            variables: Arc::default(),
            signals: Signal::ALL.to_vec(),
            one_of_several: false,
            directory: directory.to_owned(),
        }
    }

    /// The same for another component.
    #[must_use]
    pub fn of(&self, id: &ComponentId) -> Context {
        Context {
            id: id.clone(),
            ..self.clone()
        }
    }
}

/// Tells how much memory the process takes.
pub trait MemoryProbe: Send + Sync {
    /// Resident bytes now.
    fn resident(&self) -> u64;

    /// Bytes that the process may use in all: of the machine, or of its control group.
    fn total(&self) -> u64;
}

struct NoProbe;

impl MemoryProbe for NoProbe {
    fn resident(&self) -> u64 {
        0
    }

    fn total(&self) -> u64 {
        u64::MAX
    }
}

/// Extensions that components refer to by name.
#[derive(Debug, Default)]
pub struct Extensions {
    /// `file_storage`: the directory of each.
    pub storage: BTreeMap<ComponentId, PathBuf>,
}
