//! Lines on the console, whole.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cupola_sdk::Cupola;
use cupola_sdk::console::Output;
use cupola_sdk::core::clock::Clock;
use cupola_sdk::core::ids::Ids;
use cupola_sdk::core::log::Severity;
use cupola_sdk::core::resource::ResourceSettings;
use cupola_sdk::core::settings::{Colour, ConsoleFormat, ConsoleSettings};
use cupola_sdk::core::{Settings, Surroundings};
use cupola_sdk::testing::START_UNIX_NANO;
use tracing::{debug, error, info, info_span};
use tracing_subscriber::layer::SubscriberExt as _;

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<String>>);

impl Written {
    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn output(&self) -> Output {
        let written = self.clone();
        Output::Custom(Arc::new(move |line| written.0.lock().unwrap().push_str(line)))
    }
}

/// Runs `say` with a console of these settings; what it wrote.
fn written(console: ConsoleSettings, say: impl FnOnce(&Cupola)) -> String {
    let written = Written::default();
    let (clock, _) = Clock::at(START_UNIX_NANO + 1_500_000);
    let settings = Settings {
        resource: ResourceSettings {
            detectors: Vec::new(),
            service_name: Some("shop".to_owned()),
            ..ResourceSettings::default()
        },
        ..Settings::default()
    };
    let cupola = cupola_sdk::builder()
        .settings(settings)
        .console(Some(console))
        .console_output(written.output())
        .directives("debug")
        .surroundings(Surroundings {
            clock,
            ids: Ids::counting(),
        })
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(cupola.layer());
    tracing::subscriber::with_default(subscriber, || say(&cupola));
    written.take()
}

fn of(format: ConsoleFormat) -> ConsoleSettings {
    ConsoleSettings {
        format,
        colour: Colour::Never,
        ..ConsoleSettings::default()
    }
}

fn order() {
    let span = info_span!(target: "shop::orders", "order", tenant = "north");
    span.in_scope(|| info!(target: "shop::orders", { user.id = 7, note = "a \"b\"" }, "placed"));
    error!(target: "shop", "two\nlines \u{1b}[31m");
}

#[test]
fn pretty_lines_are_in_columns_and_control_characters_are_shown() {
    assert_eq!(
        written(of(ConsoleFormat::Pretty), |_| order()),
        "2026-01-01 00:00:00.001 INFO  shop::orders             placed user.id=7 note=\"a \\\"b\\\"\" tenant=north\n\
         2026-01-01 00:00:00.001 ERROR shop                     two\\nlines \\u{1b}[31m\n"
    );
}

#[test]
fn compact_lines_say_as_little_as_does() {
    assert_eq!(
        written(of(ConsoleFormat::Compact), |_| order()),
        "00:00:00.001 I orders: placed user.id=7 note=\"a \\\"b\\\"\" tenant=north\n\
         00:00:00.001 E shop: two\\nlines \\u{1b}[31m\n"
    );
}

#[test]
fn lines_of_the_pattern_have_process_module_span_and_line() {
    let lines = written(of(ConsoleFormat::Pattern), |_| order());
    let (first, pid) = (lines.lines().next().unwrap(), std::process::id());
    let begin = format!("{pid}|2026-01-01 00:00:00.001|INFO|{}:order:", module_path!());
    assert!(first.starts_with(&begin), "{first}");
    assert!(
        first.ends_with(" - placed user.id=7 note=\"a \\\"b\\\"\" tenant=north"),
        "{first}"
    );
}

#[test]
fn json_lines_have_the_members_that_all_backends_for_lines_have() {
    let lines = written(of(ConsoleFormat::Json), |_| order());
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let first = lines[0].as_object().unwrap();
    let members: Vec<&str> = first.keys().map(String::as_str).collect();
    let mut wanted = [
        "timestamp",
        "severity_text",
        "severity_number",
        "body",
        "trace_id",
        "span_id",
        "resource",
        "attributes",
    ];
    wanted.sort_unstable();
    let mut sorted = members.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, wanted);
    assert_eq!(first["timestamp"], "2026-01-01T00:00:00.001500Z");
    assert_eq!(
        (&first["severity_text"], &first["severity_number"]),
        (&"INFO".into(), &9.into())
    );
    assert_eq!(first["body"], "placed");
    assert_eq!(
        (&first["trace_id"], &first["span_id"]),
        (
            &"00000000000000000000000000000001".into(),
            &"0000000000000002".into()
        )
    );
    assert_eq!(first["resource"]["service.name"], "shop");
    assert_eq!(
        (&first["attributes"]["user.id"], &first["attributes"]["tenant"]),
        (&7.into(), &"north".into())
    );
    assert_eq!(first["attributes"]["code.file.path"], file!());
    // As in files, with where it is from.
    assert_eq!(first["attributes"]["otel.scope.name"], "shop::orders");
    assert_eq!(
        (&lines[1]["trace_id"], &lines[1]["body"]),
        (&"".into(), &"two\nlines \u{1b}[31m".into())
    );
}

#[test]
fn spans_are_a_tree_where_it_is_asked_for() {
    let settings = ConsoleSettings {
        spans: true,
        ..of(ConsoleFormat::Compact)
    };
    let lines = written(settings, |_| {
        let outer = info_span!("outer", user = "alice");
        outer.in_scope(|| {
            info!(target: "t", "begun");
            info_span!("inner").in_scope(|| info!(target: "t", "inside"));
        });
    });
    let time = "2026-01-01 00:00:00.001";
    assert_eq!(
        lines,
        format!(
            "{time} ┌ outer user=alice\n00:00:00.001 I │ t: begun user=alice\n{time} │ ┌ inner\n\
             00:00:00.001 I │ │ t: inside user=alice\n{time} │ └ inner 0.00ns\n{time} └ outer 0.00ns\n"
        )
    );
}

#[test]
fn colours_end_where_they_should() {
    let settings = ConsoleSettings {
        colour: Colour::Always,
        ..of(ConsoleFormat::Compact)
    };
    let line = written(settings, |_| info!(target: "t", { n = 1 }, "hello"));
    assert_eq!(
        line,
        "\u{1b}[2m00:00:00.001\u{1b}[0m \u{1b}[32mI\u{1b}[0m \u{1b}[2mt:\u{1b}[0m hello \u{1b}[2mn=\u{1b}[0m1\n"
    );
}

#[test]
fn the_console_has_a_level_and_directives_of_its_own() {
    let settings = ConsoleSettings {
        level: Some(Severity::INFO),
        ..of(ConsoleFormat::Compact)
    };
    let lines = written(settings, |cupola| {
        debug!(target: "t", "recorded alone");
        info!(target: "t", "shown");
        let filters = |console: &str| cupola_sdk::layer::Filters {
            console: Some(console.parse().unwrap()),
            ..cupola_sdk::layer::Filters::parse("info").unwrap()
        };
        cupola.set_filters(filters("error"));
        info!(target: "t", "recorded alone");
        error!(target: "t", "shown too");
        assert!(cupola.flush(Duration::from_secs(60)));
    });
    assert_eq!(lines, "00:00:00.001 I t: shown\n00:00:00.001 E t: shown too\n");
}
