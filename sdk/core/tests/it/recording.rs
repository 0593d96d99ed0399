//! From many threads to batches: nothing is lost, nothing is twice, and memory has a bound.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cupola_sdk_core::attributes::AttributeLimits;
use cupola_sdk_core::log::{LogRecord, Severity};
use cupola_sdk_core::recorder::{Recorder, RecorderLimits, Scope};
use cupola_sdk_core::resource::Resource;
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{Batch, Signal, TenantId};

pub(crate) fn recorder(limits: RecorderLimits) -> (Arc<Recorder>, Arc<AtomicU64>) {
    let woken = Arc::new(AtomicU64::new(0));
    let count = woken.clone();
    let wake = Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    (Recorder::new(Signal::Logs, limits, wake), woken)
}

pub(crate) fn log(recorder: &Recorder, scope: Scope, body: &str) -> bool {
    let record = LogRecord::new(Severity::INFO, body, AttributeLimits::default());
    recorder.record(scope, |out| record.write(out))
}

/// `service.name: cart`, as an encoded resource.
fn resource() -> Resource {
    let mut attributes = cupola_sdk_core::attributes::Attributes::new(1, AttributeLimits::default());
    attributes.set("service.name", "cart");
    Resource {
        message: attributes.as_bytes().to_vec(),
        schema_url: String::new(),
    }
}

pub(crate) fn take(recorder: &Recorder) -> Vec<Batch> {
    recorder.take(&resource(), &TenantId::default_tenant())
}

/// Scopes and bodies in the order in which they stand.
pub(crate) fn bodies(batches: &[Batch]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for batch in batches {
        let again =
            Batch::decode_protobuf(batch.signal(), batch.tenant().clone(), batch.payload().clone()).unwrap();
        assert_eq!(again.items(), batch.items());
        assert_eq!(again.payload(), batch.payload(), "what is written is canonical");
        for resource in batch.logs().resources() {
            let service = resource.resource().attributes.get("service.name");
            assert_eq!(service, Some(AnyValue::String("cart")));
            for scope in resource.scopes() {
                for record in scope.records() {
                    let body = record
                        .body
                        .and_then(|body| body.as_str())
                        .unwrap_or_default()
                        .to_owned();
                    found.push((scope.scope().name.to_owned(), body));
                }
            }
        }
    }
    found
}

#[test]
fn records_of_many_threads_are_taken_once_each_in_the_order_of_their_thread() {
    const THREADS: usize = 8;
    const RECORDS: usize = 20_000;
    let limits = RecorderLimits {
        batch_bytes: 50_000,
        batch_items_max: 1_000,
        ..RecorderLimits::default()
    };
    let (recorder, woken) = recorder(limits);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let recorder = recorder.clone();
            std::thread::spawn(move || {
                let scopes = [
                    Scope::of("a", "1", "", &[]),
                    Scope::of("b", "", "https://schema", &[]),
                ];
                for n in 0..RECORDS {
                    assert!(log(&recorder, scopes[n % 2], &format!("{thread} {n}")));
                }
            })
        })
        .collect();
    let mut batches = Vec::new();
    while !threads.iter().all(std::thread::JoinHandle::is_finished) {
        batches.extend(take(&recorder));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    batches.extend(take(&recorder));
    assert!(batches.iter().all(|batch| batch.items() <= 1_000));
    assert!(batches.iter().all(|batch| batch.payload().len() <= 60_000));

    let mut next: HashMap<(String, String), usize> = HashMap::new();
    let found = bodies(&batches);
    assert_eq!(found.len(), THREADS * RECORDS);
    for (scope, body) in found {
        let (thread, n) = body.split_once(' ').unwrap();
        let first = usize::from(scope == "b");
        let next = next.entry((scope, thread.to_owned())).or_insert(first);
        assert_eq!(n.parse::<usize>().unwrap(), *next);
        *next += 2;
    }
    assert_eq!(recorder.taken(), (THREADS * RECORDS) as u64);
    assert_eq!((recorder.dropped(), recorder.bytes()), (0, 0));
    assert!(woken.load(Ordering::Relaxed) >= 1);
    assert!(take(&recorder).is_empty());
}

#[test]
fn what_finds_no_room_is_dropped_and_counted_until_there_is_room_again() {
    let limits = RecorderLimits {
        bytes_max: 100_000,
        ..RecorderLimits::default()
    };
    let (recorder, _) = recorder(limits);
    let body = "x".repeat(1_000);
    let taken = (0..1_000)
        .filter(|_| log(&recorder, Scope::nameless(), &body))
        .count();
    assert!((80..100).contains(&taken), "{taken}");
    assert_eq!(recorder.dropped(), 1_000 - taken as u64);
    assert!(recorder.bytes() <= 100_000);
    assert_eq!(bodies(&take(&recorder)).len(), taken);
    assert!(log(&recorder, Scope::nameless(), &body));
}

#[test]
fn threads_that_end_leave_their_records_and_their_place() {
    let (recorder, _) = recorder(RecorderLimits::default());
    for n in 0..500 {
        let recorder = recorder.clone();
        let thread = std::thread::spawn(move || log(&recorder, Scope::nameless(), &n.to_string()));
        assert!(thread.join().unwrap());
    }
    let found = bodies(&take(&recorder));
    let wanted: Vec<_> = (0..500).map(|n| (String::new(), n.to_string())).collect();
    assert_eq!(found, wanted, "one place does for all, one after the other");
}

#[test]
fn a_panic_while_a_record_is_written_harms_no_other() {
    let (recorder, _) = recorder(RecorderLimits::default());
    assert!(log(&recorder, Scope::nameless(), "before"));
    let panicking = std::panic::AssertUnwindSafe(|| {
        recorder.record(Scope::nameless(), |out| {
            out.extend_from_slice(b"half a record");
            panic!("a formatter of the application");
        })
    });
    assert!(std::panic::catch_unwind(panicking).is_err());
    let huge = "x".repeat(RecorderLimits::default().bytes_max);
    assert!(!log(&recorder, Scope::nameless(), &huge));
    assert!(log(&recorder, Scope::nameless(), "after"));
    // Nor does one that records while it is written: it is the one that is dropped.
    recorder.record(Scope::nameless(), |out| {
        assert!(!log(&recorder, Scope::nameless(), "within"));
        LogRecord::new(Severity::INFO, "around", AttributeLimits::default()).write(out);
    });
    let found: Vec<_> = bodies(&take(&recorder))
        .into_iter()
        .map(|(_, body)| body)
        .collect();
    assert_eq!(found, ["before", "after", "around"]);
    assert_eq!(recorder.dropped(), 2);
}

#[test]
fn a_record_that_is_made_while_a_thread_ends_arrives() {
    struct Last(Arc<Recorder>);

    impl Drop for Last {
        fn drop(&mut self) {
            log(&self.0, Scope::nameless(), "last words");
        }
    }

    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }

    let (recorder, _) = recorder(RecorderLimits::default());
    for first_record_first in [true, false] {
        let recorder = recorder.clone();
        let thread = std::thread::spawn(move || {
            if first_record_first {
                log(&recorder, Scope::nameless(), "first");
            }
            LAST.set(Some(Last(recorder.clone())));
            log(&recorder, Scope::nameless(), "second");
        });
        thread.join().unwrap();
    }
    let found = bodies(&take(&recorder));
    let last = found.iter().filter(|(_, body)| body == "last words").count();
    assert_eq!((found.len(), last, recorder.dropped()), (5, 2, 0));
}
