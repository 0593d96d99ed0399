//! Spans that run for long are told about while they do.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use cupola_sdk_core::clock::Clock;
use cupola_sdk_core::context::SpanContext;
use cupola_sdk_core::ids::Ids;
use cupola_sdk_core::pending::PendingSettings;
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::sampling::AlwaysOff;
use cupola_sdk_core::span::SpanKind;
use cupola_sdk_core::tracer::{Start, Tracer};
use cupola_sdk_core::{Sdk, Settings, Surroundings, Value};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Decoded;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;

use crate::forked::in_child;
use crate::kept::LONG;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_000 * SECOND;

fn sdk(pending: Option<PendingSettings>) -> (Sdk, Arc<AtomicU64>) {
    let mut settings = Settings::default();
    settings.traces.pending = pending;
    let (clock, time) = Clock::at(START);
    let surroundings = Surroundings {
        clock,
        ids: Ids::counting(),
    };
    (Sdk::new(settings, surroundings), time)
}

/// What is told at a time, and when there may be more.
fn told(sdk: &Sdk, settings: &PendingSettings, now: u64) -> (Vec<LogRecord>, u64) {
    let mut records = Vec::new();
    let next = sdk.pending().due(settings, now, &mut |_, record| {
        records.push(LogRecord::decode(record).unwrap());
    });
    (records, next)
}

fn attribute(record: &LogRecord, key: &str) -> Option<Decoded> {
    let pair = record.attributes.iter().find(|pair| pair.key == key)?;
    pair.value.clone()?.value
}

fn tracer(sdk: &Sdk) -> Tracer {
    sdk.tracer(Scope::of("shop", "1", "", &[]))
}

#[test]
fn a_span_is_told_about_when_it_has_run_for_long_and_again_until_it_ends() {
    let settings = PendingSettings::default();
    let (sdk, _) = sdk(Some(settings));
    let tracer = tracer(&sdk);
    let parent = tracer.start(Start::new("short"));
    let started = tracer.start(Start {
        parent: &parent.context,
        kind: SpanKind::Client,
        attributes: &[
            ("url.path", Value::String("/reports")),
            ("span.name", Value::Int(1)),
        ],
        ..Start::new(String::from("fetch reports"))
    });
    drop(parent.recording);
    let recording = started.recording.unwrap();
    assert_eq!(sdk.pending().len(), 1, "one that is dropped runs no more");

    let (records, next) = told(&sdk, &settings, START + 10 * SECOND - 1);
    assert_eq!((records.len(), next), (0, START + 10 * SECOND));
    let (records, next) = told(&sdk, &settings, START + 12 * SECOND);
    assert_eq!(next, START + 22 * SECOND, "others may start at any time");
    let [record] = &records[..] else {
        panic!("{records:?}");
    };
    assert_eq!(record.event_name, "cupola.span.pending");
    assert_eq!(record.severity_number, 9);
    assert_eq!(record.time_unix_nano, START + 12 * SECOND);
    assert_eq!(record.trace_id, started.context.trace_id.as_bytes());
    assert_eq!(record.span_id, started.context.span_id.as_bytes());
    let text = |text: &str| Some(Decoded::StringValue(text.to_owned()));
    for (key, value) in [
        ("span.name", text("fetch reports")),
        ("span.kind", text("client")),
        ("span.parent_id", text(&parent.context.span_id.to_string())),
        ("span.start_time", Some(Decoded::IntValue(START as i64))),
        ("span.elapsed", Some(Decoded::DoubleValue(12.0))),
        ("url.path", text("/reports")),
    ] {
        assert_eq!(attribute(record, key), value, "{key}");
    }
    assert_eq!(record.attributes.len(), 6, "each key once");

    assert_eq!(told(&sdk, &settings, START + 72 * SECOND - 1).0.len(), 0);
    let (again, _) = told(&sdk, &settings, START + 72 * SECOND);
    assert_eq!(
        attribute(&again[0], "span.elapsed"),
        Some(Decoded::DoubleValue(72.0))
    );

    // On another thread than it started on.
    std::thread::scope(|scope| {
        scope.spawn(|| tracer.end(recording));
    });
    assert!(sdk.pending().is_empty());
    assert_eq!(told(&sdk, &settings, START + 1_000 * SECOND).0.len(), 0);
    sdk.shutdown(LONG);
}

#[test]
fn nothing_is_known_where_nobody_wants_to_know() {
    let (sdk, _) = sdk(None);
    let started = tracer(&sdk).start(Start::new("span"));
    assert!(started.recording.is_some() && sdk.pending().is_empty());
    let mut settings = Settings::default();
    settings.traces.pending = Some(PendingSettings::default());
    sdk.apply(settings.clone(), LONG);
    let known = tracer(&sdk).start(Start::new("span"));
    assert_eq!(sdk.pending().len(), 1);
    settings.traces.sampler = Arc::new(AlwaysOff);
    sdk.apply(settings, LONG);
    assert!(tracer(&sdk).start(Start::new("not sampled")).recording.is_none());
    assert_eq!(sdk.pending().len(), 1);
    tracer(&sdk).end(known.recording.unwrap());
    tracer(&sdk).end(started.recording.unwrap());
    assert!(sdk.pending().is_empty());
    sdk.shutdown(LONG);
}

#[test]
fn there_is_a_bound_and_what_is_beyond_is_counted_and_recorded_all_the_same() {
    let settings = PendingSettings {
        spans_max: 2,
        attribute_bytes_max: 20,
        ..PendingSettings::default()
    };
    let (sdk, _) = sdk(Some(settings));
    let tracer = tracer(&sdk);
    let long = "x".repeat(100);
    let attributes = [("key", Value::String(&long))];
    let start = || Start {
        attributes: &attributes,
        ..Start::new("span")
    };
    let mut running: Vec<_> = (0..5).map(|_| tracer.start(start()).recording.unwrap()).collect();
    assert_eq!((sdk.pending().len(), sdk.pending().overflowed()), (2, 3));
    let (records, _) = told(&sdk, &settings, START + 10 * SECOND);
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|record| attribute(record, "key").is_none()));
    running.drain(..2).for_each(|recording| tracer.end(recording));
    let next = tracer.start(start()).recording.unwrap();
    assert_eq!((sdk.pending().len(), sdk.pending().overflowed()), (1, 3));
    running.into_iter().for_each(|recording| tracer.end(recording));
    assert_eq!(sdk.pending().len(), 1);
    tracer.end(next);
    assert!(sdk.pending().is_empty());
    sdk.shutdown(LONG);
}

#[test]
fn spans_of_many_threads_are_known_and_forgotten() {
    let settings = PendingSettings {
        after: Duration::ZERO,
        ..PendingSettings::default()
    };
    let (sdk, _) = sdk(Some(settings));
    let (tracer, sdk) = (&tracer(&sdk), &sdk);
    let (give, take) = std::sync::mpsc::sync_channel(16);
    let total: usize = std::thread::scope(|scope| {
        for _ in 0..4 {
            let give = give.clone();
            scope.spawn(move || {
                for _ in 0..500 {
                    give.send(tracer.start(Start::new("handed over")).recording.unwrap())
                        .unwrap();
                }
            });
        }
        drop(give);
        let looking = scope.spawn(move || {
            (0..50)
                .map(|_| told(sdk, &settings, START + SECOND).0.len())
                .sum()
        });
        take.into_iter().for_each(|recording| tracer.end(recording));
        looking.join().unwrap()
    });
    assert!(total <= 2_000, "each is told about once in a minute");
    assert!(sdk.pending().is_empty());
    assert_eq!(sdk.pending().overflowed(), 0);
    sdk.shutdown(LONG);
}

#[test]
fn a_child_begins_with_none_of_its_parents_spans() {
    let settings = PendingSettings::default();
    let (sdk, _) = sdk(Some(settings));
    let tracer = tracer(&sdk);
    let of_parent = tracer.start(Start::new("of the parent"));
    let mut inherited = of_parent.recording;
    let said = in_child(|| {
        let before = sdk.pending().len();
        let own = tracer.start(Start {
            parent: &SpanContext::default(),
            ..Start::new("of the child")
        });
        // Its place is the same as that of the child's own.
        if let Some(recording) = inherited.take() {
            tracer.end(recording);
        }
        let told = told(&sdk, &settings, START + 10 * SECOND).0;
        let names: Vec<_> = told
            .iter()
            .map(|record| format!("{:?}", attribute(record, "span.name")))
            .collect();
        tracer.end(own.recording.unwrap());
        format!("{before} {} {}", names.join(","), sdk.pending().len())
    });
    assert_eq!(said, r#"0 Some(StringValue("of the child")) 0"#);
    assert_eq!(sdk.pending().len(), 1);
    let (records, _) = told(&sdk, &settings, START + 10 * SECOND);
    assert_eq!(records.len(), 1);
    tracer.end(inherited.unwrap());
    sdk.shutdown(LONG);
}
