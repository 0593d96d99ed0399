//! Backends that come and go, refuse, panic, or hang: what was recorded is somewhere, and it is said where.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
use cupola_export::json_lines::JsonLinesConfig;
use cupola_sdk_core::backend::{Backend, Custom, CustomBackend, CustomError, Destination, Signals};
use cupola_sdk_core::baggage::Baggage;
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::settings::SpoolSettings;
use cupola_sdk_core::tracer::Start;
use cupola_sdk_core::{Sdk, Settings};
use cupola_telemetry::{Batch, Signal};

use crate::collector::{Collector, config, is_down, takes};
use crate::kept::{Kept, LONG, say, sdk};

fn settings(backend: Backend) -> Settings {
    let mut settings = Settings {
        backends: vec![backend],
        self_metrics: false,
        ..Settings::default()
    };
    settings.resource.attributes = vec![(
        "service.name".to_owned(),
        cupola_sdk_core::resource::OwnedValue::String("cart".to_owned()),
    )];
    settings
}

/// One that is tried again at once.
fn backend(destination: Destination) -> Backend {
    let mut backend = Backend::new("tested", destination);
    backend.delivery.retry_on_failure.initial_interval = Duration::from_millis(1);
    backend.delivery.retry_on_failure.max_interval = Duration::from_millis(20);
    backend.fallback_interval = Duration::from_millis(20);
    backend
}

fn lines(path: &Path) -> Destination {
    Destination::JsonLines(JsonLinesConfig {
        log_file: path.to_owned(),
        ..JsonLinesConfig::default()
    })
}

/// Bodies of the log records in a file of JSON lines.
fn bodies_in(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let body = |line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["body"].as_str().unwrap().to_owned()
    };
    text.lines().map(body).collect()
}

fn said(sdk: &Sdk, bodies: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
    let bodies = bodies.into_iter().map(|body| body.to_string());
    bodies.inspect(|body| assert!(say(sdk, body))).collect()
}

/// Where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn records_arrive_once_at_a_collector_that_refuses_every_other_request() {
    let collector = Collector::start(|before| {
        if before % 2 == 0 {
            is_down(before)
        } else {
            takes(before)
        }
    });
    let sdk = sdk(settings(backend(Destination::Otlp(collector.config()))));
    let mut wanted = BTreeSet::new();
    for round in 0..20 {
        wanted.extend(said(&sdk, round * 50..(round + 1) * 50));
        assert!(sdk.flush(LONG));
    }
    let arrived = collector.logs();
    assert_eq!((arrived.len(), arrived.into_iter().collect()), (1_000, wanted));
    let health = &sdk.health()[0];
    assert_eq!(
        (health.sent(), health.dropped(), health.queued_items),
        (1_000, 0, 0)
    );
    assert!(health.retried() >= 20 && health.is_healthy(), "{health:?}");
    assert!(health.last_error().unwrap().contains("503"));
    assert!(sdk.shutdown(LONG));
}

#[test]
fn a_dead_collector_has_records_go_to_a_file_until_it_works_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fallback").join("cart.jsonl");
    let collector = Collector::start(is_down);
    let mut backend = backend(Destination::Otlp(collector.config()));
    backend.fallbacks = vec![lines(&file)];
    let sdk = sdk(settings(backend));
    let mut wanted = said(&sdk, 0..100);
    assert!(sdk.flush(LONG), "what is in the file has been delivered");
    assert_eq!(bodies_in(&file).into_iter().collect::<BTreeSet<_>>(), wanted);
    let health = &sdk.health()[0];
    assert_eq!((health.fallback, health.sent(), health.dropped()), (1, 100, 0));
    assert!(health.is_healthy(), "records get somewhere");
    let failing = health.condition.failing.as_ref().unwrap();
    assert!(failing.reason.starts_with("otlp: 503"), "{}", failing.reason);

    collector.answers(takes);
    let mut next = 100;
    while collector.logs().is_empty() {
        wanted.extend(said(&sdk, next..next + 1));
        next += 1;
        assert!(next < 100_000 && sdk.flush(LONG));
    }
    wanted.extend(said(&sdk, next..next + 1));
    assert!(sdk.flush(LONG));
    assert!(collector.logs().contains(&next.to_string()), "all go there again");
    let mut arrived = collector.logs();
    arrived.extend(bodies_in(&file));
    assert_eq!(
        (arrived.len(), arrived.into_iter().collect()),
        (wanted.len(), wanted)
    );
    let health = &sdk.health()[0];
    assert_eq!((health.fallback, &health.condition.failing), (0, &None));
    assert!(sdk.shutdown(LONG));
}

#[test]
fn records_for_a_collector_that_nobody_runs_or_that_knows_us_not_are_in_the_file() {
    let unauthorized = |_| (StatusCode::UNAUTHORIZED, "who are you".to_owned());
    let collector = Collector::start(unauthorized);
    for destination in [config(&nobody()), collector.config()] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cart.jsonl");
        let mut backend = backend(Destination::Otlp(destination));
        backend.fallbacks = vec![lines(&file)];
        let sdk = sdk(settings(backend));
        let wanted = said(&sdk, 0..10);
        assert!(sdk.shutdown(LONG));
        assert_eq!(bodies_in(&file).into_iter().collect::<BTreeSet<_>>(), wanted);
    }
}

#[test]
fn each_backend_gets_the_signals_and_the_levels_that_it_wants() {
    let [traces, warnings, all] = [(); 3].map(|()| Arc::new(Kept::default()));
    let mut only_traces = traces.backend("traces");
    only_traces.signals = Signals::only(Signal::Traces);
    let mut only_warnings = warnings.backend("warnings");
    only_warnings.level = Some(Severity::WARN);
    let settings = Settings {
        backends: vec![only_traces, only_warnings, all.backend("all")],
        ..settings(all.backend("all"))
    };
    let sdk = sdk(settings);
    let logger = sdk.logger(Scope::nameless());
    for (severity, body) in [
        (Severity::DEBUG, "debug"),
        (Severity::WARN, "warn"),
        (Severity::ERROR, "error"),
    ] {
        assert!(logger.emit(&logger.record(severity, body, &Baggage::none())));
    }
    let tracer = sdk.tracer(Scope::nameless());
    tracer.end(tracer.start(Start::new("span")).recording.unwrap());
    assert!(sdk.shutdown(LONG));
    let spans = |kept: &Kept| {
        let batches = kept.batches();
        let spans = batches.iter().filter(|batch| batch.signal() == Signal::Traces);
        spans.map(Batch::items).sum::<usize>()
    };
    assert_eq!((traces.logs(), spans(&traces)), (vec![], 1));
    assert_eq!(
        (warnings.logs(), spans(&warnings)),
        (vec!["warn".to_owned(), "error".to_owned()], 1)
    );
    assert_eq!(
        (all.logs(), spans(&all)),
        (vec!["debug".to_owned(), "warn".to_owned(), "error".to_owned()], 1)
    );
}

/// Panics at its first batch.
#[derive(Default)]
struct Panicking(Kept);

impl CustomBackend for Panicking {
    fn export(&self, batch: &Batch) -> Result<(), CustomError> {
        if self.0.refused.fetch_add(1, Ordering::SeqCst) == 0 {
            panic!("a fault of the application");
        }
        self.0.keep(batch);
        Ok(())
    }
}

#[test]
fn a_custom_backend_that_panics_loses_its_batch_which_is_counted_and_gets_the_next() {
    let panicking = Arc::new(Panicking::default());
    let sdk = sdk(settings(backend(Destination::Custom(Custom(panicking.clone())))));
    said(&sdk, 0..3);
    assert!(sdk.flush(LONG));
    said(&sdk, 3..5);
    assert!(sdk.flush(LONG));
    assert_eq!(panicking.0.logs(), ["3", "4"]);
    let health = &sdk.health()[0];
    assert_eq!((health.sent(), health.dropped()), (2, 3));
    assert_eq!(health.last_error(), Some("the backend panicked"));
    assert!(sdk.shutdown(LONG));
}

#[test]
fn what_is_said_of_a_backend_has_no_secrets_in_it() {
    let says_it_all = |_| {
        let body = "no access with password=hunter2 at https://shop:hunter2@collector.test";
        (StatusCode::FORBIDDEN, body.to_owned())
    };
    let collector = Collector::start(says_it_all);
    let with_password = nobody().replace("http://", "http://shop:hunter2@");
    let no_url = "ftp://shop:hunter2@collector.test".to_owned();
    for config in [collector.config(), config(&with_password), config(&no_url)] {
        let sdk = sdk(settings(backend(Destination::Otlp(config))));
        said(&sdk, 0..1);
        while sdk.health()[0].last_error().is_none() {
            sdk.flush(Duration::from_millis(10));
        }
        let health = format!("{:?}", sdk.health());
        assert!(!health.contains("hunter2"), "{health}");
        sdk.shutdown(Duration::ZERO);
    }
}

/// As a pipe is that nobody reads.
struct Stuck(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl CustomBackend for Stuck {
    fn export(&self, _: &Batch) -> Result<(), CustomError> {
        let _ = self.0.lock().unwrap().recv();
        Ok(())
    }
}

#[test]
fn one_backend_that_is_stuck_keeps_nothing_from_the_others() {
    let kept = Arc::new(Kept::default());
    let (go_on, waited_for) = std::sync::mpsc::sync_channel(0);
    let stuck = Custom(Arc::new(Stuck(std::sync::Mutex::new(waited_for))));
    let mut settings = settings(backend(Destination::Custom(stuck)));
    settings.backends.push(kept.backend("kept"));
    let sdk = sdk(settings);
    let wanted = said(&sdk, 0..100);
    assert!(!sdk.flush(Duration::from_millis(50)));
    kept.wait(|_, batches| batches.iter().map(Batch::items).sum::<usize>() == 100);
    assert_eq!(kept.logs().into_iter().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(sdk.health()[0].queued_items, 100);
    drop(go_on);
    assert!(sdk.shutdown(LONG));
}

/// What a dead backend leaves on disk is bounded as the spool is, and what is beyond it is counted.
#[test]
fn a_queue_on_disk_holds_no_more_than_the_spool_may() {
    const BYTES_MAX: u64 = 256 << 10;
    let directory = tempfile::tempdir().unwrap();
    let kept = Arc::new(Kept::default());
    kept.refuses.store(true, Ordering::SeqCst);
    let settings = Settings {
        spool: Some(SpoolSettings {
            directory: directory.path().to_owned(),
            bytes_max: BYTES_MAX,
        }),
        ..kept.settings()
    };
    let sdk = sdk(settings);
    // Of a kind that compression makes little of.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    for n in 0..2_000 {
        let text: String = (0..1_000).map(|_| next()).collect();
        say(&sdk, &text);
        if n % 50 == 49 {
            sdk.flush(Duration::ZERO);
        }
    }
    kept.wait(|kept, _| kept.refused.load(Ordering::SeqCst) > 0);
    let health = sdk.health();
    let size = |name: &str| {
        let samples = health[0].samples.iter().filter(|sample| sample.name == name);
        samples.map(|sample| sample.value as u64).sum::<u64>()
    };
    let on_disk = size("cupola_exporter_queue_disk_bytes");
    assert!(on_disk > BYTES_MAX / 2 && on_disk <= BYTES_MAX, "{on_disk}");
    sdk.shutdown(Duration::from_millis(100));
}
