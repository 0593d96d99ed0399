//! A backend that keeps what it is given, or refuses it as long as a test wants; and settings with it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use cupola_sdk_core::backend::{Backend, Custom, CustomBackend, CustomError, Destination};
use cupola_sdk_core::baggage::Baggage;
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::resource::OwnedValue;
use cupola_sdk_core::{Sdk, Settings, Surroundings};
use cupola_telemetry::{Batch, Signal};

use crate::recording::bodies;

/// Long enough for anything that happens at all.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// What has arrived.
#[derive(Default)]
pub(crate) struct Kept {
    batches: Mutex<Vec<Batch>>,
    arrived: Condvar,
    pub(crate) refuses: AtomicBool,
    pub(crate) refused: AtomicUsize,
}

struct Keeping(Arc<Kept>);

impl CustomBackend for Keeping {
    fn export(&self, batch: &Batch) -> Result<(), CustomError> {
        if self.0.refuses.load(Ordering::SeqCst) {
            self.0.refused.fetch_add(1, Ordering::SeqCst);
            self.0.arrived.notify_all();
            return Err(CustomError::Again("not now".to_owned()));
        }
        self.0.keep(batch);
        Ok(())
    }
}

impl Kept {
    pub(crate) fn keep(&self, batch: &Batch) {
        self.batches.lock().unwrap().push(batch.clone());
        self.arrived.notify_all();
    }

    /// As a backend of this name that is tried again at once.
    pub(crate) fn backend(self: &Arc<Kept>, name: &str) -> Backend {
        let custom = Custom(Arc::new(Keeping(self.clone())));
        let mut backend = Backend::new(name, Destination::Custom(custom));
        backend.delivery.retry_on_failure.initial_interval = Duration::from_millis(1);
        backend.delivery.retry_on_failure.max_interval = Duration::from_millis(20);
        backend
    }

    pub(crate) fn settings(self: &Arc<Kept>) -> Settings {
        let mut settings = Settings {
            backends: vec![self.backend("kept")],
            ..Settings::default()
        };
        settings.resource.attributes =
            vec![("service.name".to_owned(), OwnedValue::String("cart".to_owned()))];
        settings
    }

    pub(crate) fn batches(&self) -> Vec<Batch> {
        self.batches.lock().unwrap().clone()
    }

    /// Bodies of the log records that have arrived.
    pub(crate) fn logs(&self) -> Vec<String> {
        let batches: Vec<Batch> = self
            .batches()
            .into_iter()
            .filter(|batch| batch.signal() == Signal::Logs)
            .collect();
        bodies(&batches).into_iter().map(|(_, body)| body).collect()
    }

    /// Waits until what has happened is as `is_so` wants it.
    pub(crate) fn wait(&self, is_so: impl Fn(&Kept, &[Batch]) -> bool) {
        let batches = self.batches.lock().unwrap();
        let waited = self
            .arrived
            .wait_timeout_while(batches, LONG, |batches| !is_so(self, batches))
            .unwrap();
        assert!(!waited.1.timed_out(), "it did not come to it");
    }
}

/// A backend that waits for leave with each batch.
#[derive(Default)]
pub(crate) struct Gated {
    state: Mutex<GatedState>,
    changed: Condvar,
}

#[derive(Default)]
struct GatedState {
    begun: usize,
    leaves: usize,
    taken: Vec<Batch>,
}

struct Waiting(Arc<Gated>);

impl CustomBackend for Waiting {
    fn export(&self, batch: &Batch) -> Result<(), CustomError> {
        let mut state = self.0.state.lock().unwrap();
        state.begun += 1;
        self.0.changed.notify_all();
        let mut state = self
            .0
            .changed
            .wait_while(state, |state| state.leaves == 0)
            .unwrap();
        state.leaves -= 1;
        state.taken.push(batch.clone());
        Ok(())
    }
}

impl Gated {
    pub(crate) fn backend(self: &Arc<Gated>) -> Backend {
        let custom = Custom(Arc::new(Waiting(self.clone())));
        Backend::new("gated", Destination::Custom(custom))
    }

    /// Waits until so many batches have come.
    pub(crate) fn wait_for(&self, begun: usize) {
        let state = self.state.lock().unwrap();
        let waited = self
            .changed
            .wait_timeout_while(state, LONG, |state| state.begun < begun)
            .unwrap();
        assert!(!waited.1.timed_out(), "it did not come to it");
    }

    /// Has taken all that it was to take.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state.lock().unwrap().leaves == 0
    }

    /// Takes so many batches more.
    pub(crate) fn take(&self, batches: usize) {
        self.state.lock().unwrap().leaves += batches;
        self.changed.notify_all();
    }

    pub(crate) fn logs(&self) -> Vec<String> {
        let taken = bodies(&self.state.lock().unwrap().taken);
        taken.into_iter().map(|(_, body)| body).collect()
    }
}

pub(crate) fn sdk(settings: Settings) -> Sdk {
    Sdk::new(settings, Surroundings::default())
}

/// Records a log record.
pub(crate) fn say(sdk: &Sdk, body: &str) -> bool {
    let logger = sdk.logger(Scope::nameless());
    let record = logger.record(Severity::INFO, body, &Baggage::none());
    logger.emit(&record)
}
