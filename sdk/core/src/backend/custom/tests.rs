//! Custom backends that wait, panic and fail.

use std::sync::Condvar;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use cupola_telemetry::{Signal, TenantId};

use super::super::CustomBackend;
use super::*;

/// Waits as long as the gate is shut.
#[derive(Default)]
struct Gated {
    shut: Mutex<bool>,
    opened: Condvar,
    entered: AtomicU64,
    calls: Mutex<Vec<String>>,
    flush_fails: AtomicBool,
}

impl Gated {
    fn say(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }

    fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

struct Given(Arc<Gated>);

impl CustomBackend for Given {
    fn export(&self, batch: &Batch) -> Result<(), CustomError> {
        self.0.entered.fetch_add(1, Ordering::SeqCst);
        let shut = self.0.shut.lock().unwrap();
        drop(self.0.opened.wait_while(shut, |shut| *shut).unwrap());
        if batch.items() == 13 {
            panic!("thirteen");
        }
        self.0.say(format!("export {}", batch.items()));
        match batch.items() {
            404 => Err(CustomError::GiveUp("unknown".to_owned())),
            503 => Err(CustomError::Again("busy".to_owned())),
            _ => Ok(()),
        }
    }

    fn flush(&self) -> Result<(), CustomError> {
        self.0.say("flush");
        match self.0.flush_fails.load(Ordering::SeqCst) {
            true => Err(CustomError::Again("full".to_owned())),
            false => Ok(()),
        }
    }

    fn close(&self) {
        self.0.say("close");
    }
}

fn sink(gated: &Arc<Gated>) -> CustomSink {
    CustomSink::start("own", Custom(Arc::new(Given(gated.clone())))).unwrap()
}

fn batch(items: usize) -> Batch {
    let payload = Bytes::from(items.to_string());
    Batch::from_canonical(Signal::Logs, TenantId::default_tenant(), payload, items)
}

fn count(sink: &CustomSink, name: &str) -> f64 {
    let mut samples = Vec::new();
    sink.collect(&mut samples);
    samples.iter().find(|sample| sample.name == name).unwrap().value
}

#[tokio::test]
async fn answers_are_passed_on_and_a_panic_gives_up_its_batch_alone() {
    let gated = Arc::<Gated>::default();
    let sink = sink(&gated);
    assert_eq!(sink.send(batch(1)).await, Ok(Accepted::all()));
    assert_eq!(sink.send(batch(404)).await, Err(SendError::permanent("unknown")));
    assert_eq!(sink.send(batch(503)).await, Err(SendError::retryable("busy")));
    assert_eq!(
        sink.send(batch(13)).await,
        Err(SendError::permanent("the backend panicked"))
    );
    assert_eq!(sink.send(batch(2)).await, Ok(Accepted::all()));
    assert_eq!(count(&sink, "cupola_sdk_backend_panics"), 1.0);
    sink.shutdown().await;
    sink.shutdown().await;
    assert_eq!(
        gated.calls(),
        [
            "export 1",
            "flush",
            "export 404",
            "export 503",
            "export 2",
            "flush",
            "flush",
            "close"
        ]
    );
    assert!(sink.send(batch(3)).await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn a_flush_that_fails_is_told_until_one_does_not() {
    let gated = Arc::<Gated>::default();
    let sink = sink(&gated);
    gated.flush_fails.store(true, Ordering::SeqCst);
    assert_eq!(sink.send(batch(1)).await, Ok(Accepted::all()));
    let failing = sink.condition().failing.unwrap();
    assert_eq!(failing.reason, "it could not be flushed: full");
    gated.flush_fails.store(false, Ordering::SeqCst);
    assert_eq!(sink.send(batch(2)).await, Ok(Accepted::all()));
    let condition = sink.condition();
    assert!(condition.failing.is_none() && condition.last_error.is_some());
    assert_eq!(count(&sink, "cupola_sdk_backend_flush_failures"), 1.0);
}

/// The application's thread may be stuck for as long as it likes: what is tried again meanwhile does not pile up, and is given to
/// it once.
#[tokio::test]
async fn attempts_that_have_ended_are_not_made_and_one_that_succeeded_late_is_not_repeated() {
    let gated = Arc::<Gated>::default();
    *gated.shut.lock().unwrap() = true;
    let sink = sink(&gated);
    let short = Duration::from_millis(1);
    {
        let mut first = std::pin::pin!(sink.send(batch(1)));
        while gated.entered.load(Ordering::SeqCst) == 0 {
            assert!(tokio::time::timeout(short, &mut first).await.is_err());
        }
    }
    for _ in 0..50 {
        assert!(tokio::time::timeout(short, sink.send(batch(1))).await.is_err());
        assert!(tokio::time::timeout(short, sink.send(batch(2))).await.is_err());
    }
    gated.open();
    assert_eq!(sink.send(batch(3)).await, Ok(Accepted::all()));
    assert_eq!(sink.send(batch(1)).await, Ok(Accepted::all()));
    assert_eq!(sink.send(batch(2)).await, Ok(Accepted::all()));
    let mut exports = gated.calls();
    exports.retain(|call| call != "flush");
    assert_eq!(exports, ["export 1", "export 3", "export 2"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_does_not_wait_for_ever_for_one_that_is_stuck() {
    let gated = Arc::<Gated>::default();
    *gated.shut.lock().unwrap() = true;
    let sink = sink(&gated);
    assert!(
        tokio::time::timeout(Duration::from_secs(10), sink.send(batch(1)))
            .await
            .is_err()
    );
    let begun = tokio::time::Instant::now();
    sink.shutdown().await;
    assert_eq!(begun.elapsed(), CLOSE_TIME_MAX);
    gated.open();
}
