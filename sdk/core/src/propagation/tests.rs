//! Headers as the specifications show them, headers that are none, and what is sent against what arrives.

use proptest::prelude::*;

use super::*;
use crate::context::{TraceFlags, TraceState};

type Headers = Vec<(String, String)>;

const FORMATS: [Format; 6] = [
    Format::TraceContext,
    Format::Baggage,
    Format::B3,
    Format::B3Multi,
    Format::Jaeger,
    Format::XRay,
];

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn extracted(format: Format, pairs: &[(&str, &str)]) -> Carried {
    Propagators(vec![format]).extract(&headers(pairs))
}

fn span(sampled: bool) -> SpanContext {
    SpanContext {
        trace_id: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
        span_id: SpanId::parse("00f067aa0ba902b7").unwrap(),
        flags: TraceFlags::default().with_sampled(sampled),
        trace_state: TraceState::default(),
        is_remote: true,
    }
}

#[test]
fn headers_of_the_specifications_are_read() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let read = [
        (
            Format::TraceContext,
            headers(&[("Traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"))]),
            true,
        ),
        (
            Format::TraceContext,
            headers(&[(
                "traceparent",
                &format!("cc-{trace}-00f067aa0ba902b7-00-what-comes"),
            )]),
            false,
        ),
        (
            Format::B3,
            headers(&[("b3", &format!("{trace}-00f067aa0ba902b7-1-05e3ac9a4f6e3b90"))]),
            true,
        ),
        (
            Format::B3,
            headers(&[("b3", &format!("{trace}-00f067aa0ba902b7"))]),
            false,
        ),
        (
            Format::B3Multi,
            headers(&[
                ("X-B3-TraceId", trace),
                ("X-B3-SpanId", "00f067aa0ba902b7"),
                ("X-B3-Sampled", "true"),
            ]),
            true,
        ),
        (
            Format::Jaeger,
            headers(&[("uber-trace-id", &format!("{trace}:f067aa0ba902b7:0:1"))]),
            true,
        ),
        (
            Format::Jaeger,
            headers(&[("Uber-Trace-Id", &format!("{trace}%3A00f067aa0ba902b7%3A0%3A0"))]),
            false,
        ),
        (
            Format::XRay,
            headers(&[(
                "X-Amzn-Trace-Id",
                "Self=1-x;Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1",
            )]),
            true,
        ),
    ];
    for (format, headers, sampled) in read {
        let carried = Propagators(vec![format]).extract(&headers);
        assert_eq!(carried.span, span(sampled), "{format:?} {headers:?}");
        assert!(!carried.is_forced);
    }
    let short = extracted(Format::B3, &[("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-d")]);
    assert_eq!(
        short.span.trace_id.to_string(),
        "0000000000000000a3ce929d0e0e4736"
    );
    assert!(short.is_forced && short.span.flags.is_sampled());
}

#[test]
fn what_is_no_header_names_no_span() {
    let (trace, zero) = ("4bf92f3577b34da6a3ce929d0e0e4736", "0".repeat(32));
    let wrong = [
        (
            Format::TraceContext,
            "traceparent",
            format!("ff-{trace}-00f067aa0ba902b7-01"),
        ),
        (
            Format::TraceContext,
            "traceparent",
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
        ),
        (
            Format::TraceContext,
            "traceparent",
            format!("01-{trace}-00f067aa0ba902b7-01.more"),
        ),
        (
            Format::TraceContext,
            "traceparent",
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
        ),
        (
            Format::TraceContext,
            "traceparent",
            format!("00-{zero}-00f067aa0ba902b7-01"),
        ),
        (
            Format::TraceContext,
            "traceparent",
            format!("00-{trace}-0000000000000000-01"),
        ),
        (
            Format::TraceContext,
            "traceparent",
            format!("00-{trace}-00f067aa0ba902b7-0é"),
        ),
        (Format::B3, "b3", "0".to_owned()),
        (Format::B3, "b3", format!("{zero}-00f067aa0ba902b7-1")),
        (Format::B3, "b3", format!("{trace}-xyz067aa0ba902b7-1")),
        (
            Format::Jaeger,
            "uber-trace-id",
            format!("{trace}:00f067aa0ba902b7:1"),
        ),
        (
            Format::Jaeger,
            "uber-trace-id",
            format!("{trace}0:00f067aa0ba902b7:0:1"),
        ),
        (
            Format::XRay,
            "x-amzn-trace-id",
            "Root=2-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7".to_owned(),
        ),
        (
            Format::XRay,
            "x-amzn-trace-id",
            "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736".to_owned(),
        ),
    ];
    for (format, key, value) in wrong {
        assert_eq!(extracted(format, &[(key, &value)]), Carried::default(), "{value}");
    }
    // A state that cannot be read takes nothing from the ids.
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let carried = extracted(
        Format::TraceContext,
        &[("traceparent", &parent), ("tracestate", "A=")],
    );
    assert_eq!(carried.span, span(true));
    let twice = [
        ("traceparent", parent.as_str()),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ];
    assert_eq!(
        extracted(Format::TraceContext, &twice).span.trace_state.as_str(),
        "a=1,b=2"
    );
}

#[test]
fn of_several_formats_all_are_written_and_the_last_that_is_there_counts() {
    let both = Propagators(vec![Format::TraceContext, Format::B3, Format::Baggage]);
    let carried = Carried {
        span: span(true),
        baggage: Baggage::default().with("tenant.id", "a b").unwrap(),
        is_forced: false,
    };
    let mut written = Headers::new();
    both.inject(&carried, &mut written);
    assert_eq!(
        written,
        headers(&[
            (
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            ),
            ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"),
            ("baggage", "tenant.id=a%20b"),
        ])
    );
    assert_eq!(both.extract(&written), carried);
    written.set(
        "B3",
        "463ac35c9f6413ad48485a3953bb6124-0020000000000001-0".to_owned(),
    );
    assert_eq!(
        both.extract(&written).span.span_id.to_string(),
        "0020000000000001"
    );
    written.set("b3", "0".to_owned());
    assert_eq!(both.extract(&written), carried);
}

#[test]
fn a_forced_trace_stays_forced_and_its_flag_is_not_seen_as_baggage() {
    for format in [Format::Baggage, Format::B3, Format::B3Multi, Format::Jaeger] {
        let carried = Carried {
            span: span(true),
            is_forced: true,
            ..Carried::default()
        };
        let mut written = Headers::new();
        let formats = Propagators(vec![Format::TraceContext, format]);
        formats.inject(&carried, &mut written);
        assert_eq!(formats.extract(&written), carried, "{written:?}");
    }
}

fn any_carried() -> impl Strategy<Value = Carried> {
    let member = ("[a-z.]{1,8}", "[ -~äß]{0,12}");
    (
        any::<[u8; 16]>(),
        any::<[u8; 8]>(),
        any::<bool>(),
        prop::collection::vec(member, 0..4),
    )
        .prop_map(|(trace, span, sampled, members)| {
            let mut baggage = Baggage::default();
            for (name, value) in members {
                baggage = baggage.with(&name, &value).unwrap();
            }
            Carried {
                span: SpanContext {
                    trace_id: TraceId(trace),
                    span_id: SpanId(span),
                    flags: TraceFlags::default().with_sampled(sampled),
                    trace_state: TraceState::default(),
                    is_remote: true,
                },
                baggage,
                is_forced: false,
            }
        })
}

proptest! {
    #[test]
    fn what_is_sent_is_what_arrives(carried in any_carried(), format in prop::sample::select(&FORMATS[..])) {
        prop_assume!(carried.span.is_valid());
        let mut written = Headers::new();
        let formats = Propagators(vec![format]);
        formats.inject(&carried, &mut written);
        let arrived = formats.extract(&written);
        match format {
            Format::Baggage => prop_assert_eq!(&arrived.baggage, &carried.baggage),
            Format::Jaeger => prop_assert_eq!(&arrived, &carried),
            _ => prop_assert_eq!(&arrived.span, &carried.span),
        }
    }

    #[test]
    fn no_header_makes_a_reader_panic(value in any::<String>(), format in prop::sample::select(&FORMATS[..])) {
        let keys = [
            "traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "uber-trace-id", "uberctx-a",
            "x-amzn-trace-id",
        ];
        for key in keys {
            extracted(format, &[(key, &value)]);
        }
    }
}
