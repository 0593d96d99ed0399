//! What a process exports of traces when it decides at their end.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_sdk_core::context::{SpanContext, TraceFlags};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::sampling::{Condition, FORCED, Pattern, TraceIdRatio};
use cupola_sdk_core::span::{Span, SpanKind, SpanLimits, Status};
use cupola_sdk_core::tail::{Tail, TailCounts, TailSettings};
use cupola_telemetry::{SpanId, TraceId};
use opentelemetry_proto::tonic::trace::v1::Span as DecodedSpan;
use proptest::prelude::*;
use prost::Message;

const SECOND: u64 = 1_000_000_000;
/// When spans of tests start.
const START: u64 = 1_000 * SECOND;

/// Keeps nothing that nothing speaks for.
fn settings() -> TailSettings {
    TailSettings {
        ratio: TraceIdRatio::new(0.0).unwrap(),
        ..TailSettings::default()
    }
}

/// A span of a trace: number 1 is the local root, others are below it.
fn span(trace: u128, number: u64) -> Span {
    let context = |number: u64| SpanContext {
        trace_id: TraceId(trace.to_be_bytes()),
        span_id: SpanId(number.to_be_bytes()),
        flags: TraceFlags::SAMPLED,
        ..SpanContext::default()
    };
    let parent = (number > 1).then(|| context(1));
    let name = format!("span {number}");
    let limits = SpanLimits::default();
    Span::new(
        context(number),
        parent.as_ref(),
        name,
        SpanKind::Server,
        START,
        &limits,
    )
}

fn encoded(span: &Span, took: Duration) -> Vec<u8> {
    let mut record = Vec::new();
    span.write(&mut record, START + took.as_nanos() as u64);
    record
}

const SHORT: Duration = Duration::from_millis(1);

/// Adds a span and says which spans that let through, by their names.
fn add(tail: &mut Tail, span: &Span, took: Duration, now: u64) -> Vec<String> {
    let mut names = Vec::new();
    tail.add(Scope::nameless(), &encoded(span, took), now, &mut |_, record| {
        names.push(DecodedSpan::decode(record).unwrap().name);
    });
    names
}

fn due(tail: &mut Tail, now: u64) -> usize {
    let mut count = 0;
    tail.due(now, &mut |_, _| count += 1);
    count
}

fn failed(mut span: Span) -> Span {
    span.set_status(Status::Error {
        description: "no".to_owned(),
    });
    span
}

#[test]
fn a_trace_with_an_error_is_exported_as_a_whole_and_one_without_is_not() {
    let mut tail = Tail::new(settings());
    for trace in [1, 2] {
        assert!(add(&mut tail, &span(trace, 2), SHORT, START).is_empty());
    }
    let kept = add(&mut tail, &failed(span(1, 3)), SHORT, START);
    assert_eq!(kept, ["span 2", "span 3"]);
    for trace in [1, 2] {
        let root = add(&mut tail, &span(trace, 1), SHORT, START);
        assert_eq!(root.len(), usize::from(trace == 1));
    }
    assert_eq!(tail.next(), Some(START + 2 * SECOND), "it lingers");
    assert_eq!(due(&mut tail, START + 2 * SECOND - 1), 0);
    assert!(tail.bytes() > 0);
    assert_eq!(due(&mut tail, START + 2 * SECOND), 0);
    assert_eq!((tail.bytes(), tail.next()), (0, None));
    assert_eq!(
        tail.counts(),
        TailCounts {
            kept: 3,
            dropped: 2,
            early: 0,
            late: 0
        }
    );
}

#[test]
fn each_of_what_speaks_for_a_trace_is_enough() {
    let rule = Condition::Attribute {
        key: "order.total".to_owned(),
        value: Pattern::new("9*"),
    };
    let mut settings = settings();
    settings.rules = vec![vec![Condition::Kind(SpanKind::Server), rule]];
    settings.slow_names = vec![(Pattern::new("report*"), Duration::from_secs(60))];
    let with = |key: &str, value: i64| {
        let mut span = span(7, 2);
        span.set(key, value);
        span
    };
    let mut forced = span(7, 2);
    forced.set(FORCED, true);
    let mut report = span(7, 1);
    report.rename("report of a year");
    let minute = Duration::from_secs(60);
    for (span, took, is_kept) in [
        (span(7, 1), SHORT, false),
        (span(7, 1), Duration::from_secs(1), true),
        // Not the local root: how long it took does not count.
        (span(7, 2), Duration::from_secs(1), false),
        (failed(span(7, 2)), SHORT, true),
        (with("order.total", 950), SHORT, true),
        (with("order.total", 50), SHORT, false),
        (forced, SHORT, true),
        (report, minute - SHORT, false),
    ] {
        let mut tail = Tail::new(settings.clone());
        let kept = add(&mut tail, &span, took, START);
        assert_eq!(!kept.is_empty(), is_kept, "{} {took:?}", span.name());
    }
    // Below a parent in another process.
    let parent = SpanContext {
        trace_id: TraceId([7; 16]),
        span_id: SpanId([9; 8]),
        is_remote: true,
        ..SpanContext::default()
    };
    let own = SpanContext {
        span_id: SpanId([8; 8]),
        is_remote: false,
        ..parent.clone()
    };
    let server = Span::new(
        own,
        Some(&parent),
        "GET",
        SpanKind::Server,
        START,
        &SpanLimits::default(),
    );
    assert_eq!(
        add(&mut Tail::new(settings), &server, Duration::from_secs(1), START),
        ["GET"]
    );
}

#[test]
fn a_share_of_traces_passes_at_once_by_the_same_choice_as_at_the_start() {
    let ratio = TraceIdRatio::new(0.25).unwrap();
    let mut tail = Tail::new(TailSettings { ratio, ..settings() });
    for trace in (0..1_000u128).map(|n| n * 0x1234_5678_9abc_def1 + 1) {
        let kept = add(&mut tail, &span(trace, 2), SHORT, START);
        assert_eq!(!kept.is_empty(), ratio.has(TraceId(trace.to_be_bytes())));
    }
    let kept = tail.counts().kept;
    assert!((150..350).contains(&kept), "{kept}");
}

#[test]
fn spans_that_end_late_follow_the_decision_unless_they_speak_for_themselves() {
    let mut tail = Tail::new(settings());
    add(&mut tail, &span(1, 1), SHORT, START);
    due(&mut tail, START + 10 * SECOND);
    let now = START + 11 * SECOND;
    assert!(add(&mut tail, &span(1, 2), SHORT, now).is_empty());
    assert_eq!(add(&mut tail, &failed(span(1, 3)), SHORT, now), ["span 3"]);
    assert_eq!(
        add(&mut tail, &span(1, 4), SHORT, now),
        ["span 4"],
        "as the last decision"
    );
    assert_eq!(
        tail.counts(),
        TailCounts {
            kept: 2,
            dropped: 2,
            early: 0,
            late: 2
        }
    );
}

#[test]
fn a_trace_without_its_root_waits_so_long_and_is_kept_if_it_must_be_slow() {
    for (slow, kept) in [(Some(Duration::from_secs(20)), 1), (None, 0)] {
        let mut tail = Tail::new(TailSettings { slow, ..settings() });
        add(&mut tail, &span(1, 2), SHORT, START);
        assert_eq!(due(&mut tail, START + 30 * SECOND - 1), 0);
        assert!(tail.bytes() > 0);
        assert_eq!(due(&mut tail, START + 30 * SECOND), kept);
        assert_eq!(tail.bytes(), 0);
    }
}

#[test]
fn too_much_is_decided_upon_early_the_oldest_first() {
    let mut tail = Tail::new(TailSettings {
        traces_max: 3,
        ..settings()
    });
    for trace in 1..=5 {
        add(&mut tail, &span(trace, 2), SHORT, START);
    }
    assert_eq!((tail.counts().early, tail.counts().dropped), (2, 2));
    assert!(add(&mut tail, &span(2, 3), SHORT, START).is_empty());
    assert_eq!(tail.counts().late, 1);
    let kept = add(&mut tail, &failed(span(3, 3)), SHORT, START);
    assert_eq!(kept, ["span 2", "span 3"], "the younger ones still wait");
}

#[test]
fn at_the_end_what_has_ended_is_dropped_and_what_was_interrupted_is_kept() {
    let mut tail = Tail::new(settings());
    add(&mut tail, &span(1, 1), SHORT, START);
    add(&mut tail, &span(2, 2), SHORT, START);
    let mut traces = Vec::new();
    tail.flush(&mut |_, record| traces.push(DecodedSpan::decode(record).unwrap().trace_id));
    assert_eq!(traces, [2u128.to_be_bytes().to_vec()]);
    assert_eq!(
        (tail.counts().kept, tail.counts().dropped, tail.bytes()),
        (1, 1, 0)
    );
}

#[test]
fn what_is_of_no_trace_passes() {
    let mut tail = Tail::new(settings());
    let mut passed = Vec::new();
    for record in [&b""[..], b"\xff\xff", b"\x0a\x03abc"] {
        tail.add(Scope::nameless(), record, START, &mut |_, record| {
            passed.push(record.to_vec());
        });
    }
    assert_eq!(passed.len(), 3);
}

#[derive(Clone, Debug)]
enum Step {
    Add {
        trace: u128,
        number: u64,
        is_error: bool,
        padding: usize,
    },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u128..12, 1u64..6, prop::bool::weighted(0.1), 0usize..300)
            .prop_map(|(trace, number, is_error, padding)| Step::Add { trace, number, is_error, padding }),
        2 => (0u64..4 * SECOND).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn every_span_is_kept_once_or_dropped_and_counted_within_the_bounds(
        steps in prop::collection::vec(step(), 0..120),
        bytes_max in 0usize..4_000,
        traces_max in 0usize..6,
    ) {
        let mut tail = Tail::new(TailSettings { bytes_max, traces_max, decisions_max: 8, ..settings() });
        let (mut now, mut added) = (START, 0u64);
        let mut passed: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut given: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for step in steps {
            let mut with = |_: Scope, record: &[u8]| *passed.entry(record.to_vec()).or_default() += 1;
            match step {
                Step::Add { trace, number, is_error, padding } => {
                    let mut span = span(trace, number);
                    span.set("padding", &"x".repeat(padding));
                    if is_error {
                        span = failed(span);
                    }
                    let record = encoded(&span, SHORT);
                    let before = tail.counts().kept;
                    tail.add(Scope::nameless(), &record, now, &mut with);
                    added += 1;
                    prop_assert!(!is_error || tail.counts().kept > before, "an error always passes");
                    *given.entry(record).or_default() += 1;
                }
                Step::Wait(nanos) => {
                    now += nanos;
                    tail.due(now, &mut with);
                    prop_assert!(tail.next().is_none_or(|next| next > now));
                }
            }
            prop_assert!(tail.bytes() <= bytes_max);
        }
        tail.flush(&mut |_, record| *passed.entry(record.to_vec()).or_default() += 1);
        let counts = tail.counts();
        prop_assert_eq!(counts.kept + counts.dropped, added);
        prop_assert_eq!(passed.values().sum::<usize>() as u64, counts.kept);
        prop_assert_eq!(tail.bytes(), 0);
        for (record, times) in passed {
            prop_assert!(given.get(&record).is_some_and(|given| times <= *given));
        }
    }
}
