//! What surrounds spans and requests, between our contexts, those of the API of OpenTelemetry, and other processes.

use std::collections::HashMap;

use cupola_sdk::Context;
use cupola_sdk::core::Settings;
use cupola_sdk::core::baggage::Baggage;
use cupola_sdk::core::propagation::{Format, Propagators};
use cupola_sdk::core::sampling::{AlwaysOff, ParentBased};
use cupola_sdk::layer::LayerOptions;
use cupola_sdk::opentelemetry::{Propagator, Tracer, TracerProvider};
use cupola_sdk::testing::Capture;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context as ApiContext, KeyValue};
use proptest::prelude::*;
use tracing::{info, info_span};

fn tracer(capture: &Capture) -> Tracer {
    TracerProvider::new(capture.sdk().clone()).tracer("shop")
}

fn propagator(capture: &Capture) -> Propagator {
    Propagator::new(capture.sdk().clone())
}

#[test]
fn spans_of_the_api_and_of_tracing_are_parents_of_each_other() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let tracer = tracer(&capture);
    info_span!("outer", tenant = "north").in_scope(|| {
        tracer.in_span("middle", |_| {
            info_span!("inner").in_scope(|| drop(tracer.start("innermost")));
            info!("in the middle");
        });
        drop(tracer.start("beside"));
    });
    let parent = |name: &str| {
        let parent = capture.span(name).parent_span_id;
        let found = capture.spans().into_iter().find(|span| span.span_id == parent);
        found.map(|span| span.name)
    };
    assert_eq!(parent("outer"), None);
    assert_eq!(parent("middle").unwrap(), "outer");
    assert_eq!(parent("inner").unwrap(), "middle");
    assert_eq!(parent("innermost").unwrap(), "inner");
    assert_eq!(parent("beside").unwrap(), "outer");
    let log = &capture.logs()[0];
    assert_eq!(log.span_id, capture.span("middle").span_id);
    assert_eq!(
        log.attributes["tenant"], "north",
        "the fields of the span of tracing around it"
    );
}

#[test]
fn what_surrounds_spans_of_the_api_reaches_what_is_recorded_in_them() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let around = Context::root()
        .with_attribute("task.id", 7i64)
        .with_member("tenant.id", "north")
        .unwrap();
    around.run(|| {
        tracer(&capture).in_span("of the API", |_| {
            info!("inside");
            // Baggage of the API joins in, and what is ours stays.
            let members = [("tenant.id", "south"), ("user.id", "7")];
            let baggage = members.map(|(key, value)| KeyValue::new(key, value));
            let _attached = ApiContext::current_with_baggage(baggage).attach();
            info_span!("of tracing").in_scope(|| info!("deeper"));
        });
    });
    let seen = |attributes: &std::collections::BTreeMap<String, _>| -> Vec<String> {
        let wanted = ["task.id", "tenant.id", "user.id"];
        let found = wanted.iter().filter_map(|key| attributes.get(*key));
        found.map(cupola_sdk::testing::CapturedValue::to_string).collect()
    };
    assert_eq!(seen(&capture.span("of the API").attributes), ["7", "\"north\""]);
    assert_eq!(
        seen(&capture.span("of tracing").attributes),
        ["7", "\"south\"", "\"7\""]
    );
    let logs: Vec<_> = capture.logs().iter().map(|log| seen(&log.attributes)).collect();
    assert_eq!(logs[0], ["7", "\"north\""]);
    assert_eq!(logs[1], ["7", "\"south\"", "\"7\""]);
}

#[test]
fn what_somebody_wants_to_see_is_recorded_in_each_service_whoever_made_the_spans() {
    let settings = Settings {
        propagators: Propagators(vec![Format::TraceContext, Format::Baggage]),
        ..Settings::default()
    };
    let mut off = settings;
    off.traces.sampler = std::sync::Arc::new(ParentBased::new(std::sync::Arc::new(AlwaysOff)));
    let (first, second) = (
        Capture::with(off.clone(), LayerOptions::default()),
        Capture::with(off, LayerOptions::default()),
    );
    let mut headers: HashMap<String, String> = HashMap::new();
    Context::root().with_forced(true).run(|| {
        tracer(&first).in_span("asks", |_| propagator(&first).inject(&mut headers));
    });
    assert!(
        headers["traceparent"].ends_with("01") || headers["traceparent"].ends_with("03"),
        "{headers:?}"
    );
    assert!(headers["baggage"].contains("cupola.force=1"), "{headers:?}");
    let _subscriber = second.set_default();
    let context = propagator(&second).extract(&headers);
    assert!(context.baggage().is_empty(), "the flag is nobody's business");
    assert!(Context::of_opentelemetry(&context).is_forced());
    let _attached = context.attach();
    tracer(&second).in_span("answers", |_| {
        info_span!("below").in_scope(|| assert!(Context::current().is_forced()));
    });
    let (asks, answers) = (first.span("asks"), second.span("answers"));
    assert_eq!(answers.trace_id, asks.trace_id);
    assert_eq!(answers.parent_span_id, asks.span_id);
    assert_eq!(second.span("below").parent_span_id, answers.span_id);
}

#[test]
fn headers_without_a_context_leave_the_one_that_is_there() {
    let capture = Capture::new();
    let before = Context::root()
        .with_member("tenant.id", "north")
        .unwrap()
        .to_opentelemetry();
    let parent = opentelemetry::trace::SpanContext::new(
        7u128.into(),
        8u64.into(),
        opentelemetry::trace::TraceFlags::SAMPLED,
        false,
        Default::default(),
    );
    let before = before.with_remote_span_context(parent.clone());
    let empty: HashMap<String, String> = HashMap::new();
    let after = propagator(&capture).extract_with_context(&before, &empty);
    assert_eq!(after.span().span_context(), &parent);
    assert_eq!(after.baggage().get("tenant.id").unwrap().as_str(), "north");
    let fields: Vec<String> = propagator(&capture).fields().map(str::to_owned).collect();
    assert_eq!(fields, ["baggage", "traceparent", "tracestate"]);
}

/// Headers of which a key may come several times.
struct Repeated(Vec<(&'static str, &'static str)>);

impl Extractor for Repeated {
    fn get(&self, key: &str) -> Option<&str> {
        self.get_all(key)?.first().copied()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(key, _)| *key).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let values = self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(key));
        Some(values.map(|(_, value)| *value).collect())
    }
}

#[test]
fn headers_that_come_several_times_are_read_whole() {
    let capture = Capture::new();
    let headers = Repeated(vec![
        (
            "Traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
        ("baggage", "tenant.id=north"),
        ("baggage", "user.id=7;p=1"),
    ]);
    let context = propagator(&capture).extract_with_context(&ApiContext::new(), &headers);
    let span = context.span();
    let span = span.span_context();
    assert!(span.is_remote() && span.is_sampled());
    assert_eq!(span.trace_state().header(), "a=1,b=2");
    let ours = Context::of_opentelemetry(&context);
    assert_eq!(ours.baggage().get("user.id"), Some("7"));
    assert_eq!(
        context.baggage().get_with_metadata("user.id").unwrap().1.as_str(),
        "p=1"
    );
    drop(tracer(&capture).start_with_context("answers", &context));
    let answers = capture.span("answers");
    assert_eq!(answers.parent_span_id, "b7ad6b7169203331");
    assert_eq!(answers.attributes["tenant.id"], "north");
}

#[cfg(unix)]
#[test]
fn the_child_of_a_fork_does_not_end_the_spans_of_its_parent() {
    let capture = Capture::new();
    let mut span = tracer(&capture).start("of the parent");
    // SAFETY: the child looks at the span and leaves without running the parent's exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        span.set_attribute(KeyValue::new("of the child", true));
        let was_recording = span.is_recording();
        drop(span);
        let waiting = capture.sdk().spans().bytes();
        let code = i32::from(was_recording || waiting > 0);
        // SAFETY: nothing of this process is needed any more.
        unsafe { libc::_exit(code) };
    }
    assert!(child > 0, "cannot fork");
    let mut status = 0;
    // SAFETY: it is our child, and the status is ours.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child would have exported it");
    assert!(span.is_recording());
    drop(span);
    assert!(capture.span("of the parent").attributes.is_empty());
}

proptest! {
    #[test]
    fn contexts_come_back_from_the_api_as_they_went(
        pairs in prop::collection::vec(("[a-z.]{1,5}", ".{0,8}", "[a-z]{0,3}"), 0..6),
        is_forced: bool,
        attribute in prop::option::of(any::<i64>()),
        ids in (1..u128::MAX, 1..u64::MAX),
        flags in 0..4u8,
        is_remote: bool,
    ) {
        let mut baggage = Baggage::none();
        for (name, value, properties) in &pairs {
            baggage = baggage.with_properties(name, value, properties).unwrap();
        }
        let span = cupola_sdk::core::SpanContext {
            trace_id: cupola_telemetry::TraceId(ids.0.to_be_bytes()),
            span_id: cupola_telemetry::SpanId(ids.1.to_be_bytes()),
            flags: cupola_sdk::core::context::TraceFlags(flags),
            trace_state: cupola_sdk::core::context::TraceState::parse("a=1").unwrap(),
            is_remote,
        };
        let mut context = Context::root().with_span(span).with_baggage(baggage).with_forced(is_forced);
        if let Some(attribute) = attribute {
            context = context.with_attribute("a", attribute);
        }
        let api = context.to_opentelemetry();
        prop_assert_eq!(api.baggage().len(), context.baggage().members().len());
        let back = Context::of_opentelemetry(&api);
        prop_assert_eq!(back.span(), context.span());
        prop_assert_eq!(back.baggage(), context.baggage());
        prop_assert_eq!(back.is_forced(), is_forced);
        let bytes = |context: &Context| context.attributes().map(|attributes| attributes.as_bytes().to_vec());
        prop_assert_eq!(bytes(&back), bytes(&context));
    }
}
