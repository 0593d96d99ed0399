//! The context that everybody shares: ours, spans of `tracing`, and the API of OpenTelemetry.

use cupola_sdk::core::SpanContext;
use cupola_sdk::core::context::TraceFlags;
use cupola_sdk::testing::Capture;
use cupola_sdk::{Context, InContext as _, with_context};
use cupola_telemetry::{SpanId, TraceId};
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context as ApiContext, KeyValue};
use tracing::{info, info_span};

fn remote() -> SpanContext {
    SpanContext {
        trace_id: TraceId([7; 16]),
        span_id: SpanId([8; 8]),
        flags: TraceFlags(3),
        is_remote: true,
        ..SpanContext::default()
    }
}

#[test]
fn a_context_holds_until_its_guard_is_dropped_in_whatever_order() {
    let one = Context::root().with_member("a", "1").unwrap().attach();
    let two = Context::current().with_member("b", "2").unwrap().attach();
    let both = |wanted: [Option<&str>; 2]| {
        Context::with_current(|context| {
            assert_eq!([context.baggage().get("a"), context.baggage().get("b")], wanted);
        });
    };
    both([Some("1"), Some("2")]);
    drop(one);
    both([Some("1"), Some("2")]);
    drop(two);
    both([None, None]);
}

#[test]
fn more_contexts_than_there_may_be_are_left_out_and_nothing_breaks() {
    let guards: Vec<_> = (0..cupola_sdk::context::DEPTH_MAX + 10)
        .map(|depth| {
            Context::root()
                .with_attribute("depth", i64::try_from(depth).unwrap())
                .attach()
        })
        .collect();
    drop(guards);
    assert!(Context::current().attributes().is_none());
}

#[test]
fn a_request_that_was_taken_in_is_the_parent_of_what_is_made_in_it() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    Context::root()
        .with_span(remote())
        .run(|| info_span!("request").in_scope(|| info!("inside")));
    let span = capture.span("request");
    assert_eq!(
        (span.trace_id.as_str(), span.parent_span_id.as_str()),
        ("07070707070707070707070707070707", "0808080808080808")
    );
    assert_eq!(capture.logs()[0].span_id, span.span_id);
}

#[test]
fn the_api_of_opentelemetry_sees_spans_of_tracing_and_the_other_way_round() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let seen = || ApiContext::map_current(|context| context.span().span_context().span_id().to_string());
    info_span!("outer").in_scope(|| {
        let outer = seen();
        assert_eq!(outer, Context::current().span().span_id.to_string());
        // A library that uses the API attaches a span of its own.
        let api = opentelemetry::trace::SpanContext::new(
            opentelemetry::trace::TraceId::from_bytes([7; 16]),
            opentelemetry::trace::SpanId::from_bytes([9; 8]),
            opentelemetry::trace::TraceFlags::SAMPLED,
            false,
            Default::default(),
        );
        let guard = ApiContext::current().with_remote_span_context(api).attach();
        assert_eq!(Context::current().span().span_id.to_string(), "0909090909090909");
        info_span!("inner").in_scope(|| assert_ne!(seen(), "0909090909090909"));
        assert_eq!(seen(), "0909090909090909");
        drop(guard);
        assert_eq!(seen(), outer);
    });
    assert_eq!(seen(), "0000000000000000");
    assert_eq!(capture.span("inner").parent_span_id, "0909090909090909");
}

#[test]
fn baggage_is_the_same_for_both() {
    let ours = Context::root().with_member("tenant.id", "north").unwrap();
    ours.run(|| {
        ApiContext::map_current(|context| {
            assert_eq!(context.baggage().get("tenant.id").unwrap().as_str(), "north");
        });
        let guard = ApiContext::current_with_baggage([KeyValue::new("user.id", "7")]).attach();
        Context::with_current(|context| {
            // The API replaces what there was.
            assert_eq!(context.baggage().get("tenant.id"), None);
            assert_eq!(context.baggage().get("user.id"), Some("7"));
        });
        drop(guard);
        Context::with_current(|context| assert_eq!(context.baggage().get("user.id"), None));
    });
}

fn in_block() -> Option<u32> {
    with_context!(task.id = 7, propagated user.id = %"alice", "odd key" = ?Some(1) => {
        info!("inside");
        // Leaves the function around it.
        None?;
    });
    Some(1)
}

#[test]
fn what_is_recorded_in_a_context_has_its_attributes() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    assert_eq!(in_block(), None);
    info!("outside");
    let baggage = with_context!(task.id = 8u64, propagated user.id = "bob", missing = None::<&str>);
    assert_eq!(baggage.baggage().get("user.id"), Some("bob"));
    baggage.run(|| info_span!("span").in_scope(|| info!(task.id = 9, "own")));
    assert_eq!(
        capture.render(),
        "span \"span\" internal task.id=8 user.id=\"bob\"\n  INFO \"own\" task.id=9 user.id=\"bob\"\n\
         INFO \"inside\" odd key=\"Some(1)\" task.id=7 user.id=\"alice\"\nINFO \"outside\"\n"
    );
}

#[test]
fn a_future_is_polled_in_its_context_on_whatever_thread() {
    let capture = Capture::new();
    let subscriber =
        tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), capture.layer());
    let dispatch = tracing::Dispatch::new(subscriber);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let work = with_context!(task.id = task => async move {
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                    info!(expected = task, "step");
                }
            });
            runtime.spawn(tracing::instrument::WithSubscriber::with_subscriber(
                work,
                dispatch.clone(),
            ))
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    let logs = capture.logs();
    assert_eq!(logs.len(), 32);
    assert!(
        logs.iter()
            .all(|log| log.attributes["task.id"] == log.attributes["expected"])
    );
}

#[test]
fn a_context_that_is_carried_elsewhere_has_the_fields_of_its_spans() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let span = info_span!("request", user = "alice");
    let context = span.in_scope(Context::current);
    context.clone().run(|| info!("while it runs"));
    drop(span);
    context.run(|| info!("after its end"));
    assert!(capture.logs().iter().all(|log| log.attributes["user"] == "alice"));
    let id = capture.span("request").span_id;
    assert!(capture.logs().iter().all(|log| log.span_id == id));
}

#[test]
fn a_future_of_a_library_keeps_its_own_context_inside_ours() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let context = Context::root().with_member("a", "1").unwrap();
    runtime.block_on(
        async {
            assert_eq!(Context::current().baggage().get("a"), Some("1"));
            let inner = Context::root().with_member("a", "2").unwrap();
            async { assert_eq!(Context::current().baggage().get("a"), Some("2")) }
                .in_context(inner)
                .await;
            assert_eq!(Context::current().baggage().get("a"), Some("1"));
        }
        .in_context(context),
    );
    assert_eq!(Context::current().baggage().get("a"), None);
}
