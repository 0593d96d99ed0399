//! The same program over our provider and over that of OpenTelemetry's SDK exports the same spans, field by field.
//!
//! Left out: ids, which are made at random (spans are told apart by their names); that ours says of ids that they are made at
//! random; and attributes that are set again, which that SDK sends twice.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cupola_sdk::opentelemetry::TracerProvider;
use cupola_sdk::testing::Capture;
use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider as _,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::opentelemetry_peer::{self as peer, Of, last_of_each_key};

/// One thing that a program does.
#[derive(Clone, Debug)]
enum Step {
    Start(Box<Started>),
    Attribute(Index, KeyValue),
    Attributes(Index, Vec<KeyValue>),
    Event(Index, String, u64, Vec<KeyValue>),
    Link(Index, SpanContext, Vec<KeyValue>),
    Status(Index, u8),
    Rename(Index, String),
    End(Index, u64),
}

#[derive(Clone, Debug)]
struct Started {
    parent: Parent,
    kind: Option<SpanKind>,
    time: u64,
    attributes: Option<Vec<KeyValue>>,
    events: Option<Vec<(String, u64, Vec<KeyValue>)>>,
    links: Option<Vec<(SpanContext, Vec<KeyValue>)>>,
}

#[derive(Clone, Debug)]
enum Parent {
    None,
    Remote(SpanContext),
    Span(Index),
}

/// Does all of it, and gives back what each span was known by: its trace, whether it is sampled, its trace state.
fn run<T>(tracer: &T, program: &[Step]) -> Vec<(bool, bool, String, bool)>
where
    T: Tracer,
    T::Span: Send + Sync + 'static,
{
    let mut spans: Vec<Context> = Vec::new();
    for (at, step) in program.iter().enumerate() {
        if let Step::Start(started) = step {
            spans.push(start(tracer, at, started, &spans));
        } else if !spans.is_empty() {
            change(at, step, &spans);
        }
    }
    let seen = spans.iter().map(|context| {
        let span = context.span();
        // Before it is dropped, as it would end at the time of day.
        span.end_with_timestamp(time(2000));
        let context = span.span_context();
        (
            context.is_valid(),
            context.is_sampled(),
            context.trace_state().header(),
            context.is_remote(),
        )
    });
    seen.collect()
}

fn start<T>(tracer: &T, at: usize, started: &Started, spans: &[Context]) -> Context
where
    T: Tracer,
    T::Span: Send + Sync + 'static,
{
    let parent = match &started.parent {
        Parent::Span(index) if !spans.is_empty() => index.get(spans).clone(),
        Parent::Remote(context) => Context::new().with_remote_span_context(context.clone()),
        Parent::Span(_) | Parent::None => Context::new(),
    };
    let mut builder = tracer
        .span_builder(format!("span {at}"))
        .with_start_time(time(started.time));
    builder.span_kind = started.kind.clone();
    builder.attributes = started.attributes.clone();
    if let Some(events) = &started.events {
        let events = events.iter().cloned();
        let events = events.map(|(name, at, attributes)| Event::new(name, time(at), attributes, 0));
        builder = builder.with_events(events.collect());
    }
    if let Some(links) = &started.links {
        let links = links.iter().cloned();
        builder = builder.with_links(
            links
                .map(|(to, attributes)| Link::new(to, attributes, 0))
                .collect(),
        );
    }
    parent.with_span(tracer.build_with_context(builder, &parent))
}

fn change(at: usize, step: &Step, spans: &[Context]) {
    match step.clone() {
        Step::Start(_) => {}
        Step::Attribute(span, attribute) => span.get(spans).span().set_attribute(attribute),
        Step::Attributes(span, attributes) => span.get(spans).span().set_attributes(attributes),
        Step::Event(span, name, at, attributes) => {
            let context = span.get(spans);
            context
                .span()
                .add_event_with_timestamp(name, time(at), attributes);
        }
        Step::Link(span, to, attributes) => span.get(spans).span().add_link(to, attributes),
        Step::Status(span, status) => span.get(spans).span().set_status(match status % 3 {
            0 => Status::Unset,
            1 => Status::Ok,
            // That SDK keeps the one that comes last in the alphabet, which is here the one that is set last.
            _ => Status::error(format!("error {at:04}")),
        }),
        Step::Rename(span, name) => {
            let index = spans
                .iter()
                .position(|other| std::ptr::eq(other, span.get(spans)));
            let name = format!("{name} {}", index.unwrap_or(0));
            span.get(spans).span().update_name(name);
        }
        Step::End(span, at) => span.get(spans).span().end_with_timestamp(time(at)),
    }
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_000 + nanos)
}

/// Without what differs for good reasons; ids as the names of the spans that have them.
fn normalised(spans: Vec<Of<Span>>) -> Vec<String> {
    let mut traces: HashMap<Vec<u8>, String> = HashMap::new();
    let mut names: HashMap<Vec<u8>, String> = HashMap::new();
    for (_, _, span) in &spans {
        names.insert(span.span_id.clone(), span.name.clone());
        let trace = traces
            .entry(span.trace_id.clone())
            .or_insert_with(|| span.name.clone());
        *trace = span.name.clone().min(trace.clone());
    }
    let mut all: Vec<String> = spans
        .into_iter()
        .map(|(scope, schema, mut span)| {
            let trace = traces[&span.trace_id].clone();
            let parent = names.get(&span.parent_span_id).cloned();
            // One that is not among them is a remote one, whose id both were given.
            let parent = parent.unwrap_or_else(|| match span.flags & 0x200 != 0 {
                true => format!("{:?}", span.parent_span_id),
                false => format!("none: {}", span.parent_span_id.is_empty()),
            });
            span.trace_id.clear();
            span.span_id.clear();
            span.parent_span_id.clear();
            span.flags &= !2;
            // That SDK sends one that says nothing.
            span.status.get_or_insert_default();
            last_of_each_key(&mut span.attributes);
            for event in &mut span.events {
                last_of_each_key(&mut event.attributes);
            }
            for link in &mut span.links {
                last_of_each_key(&mut link.attributes);
            }
            format!("{trace} / {parent}: {scope:?} {schema} {span:#?}")
        })
        .collect();
    all.sort();
    all
}

fn value() -> impl Strategy<Value = Value> {
    let text = || ".{0,12}".prop_map(StringValue::from);
    let few = 0..4usize;
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
        text().prop_map(Value::String),
        prop::collection::vec(any::<bool>(), few.clone())
            .prop_map(|values| Value::Array(Array::Bool(values))),
        prop::collection::vec(any::<i64>(), few.clone()).prop_map(|values| Value::Array(Array::I64(values))),
        prop::collection::vec(any::<f64>(), few.clone()).prop_map(|values| Value::Array(Array::F64(values))),
        prop::collection::vec(text(), few).prop_map(|values| Value::Array(Array::String(values))),
    ]
}

fn attribute() -> impl Strategy<Value = KeyValue> {
    ("[a-e]{1,2}", value()).prop_map(|(key, value)| KeyValue::new(key, value))
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    prop::collection::vec(attribute(), 0..20)
}

fn context() -> impl Strategy<Value = SpanContext> {
    let state = prop_oneof![
        Just(TraceState::NONE),
        Just(TraceState::from_key_value([("rojo", "00f0"), ("congo", "t61")]).unwrap()),
    ];
    let ids = (1..u128::MAX, 1..u64::MAX);
    (ids, 0..2u8, any::<bool>(), state).prop_map(|((trace, span), flags, is_remote, state)| {
        let flags = TraceFlags::new(flags);
        SpanContext::new(TraceId::from(trace), SpanId::from(span), flags, is_remote, state)
    })
}

fn remote() -> impl Strategy<Value = SpanContext> {
    context().prop_map(|context| {
        SpanContext::new(
            context.trace_id(),
            context.span_id(),
            context.trace_flags(),
            true,
            context.trace_state().clone(),
        )
    })
}

fn started() -> impl Strategy<Value = Started> {
    let kinds = vec![
        None,
        Some(SpanKind::Internal),
        Some(SpanKind::Server),
        Some(SpanKind::Client),
        Some(SpanKind::Producer),
        Some(SpanKind::Consumer),
    ];
    let parent = prop_oneof![
        Just(Parent::None),
        remote().prop_map(Parent::Remote),
        any::<Index>().prop_map(Parent::Span),
    ];
    let event = ("[a-z]{0,5}", 0..1000u64, attributes());
    let link = (context(), attributes());
    (
        parent,
        prop::sample::select(kinds),
        0..1000u64,
        prop::option::of(attributes()),
        prop::option::of(prop::collection::vec(event, 0..3)),
        prop::option::of(prop::collection::vec(link, 0..3)),
    )
        .prop_map(|(parent, kind, time, attributes, events, links)| Started {
            parent,
            kind,
            time,
            attributes,
            events,
            links,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let span = any::<Index>;
    prop_oneof![
        3 => started().prop_map(|started| Step::Start(Box::new(started))),
        1 => (span(), attribute()).prop_map(|(span, attribute)| Step::Attribute(span, attribute)),
        1 => (span(), attributes()).prop_map(|(span, attributes)| Step::Attributes(span, attributes)),
        1 => (span(), "[a-z]{0,5}", 0..1000u64, attributes())
            .prop_map(|(span, name, at, attributes)| Step::Event(span, name, at, attributes)),
        1 => (span(), context(), attributes()).prop_map(|(span, to, attributes)| Step::Link(span, to, attributes)),
        1 => (span(), any::<u8>()).prop_map(|(span, status)| Step::Status(span, status)),
        1 => (span(), "[a-z]{1,3}").prop_map(|(span, name)| Step::Rename(span, name)),
        // Never before a span began, which ours would not export as it is.
        1 => (span(), 1000..2000u64).prop_map(|(span, at)| Step::End(span, at)),
    ]
}

fn program() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..30)
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("shop")
        .with_version("1.2")
        .with_schema_url("https://opentelemetry.io/schemas/1.30.0")
        .with_attributes([
            KeyValue::new("a", 1),
            KeyValue::new("b", Value::Array(vec![true].into())),
        ])
        .build()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_program_exports_the_same_spans_as_over_the_sdk_of_opentelemetry(program in program()) {
        let (provider, kept) = peer::tracer_provider();
        let theirs = run(&provider.tracer_with_scope(scope()), &program);
        let capture = Capture::new();
        let ours = run(&TracerProvider::new(capture.sdk().clone()).tracer_with_scope(scope()), &program);
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(normalised(peer::spans(&capture)).join("\n"), normalised(kept.all()).join("\n"));
    }
}
