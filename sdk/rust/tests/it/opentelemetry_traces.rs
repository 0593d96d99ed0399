//! Spans of the API of OpenTelemetry: limits, ends, what is not recorded, and `tracing-opentelemetry` over them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cupola_sdk::core::Settings;
use cupola_sdk::layer::LayerOptions;
use cupola_sdk::opentelemetry::{Span, Tracer, TracerProvider};
use cupola_sdk::testing::{Capture, CapturedSpan, START_UNIX_NANO};
use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::opentelemetry_peer as peer;

fn tracer(capture: &Capture) -> Tracer {
    TracerProvider::new(capture.sdk().clone()).tracer("shop")
}

fn remote(flags: TraceFlags, state: TraceState) -> SpanContext {
    SpanContext::new(TraceId::from(7), SpanId::from(8), flags, true, state)
}

#[test]
fn a_span_that_has_ended_is_exported_once_and_does_not_change() {
    let capture = Capture::new();
    let tracer = tracer(&capture);
    let mut span = tracer.start("first");
    capture.advance(Duration::from_nanos(5));
    span.end();
    assert!(!span.is_recording());
    let context = span.span_context().clone();
    span.set_attribute(KeyValue::new("late", true));
    span.add_event("late", Vec::new());
    span.add_link(context.clone(), Vec::new());
    span.set_status(Status::error("late"));
    span.update_name("late");
    span.record_error(&std::io::Error::other("late"));
    span.end_with_timestamp(UNIX_EPOCH);
    assert_eq!(span.span_context(), &context, "its context stays");
    drop(span);
    drop(tracer.start("dropped"));
    let spans = peer::spans(&capture);
    let names: Vec<_> = spans.iter().map(|(_, _, span)| span.name.as_str()).collect();
    assert_eq!(names, ["first", "dropped"]);
    let first = &spans[0].2;
    assert_eq!(
        (first.start_time_unix_nano, first.end_time_unix_nano),
        (START_UNIX_NANO, START_UNIX_NANO + 5)
    );
    assert!(first.attributes.is_empty() && first.events.is_empty() && first.links.is_empty());
    assert_eq!(first.status, None);
}

#[test]
fn times_that_are_given_count_also_before_1970() {
    let capture = Capture::new();
    let builder = tracer(&capture)
        .span_builder("long ago")
        .with_start_time(UNIX_EPOCH - Duration::from_secs(1));
    let mut span = tracer(&capture).build(builder);
    span.add_event_with_timestamp("then", UNIX_EPOCH + Duration::from_nanos(3), Vec::new());
    span.end_with_timestamp(UNIX_EPOCH + Duration::from_nanos(4));
    let (_, _, span) = peer::spans(&capture).remove(0);
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (0, 4));
    assert_eq!(span.events[0].time_unix_nano, 3);
}

#[test]
fn what_is_beyond_the_limits_is_dropped_and_counted_as_by_the_sdk_of_opentelemetry() {
    fn fill<S: opentelemetry::trace::Span>(span: &mut S) {
        let attributes = || {
            (0..130)
                .map(|n| KeyValue::new(format!("k{n}"), n))
                .collect::<Vec<_>>()
        };
        span.set_attributes(attributes());
        let to = remote(TraceFlags::SAMPLED, TraceState::NONE);
        for _ in 0..130 {
            span.add_event("event", attributes());
            span.add_link(to.clone(), attributes());
        }
        span.end();
    }
    let (provider, kept) = peer::tracer_provider();
    fill(&mut provider.tracer("shop").start("full"));
    let capture = Capture::new();
    fill(&mut tracer(&capture).start("full"));
    let counts = |span: &opentelemetry_proto::tonic::trace::v1::Span| {
        [
            span.attributes.len(),
            span.dropped_attributes_count as usize,
            span.events.len(),
            span.dropped_events_count as usize,
            span.links.len(),
            span.dropped_links_count as usize,
        ]
    };
    let (ours, theirs) = (peer::spans(&capture).remove(0).2, kept.all().remove(0).2);
    // Of events and links that SDK has as many attributes as of spans, as ours has.
    assert_eq!(counts(&ours), [128, 2, 128, 2, 128, 2]);
    assert_eq!(counts(&theirs)[..2], counts(&ours)[..2]);
    assert_eq!(counts(&theirs)[2..], counts(&ours)[2..]);
    for (ours, theirs) in ours.events.iter().zip(&theirs.events) {
        let counts = (ours.attributes.len(), ours.dropped_attributes_count);
        assert_eq!(counts, (theirs.attributes.len(), theirs.dropped_attributes_count));
    }
    for (ours, theirs) in ours.links.iter().zip(&theirs.links) {
        let counts = (ours.attributes.len(), ours.dropped_attributes_count);
        assert_eq!(counts, (theirs.attributes.len(), theirs.dropped_attributes_count));
    }
    // Which ones are kept is another matter: ours keeps those that came last.
    assert_eq!(ours.attributes[0].key, "k2");
}

#[test]
fn a_span_that_is_not_recorded_passes_its_context_on() {
    let capture = Capture::new();
    let tracer = tracer(&capture);
    let state = TraceState::from_key_value([("vendor", "value")]).unwrap();
    let parent = Context::new().with_remote_span_context(remote(TraceFlags::NOT_SAMPLED, state.clone()));
    let span = tracer.start_with_context("not sampled", &parent);
    assert!(!span.is_recording());
    let context = span.span_context();
    assert_eq!(context.trace_id(), TraceId::from(7));
    assert!(context.is_valid() && !context.is_sampled() && !context.is_remote());
    assert_eq!(context.trace_state(), &state);
    assert_ne!(context.span_id(), SpanId::from(8), "it is a span of its own");
    drop(span);
    assert!(capture.spans().is_empty());
}

#[test]
fn while_nothing_is_to_be_recorded_whoever_comes_next_goes_on_from_the_parent() {
    let settings = Settings {
        is_disabled: true,
        ..Settings::default()
    };
    let disabled = Capture::with(settings, LayerOptions::default());
    let parent = remote(TraceFlags::SAMPLED, TraceState::NONE);
    let context = Context::new().with_remote_span_context(parent.clone());
    let passed_on = |capture: &Capture, context: &Context| {
        let span = tracer(capture).start_with_context("passed over", context);
        assert!(!span.is_recording());
        span.span_context().clone()
    };
    assert_eq!(passed_on(&disabled, &context), parent);
    assert_eq!(passed_on(&disabled, &Context::new()), SpanContext::NONE);
    let capture = Capture::new();
    assert_eq!(passed_on(&capture, &context.with_telemetry_suppressed()), parent);
    assert!(capture.spans().is_empty() && disabled.spans().is_empty());
}

#[test]
fn an_error_is_recorded_with_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot place the order")]
    struct Order(#[source] std::io::Error);
    let capture = Capture::new();
    let mut span = tracer(&capture).start("order");
    span.record_error(&Order(std::io::Error::other("the line is dead")));
    span.record_error(&std::fmt::Error);
    drop(span);
    let span = capture.span("order");
    assert_eq!(span.events[0].name, "exception");
    let attribute = |event: usize, key: &str| {
        let value = span.events[event].attributes.get(key);
        value.map(ToString::to_string)
    };
    assert_eq!(
        attribute(0, "exception.message").unwrap(),
        "\"cannot place the order\""
    );
    assert_eq!(
        attribute(0, "exception.stacktrace").unwrap(),
        "\"cannot place the order\\ncaused by: the line is dead\""
    );
    assert_eq!(attribute(1, "exception.stacktrace"), None);
    assert_eq!(attribute(0, "exception.type"), None);
}

#[test]
fn spans_can_be_sent_to_other_threads_and_their_scopes_are_known() {
    fn is_sendable<T: Send + Sync + 'static>() {}
    is_sendable::<Span>();
    is_sendable::<Tracer>();
    let capture = Capture::new();
    let span = tracer(&capture).start("moved");
    std::thread::spawn(move || drop(span)).join().unwrap();
    let (scope, schema, _) = peer::spans(&capture).remove(0);
    assert_eq!((scope.name.as_str(), schema.as_str()), ("shop", ""));
}

#[test]
fn the_provider_can_be_the_global_one() {
    let capture = Capture::new();
    cupola_sdk::opentelemetry::install(capture.sdk());
    let tracer = opentelemetry::global::tracer("global");
    tracer.in_span("outer", |context| {
        assert!(context.span().is_recording());
        context.span().set_attribute(KeyValue::new("a", 1));
        tracer.in_span("inner", |_| {});
    });
    opentelemetry::global::meter("global")
        .u64_counter("calls")
        .build()
        .add(2, &[]);
    let spans = capture.spans();
    assert_eq!(spans[1].parent_span_id, spans[0].span_id);
    assert_eq!(peer::metrics(&capture)[0].2.name, "calls");
    opentelemetry::global::set_tracer_provider(opentelemetry::trace::noop::NoopTracerProvider::new());
}

fn find<'s>(spans: &'s [CapturedSpan], name: &str) -> &'s CapturedSpan {
    spans.iter().find(|span| span.name == name).unwrap()
}

#[test]
fn tracing_opentelemetry_works_over_it() {
    let capture = Capture::new();
    let layer = tracing_opentelemetry::layer().with_tracer(tracer(&capture));
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let parent = remote(TraceFlags::SAMPLED, TraceState::NONE);
    {
        use tracing_opentelemetry::OpenTelemetrySpanExt as _;
        let span = tracing::info_span!(
            "request",
            otel.kind = "server",
            user = "alice",
            late = tracing::field::Empty
        );
        span.set_parent(Context::new().with_remote_span_context(parent.clone()))
            .unwrap();
        span.add_link(parent.clone());
        span.set_attribute("of the extension", true);
        span.in_scope(|| {
            span.record("late", 7);
            tracing::info!(n = 1, "looked");
            // Whoever uses the API sees it.
            Context::map_current(|current| assert!(current.span().span_context().is_valid()));
            tracing::info_span!("query").in_scope(|| tracing::error!("no rows"));
        });
    }
    let spans = capture.spans();
    let (request, query) = (find(&spans, "request"), find(&spans, "query"));
    assert_eq!(request.parent_span_id, "0000000000000008");
    assert_eq!(query.parent_span_id, request.span_id);
    assert_eq!(query.trace_id, request.trace_id);
    let (_, _, request) = peer::spans(&capture)
        .into_iter()
        .find(|(_, _, span)| span.name == "request")
        .unwrap();
    assert_eq!(request.kind, 2);
    let keys: Vec<&str> = request
        .attributes
        .iter()
        .map(|attribute| attribute.key.as_str())
        .collect();
    for key in ["user", "late", "of the extension", "busy_ns", "idle_ns"] {
        assert!(keys.contains(&key), "{key} of {keys:?}");
    }
    assert_eq!(
        (request.events[0].name.as_str(), request.links.len()),
        ("looked", 1)
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    assert!(request.start_time_unix_nano <= request.end_time_unix_nano && request.end_time_unix_nano <= now);
}

#[test]
fn a_builder_says_all_that_a_span_begins_with() {
    let capture = Capture::new();
    let tracer = tracer(&capture);
    let links = vec![Link::with_context(remote(TraceFlags::SAMPLED, TraceState::NONE))];
    let builder = tracer
        .span_builder("built")
        .with_kind(SpanKind::Producer)
        .with_attributes([KeyValue::new("a", 1), KeyValue::new("a", 2)])
        .with_links(links);
    drop(tracer.build(builder));
    let (_, _, span) = peer::spans(&capture).remove(0);
    assert_eq!(span.kind, 4);
    assert_eq!(span.attributes.len(), 1, "each key once");
    assert_eq!(span.links[0].trace_id, TraceId::from(7).to_bytes());
    assert_eq!(
        span.links[0].flags, 0x301,
        "sampled, and known to be of another process"
    );
}
