//! Events of `tracing` as log records.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use cupola_sdk::Context;
use cupola_sdk::core::Settings;
use cupola_sdk::core::log::Severity;
use cupola_sdk::core::suppress;
use cupola_sdk::layer::LayerOptions;
use cupola_sdk::testing::{Capture, START_UNIX_NANO};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use tracing::{debug, error, info, info_span, trace, warn};

#[test]
fn an_event_arrives_with_its_time_its_place_its_thread_and_its_fields_by_type() {
    let capture = Capture::new();
    let subscriber = capture.set_default();
    capture.advance(Duration::from_nanos(5));
    info!(user.id = 7, ratio = 0.5, done = true, name = %"x", list = ?[1], "order {} placed", 12);
    drop(subscriber);

    let batch = &capture.batches()[0];
    let request = ExportLogsServiceRequest::decode(batch.payload().as_ref()).unwrap();
    let scope = &request.resource_logs[0].scope_logs[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, module_path!());
    let record = &scope.log_records[0];
    let text = |text: &str| Value::StringValue(text.to_owned());
    assert_eq!(
        record.body.clone().unwrap().value.unwrap(),
        text("order 12 placed")
    );
    assert_eq!(
        (record.severity_number, record.severity_text.as_str()),
        (9, "INFO")
    );
    assert_eq!(
        (record.time_unix_nano, record.observed_time_unix_nano),
        (START_UNIX_NANO + 5, START_UNIX_NANO + 5)
    );
    assert_eq!((record.event_name.as_str(), record.trace_id.len()), ("", 0));
    let value = |key: &str| {
        let pair = record.attributes.iter().find(|pair| pair.key == key);
        pair.unwrap_or_else(|| panic!("no {key}"))
            .value
            .clone()
            .unwrap()
            .value
            .unwrap()
    };
    assert_eq!(value("user.id"), Value::IntValue(7));
    assert_eq!(value("ratio"), Value::DoubleValue(0.5));
    assert_eq!(value("done"), Value::BoolValue(true));
    assert_eq!(value("name"), text("x"));
    assert_eq!(value("list"), text("[1]"));
    assert_eq!(value("code.file.path"), text(file!()));
    assert!(matches!(value("code.line.number"), Value::IntValue(line) if line > 20));
    assert!(matches!(value("thread.id"), Value::IntValue(id) if id > 0));
    assert_eq!(value("thread.name"), text(std::thread::current().name().unwrap()));
}

#[test]
fn levels_become_severities_and_a_name_the_event_name() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    trace!("a");
    debug!("b");
    info!(name: "order.placed", "c");
    warn!("d");
    error!("e");
    let logs = capture.logs();
    let found: Vec<_> = logs
        .iter()
        .map(|log| (log.severity_number, log.event_name.as_str()))
        .collect();
    assert_eq!(found, [(1, ""), (5, ""), (9, "order.placed"), (13, ""), (17, "")]);
}

#[test]
fn a_record_has_the_fields_of_the_spans_around_it_and_its_own_count() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let outer = info_span!("outer", tenant = "north", step = 1, shared = "outer");
    let inner = info_span!(parent: &outer, "inner", step = 2, shared = "inner");
    inner.in_scope(|| info!(step = 3, "inside"));
    info!(parent: &outer, "given");
    drop((outer, inner));
    assert_eq!(
        capture.render(),
        "span \"outer\" internal shared=\"outer\" step=1 tenant=\"north\"\n  \
           INFO \"given\" shared=\"outer\" step=1 tenant=\"north\"\n  \
           span \"inner\" internal shared=\"inner\" step=2\n    \
             INFO \"inside\" shared=\"inner\" step=3 tenant=\"north\"\n"
    );
    let options = LayerOptions {
        inherit_fields: false,
        log_location: false,
        log_thread: false,
        ..LayerOptions::default()
    };
    let bare = Capture::with(Settings::default(), options);
    let _subscriber = bare.set_default();
    info_span!("outer", tenant = "north").in_scope(|| info!("inside"));
    assert!(bare.logs()[0].attributes.is_empty());
}

#[derive(Debug)]
struct OrderError {
    cause: std::io::Error,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot place the order")
    }
}

impl Error for OrderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

#[test]
fn an_error_in_a_field_is_an_exception_of_the_record_and_of_the_span() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let error = OrderError {
        cause: std::io::Error::other("the disk is full"),
    };
    info_span!("order").in_scope(|| {
        error!(error = &error as &(dyn Error + 'static), "failed");
        error!(error = %"only text", "again");
        error!("without one");
    });
    let logs = capture.logs();
    assert_eq!(logs[0].attributes["exception.type"], "OrderError");
    assert_eq!(logs[0].attributes["exception.message"], "cannot place the order");
    assert_eq!(
        logs[0].attributes["exception.stacktrace"],
        "cannot place the order\ncaused by: the disk is full"
    );
    assert_eq!(logs[0].attributes["error"], "cannot place the order");
    assert_eq!(logs[1].attributes["exception.message"], "only text");
    assert!(!logs[1].attributes.contains_key("exception.type"));
    let span = capture.span("order");
    let messages: Vec<_> = span
        .events
        .iter()
        .map(|event| event.attributes["exception.message"].clone())
        .collect();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0], "cannot place the order");
    assert_eq!(span.status_code, 0, "the span may still succeed");
}

#[test]
fn events_mark_and_appear_on_spans_where_it_is_asked_for() {
    let options = LayerOptions {
        errors_fail_spans: true,
        events_on_spans: true,
        ..LayerOptions::default()
    };
    let capture = Capture::with(Settings::default(), options);
    let _subscriber = capture.set_default();
    info_span!("order").in_scope(|| {
        info!(step = 1, "begun");
        error!(error = %"no stock", "failed");
    });
    let span = capture.span("order");
    assert_eq!((span.status_code, span.status_message.as_str()), (2, "no stock"));
    let names: Vec<_> = span.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["begun", "exception", "failed"]);
    assert_eq!(span.events[0].attributes["step"], 1);
}

#[test]
fn an_error_that_a_span_records_fails_it() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let span = info_span!("order", error = tracing::field::Empty);
    let error = OrderError {
        cause: std::io::Error::other("full"),
    };
    span.record("error", &error as &(dyn Error + 'static));
    drop(span);
    let span = capture.span("order");
    assert_eq!(
        (span.status_code, span.status_message.as_str()),
        (2, "cannot place the order")
    );
    assert_eq!(span.events[0].attributes["exception.type"], "OrderError");
}

#[test]
fn baggage_of_the_context_is_on_spans_and_records_as_far_as_it_is_allowed() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let context = Context::root()
        .with_member("tenant.id", "north")
        .unwrap()
        .with_member("secret", "x")
        .unwrap();
    context.run(|| info_span!("request").in_scope(|| info!(user.id = 3, "inside")));
    assert_eq!(
        capture.render(),
        "span \"request\" internal tenant.id=\"north\"\n  INFO \"inside\" tenant.id=\"north\" user.id=3\n"
    );
}

/// A value whose text is made while an event is being recorded.
struct Talkative;

impl fmt::Display for Talkative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        info_span!("within").in_scope(|| info!("said while another is written"));
        f.write_str("talkative")
    }
}

#[test]
fn a_field_that_makes_events_itself_breaks_nothing() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    info!(value = %Talkative, "outer {}", Talkative);
    info_span!("span", value = %Talkative).in_scope(|| info!("last"));
    let logs = capture.logs();
    let outer = logs.iter().find(|log| log.body == "outer talkative").unwrap();
    assert_eq!(outer.attributes["value"], "talkative");
    assert_eq!(logs.last().unwrap().attributes["value"], "talkative");
}

#[test]
fn what_a_thread_says_while_it_is_suppressed_is_not_recorded() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    {
        let _quiet = suppress::suppress();
        let span = info_span!("exporting");
        span.in_scope(|| error!("connection refused"));
        span.record("more", 1);
    }
    info!("heard");
    assert_eq!(capture.render().matches('\n').count(), 1);
    assert!(capture.spans().is_empty());
    assert_eq!(capture.logs()[0].body, "heard");
}

#[test]
fn a_level_of_the_settings_holds_whatever_the_filter_lets_through() {
    let mut settings = Settings::default();
    settings.logs.level = Severity::WARN;
    let capture = Capture::with(settings, LayerOptions::default());
    let _subscriber = capture.set_default();
    info!("not");
    warn!("yes");
    assert_eq!(capture.logs().len(), 1);
}
