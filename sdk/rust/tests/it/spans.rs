//! Spans of `tracing` as they arrive.

use std::time::Duration;

use cupola_sdk::InContext as _;
use cupola_sdk::core::Settings;
use cupola_sdk::core::sampling::AlwaysOff;
use cupola_sdk::layer::LayerOptions;
use cupola_sdk::testing::{Capture, START_UNIX_NANO};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use tracing::{Instrument as _, field, info, info_span};

#[test]
fn a_span_arrives_with_its_times_its_place_and_its_fields_by_type() {
    let capture = Capture::new();
    let subscriber = capture.set_default();
    let span = info_span!(
        "checkout",
        order.id = 7u64,
        total = 9.5,
        paid = true,
        user = "alice",
        items = ?[1, 2],
        shop = %"north",
        huge = u64::MAX,
        later = field::Empty
    );
    capture.advance(Duration::from_millis(3));
    span.record("later", "now");
    span.record("user", "bob");
    drop(span);
    drop(subscriber);

    let batch = &capture.batches()[0];
    let request = ExportTraceServiceRequest::decode(batch.payload().as_ref()).unwrap();
    let scope = &request.resource_spans[0].scope_spans[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, module_path!());
    let span = &scope.spans[0];
    assert_eq!(span.name, "checkout");
    assert_eq!(
        (span.start_time_unix_nano, span.end_time_unix_nano),
        (START_UNIX_NANO, START_UNIX_NANO + 3_000_000)
    );
    assert_eq!(
        (span.trace_id.len(), span.span_id.len(), span.parent_span_id.len()),
        (16, 8, 0)
    );
    let value = |key: &str| {
        let mut found = span.attributes.iter().filter(|pair| pair.key == key);
        let pair = found.next().unwrap_or_else(|| panic!("no {key}"));
        assert!(found.next().is_none(), "{key} is there once");
        pair.value.clone().unwrap().value.unwrap()
    };
    let text = |text: &str| Value::StringValue(text.to_owned());
    assert_eq!(value("order.id"), Value::IntValue(7));
    assert_eq!(value("total"), Value::DoubleValue(9.5));
    assert_eq!(value("paid"), Value::BoolValue(true));
    assert_eq!(value("user"), text("bob"));
    assert_eq!(value("items"), text("[1, 2]"));
    assert_eq!(value("shop"), text("north"));
    assert_eq!(value("huge"), text("18446744073709551615"));
    assert_eq!(value("later"), text("now"));
    assert_eq!(value("code.file.path"), text(file!()));
    assert!(matches!(value("code.line.number"), Value::IntValue(line) if line > 10));
}

#[test]
fn fields_that_begin_with_otel_say_what_the_span_is() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let span = info_span!(
        "request",
        otel.name = "GET /orders/{id}",
        otel.kind = "Server",
        otel.status_code = field::Empty
    );
    span.record("otel.status_code", "OK");
    drop(span);
    drop(info_span!(
        "failed",
        otel.kind = "client",
        otel.status_message = "no such host"
    ));
    let late = info_span!("named late", otel.name = field::Empty, otel.status_code = "error");
    late.record("otel.name", "late");
    drop(late);
    assert_eq!(
        capture.render(),
        "span \"GET /orders/{id}\" server ok\n\
         span \"failed\" client error \"no such host\"\n\
         span \"late\" internal error \"\"\n"
    );
}

#[test]
fn a_span_has_the_parent_that_it_was_made_in_or_was_given_or_none() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let outer = info_span!("outer");
    {
        let _outer = outer.enter();
        drop(info_span!("inner"));
        drop(info_span!(parent: None, "alone"));
        let other = info_span!(parent: None, "other");
        drop(info_span!(parent: &other, "of the other"));
    }
    drop(info_span!(parent: &outer, "given"));
    drop(info_span!("after"));
    drop(outer);
    assert_eq!(
        capture.render(),
        "span \"outer\" internal\n  span \"inner\" internal\n  span \"given\" internal\n\
         span \"alone\" internal\nspan \"other\" internal\n  span \"of the other\" internal\nspan \"after\" internal\n"
    );
    let (outer, alone, inner) = (
        capture.span("outer"),
        capture.span("alone"),
        capture.span("inner"),
    );
    assert_eq!(outer.trace_id, inner.trace_id);
    assert_ne!(outer.trace_id, alone.trace_id);
}

#[test]
fn parents_follow_tasks_wherever_they_are_polled() {
    let capture = Capture::new();
    let subscriber =
        tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), capture.layer());
    let dispatch = tracing::Dispatch::new(subscriber);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        use tracing::instrument::WithSubscriber as _;
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let work = async move {
                    for step in 0..4 {
                        tokio::task::yield_now().await;
                        async { tokio::task::yield_now().await }
                            .instrument(info_span!("step", task, step))
                            .await;
                        info!(step, "done");
                    }
                    // A task that is spawned inside goes on in what it was spawned in.
                    let spawned = async move { info_span!("spawned", task).in_scope(|| {}) };
                    tokio::spawn(spawned.in_current_context().with_current_subscriber())
                        .await
                        .unwrap();
                };
                runtime.spawn(
                    work.instrument(info_span!("task", task))
                        .with_current_subscriber(),
                )
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
    });
    let spans = capture.spans();
    for task in 0..8i64 {
        let root = spans
            .iter()
            .find(|span| span.name == "task" && span.attributes["task"] == task)
            .unwrap();
        assert_eq!(root.parent_span_id, "");
        let below: Vec<_> = spans
            .iter()
            .filter(|span| span.parent_span_id == root.span_id)
            .collect();
        assert_eq!(below.len(), 5);
        assert!(
            below
                .iter()
                .all(|span| span.trace_id == root.trace_id && span.attributes["task"] == task)
        );
        let said = capture
            .logs()
            .into_iter()
            .filter(|log| log.span_id == root.span_id);
        assert_eq!(said.filter(|log| log.attributes["task"] == task).count(), 4);
    }
}

#[test]
fn guards_that_are_dropped_out_of_order_leave_the_right_span_as_the_current_one() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let (one, two, three) = (info_span!("one"), info_span!("two"), info_span!("three"));
    let (in_one, in_two, in_three) = (one.enter(), two.enter(), three.enter());
    drop(in_two);
    info!("in three");
    drop(in_three);
    info!("in one");
    drop(in_one);
    info!("outside");
    let at = |body: &str| {
        capture
            .logs()
            .into_iter()
            .find(|log| log.body == body)
            .unwrap()
            .span_id
    };
    drop((one, two, three));
    assert_eq!(at("in three"), capture.span("three").span_id);
    assert_eq!(at("in one"), capture.span("one").span_id);
    assert_eq!(at("outside"), "");
}

#[test]
fn a_span_that_follows_another_is_linked_to_it() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let cause = info_span!("cause");
    let effect = info_span!("effect");
    effect.follows_from(&cause);
    drop((cause, effect));
    let (cause, effect) = (capture.span("cause"), capture.span("effect"));
    assert_eq!(effect.links.len(), 1);
    assert_eq!(
        (&effect.links[0].trace_id, &effect.links[0].span_id),
        (&cause.trace_id, &cause.span_id)
    );
}

#[test]
fn a_span_that_is_not_sampled_gives_its_ids_and_fields_to_what_is_inside() {
    let mut settings = Settings::default();
    settings.traces.sampler = std::sync::Arc::new(AlwaysOff);
    let capture = Capture::with(settings, LayerOptions::default());
    let _subscriber = capture.set_default();
    let span = info_span!("request", user = "alice", late = field::Empty);
    span.record("late", 1);
    span.in_scope(|| info!("inside"));
    drop(span);
    assert!(capture.spans().is_empty());
    let log = &capture.logs()[0];
    assert_eq!((log.trace_id.len(), log.span_id.len()), (32, 16));
    assert_eq!(log.attributes["user"], "alice");
    assert_eq!(log.attributes["late"], 1);
}

#[test]
fn how_long_a_span_was_busy_is_told_where_it_is_asked_for() {
    let options = LayerOptions {
        timings: true,
        span_thread: true,
        ..LayerOptions::default()
    };
    let capture = Capture::with(Settings::default(), options);
    let _subscriber = capture.set_default();
    let span = info_span!("work");
    span.in_scope(|| {});
    span.in_scope(|| {});
    drop(span);
    let span = capture.span("work");
    for key in ["busy_ns", "idle_ns", "thread.id", "thread.name"] {
        assert!(span.attributes.contains_key(key), "{key}");
    }
}
