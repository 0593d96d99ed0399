//! What the SDK measures of itself: what was recorded and dropped, and how each backend fares. Told with the metrics of the
//! application, under the scope `cupola.sdk`.

use std::sync::{Arc, Mutex, PoisonError};

use super::Exporting;
use crate::backend::{BackendHealth, DROPPED, RETRIES, SENT};
use crate::fork;
use crate::metrics::{Description, Meter, Observable, Observer, Registration};
use crate::recorder::{Recorder, Scope};
use crate::value::Value;

/// What is told, and by whom.
#[derive(Default)]
pub(super) struct OwnMetrics {
    backends: Arc<Mutex<Vec<BackendHealth>>>,
    registration: Option<Registration>,
}

/// A number of a backend that is counted.
struct Counted {
    instrument: Observable<u64>,
    /// Samples that are added up to it.
    samples: &'static [&'static str],
}

impl OwnMetrics {
    /// Has them told from now on.
    pub(super) fn register(&mut self, exporting: &Arc<Exporting>) {
        let meter = exporting
            .meters
            .meter(Scope::of("cupola.sdk", env!("CARGO_PKG_VERSION"), "", &[]));
        let of_backends = OfBackends::new(&meter);
        let of_records = OfRecords::new(&meter);
        let (backends, exporting) = (self.backends.clone(), Arc::downgrade(exporting));
        let generation = fork::generation();
        self.registration = Some(meter.register(move |observer| {
            // Of the parent of a fork, whose lock may be held by a thread that is not there: the child has its own.
            if generation != fork::generation() {
                return;
            }
            if let Some(exporting) = exporting.upgrade() {
                of_records.observe(observer, &exporting);
            }
            let backends = backends.lock().unwrap_or_else(PoisonError::into_inner);
            backends
                .iter()
                .for_each(|backend| of_backends.observe(observer, backend));
        }));
    }

    /// Notes how the backends are.
    pub(super) fn look(&self, backends: &[BackendHealth]) {
        *self.backends.lock().unwrap_or_else(PoisonError::into_inner) = backends.to_vec();
    }
}

impl Drop for OwnMetrics {
    fn drop(&mut self) {
        if let Some(registration) = self.registration.take() {
            registration.unregister();
        }
    }
}

struct OfRecords {
    exported: Observable<u64>,
    dropped: Observable<u64>,
    held: Observable<u64>,
    lost: Observable<u64>,
    taken_over: Observable<u64>,
    unkept: Observable<u64>,
}

impl OfRecords {
    fn new(meter: &Meter) -> OfRecords {
        let item = |name, description| Description::of(name, "{item}", description);
        OfRecords {
            exported: meter.observable_counter(&item(
                "cupola.sdk.records.exported",
                "Spans and log records taken for export.",
            )),
            dropped: meter.observable_counter(&item(
                "cupola.sdk.records.dropped",
                "Spans and log records dropped when they ended, since too many waited.",
            )),
            held: meter.observable_up_down_counter(&Description::of(
                "cupola.sdk.records.held",
                "By",
                "What waits for export.",
            )),
            lost: meter.observable_counter(&item("cupola.sdk.lost", "Items that no backend could be given.")),
            taken_over: meter.observable_counter(&item(
                "cupola.sdk.taken_over",
                "Records that ended processes had left, exported by this one.",
            )),
            unkept: meter.observable_counter(&item(
                "cupola.sdk.spool.unkept",
                "Records that the spool had no room for: a crash before they were queued would have lost them.",
            )),
        }
    }

    fn observe(&self, observer: &Observer<'_>, exporting: &Exporting) {
        let recorders: [(&str, &Recorder); 2] = [("traces", &exporting.spans), ("logs", &exporting.logs)];
        for (signal, recorder) in recorders {
            let of_signal = [("signal", Value::String(signal))];
            observer.observe(&self.exported, recorder.taken(), &of_signal);
            observer.observe(&self.dropped, recorder.dropped(), &of_signal);
            observer.observe(&self.held, recorder.bytes() as u64, &of_signal);
        }
        observer.observe(&self.lost, exporting.counts.dropped.get(), &[]);
        observer.observe(&self.taken_over, exporting.counts.taken_over.get(), &[]);
        if let Some(spool) = &exporting.spool {
            observer.observe(&self.unkept, spool.unkept(), &[]);
        }
    }
}

struct OfBackends {
    counted: [Counted; 3],
    queued: Observable<u64>,
    is_up: Observable<u64>,
    fallback: Observable<u64>,
}

impl OfBackends {
    fn new(meter: &Meter) -> OfBackends {
        let counted = |name, unit, description, samples| Counted {
            instrument: meter.observable_counter(&Description::of(name, unit, description)),
            samples,
        };
        OfBackends {
            counted: [
                counted(
                    "cupola.sdk.backend.sent",
                    "{item}",
                    "Items that a backend has taken.",
                    SENT,
                ),
                counted(
                    "cupola.sdk.backend.retries",
                    "{attempt}",
                    "Attempts after the first.",
                    RETRIES,
                ),
                counted("cupola.sdk.backend.dropped", "{item}", "Items given up.", DROPPED),
            ],
            queued: meter.observable_up_down_counter(&Description::of(
                "cupola.sdk.backend.queued",
                "{item}",
                "Items that wait or are being sent.",
            )),
            is_up: meter.observable_gauge(&Description::of(
                "cupola.sdk.backend.up",
                "1",
                "1 while a backend works, 0 while it fails.",
            )),
            fallback: meter.observable_gauge(&Description::of(
                "cupola.sdk.backend.fallback",
                "1",
                "The fallback in use, from 1; 0 for none.",
            )),
        }
    }

    fn observe(&self, observer: &Observer<'_>, backend: &BackendHealth) {
        let name = [("backend", Value::String(&backend.name))];
        for counted in &self.counted {
            let sum = backend.sum_of(counted.samples);
            observer.observe(&counted.instrument, sum, &name);
        }
        observer.observe(&self.queued, backend.queued_items as u64, &name);
        observer.observe(&self.is_up, u64::from(backend.is_healthy()), &name);
        observer.observe(&self.fallback, backend.fallback as u64, &name);
    }
}
