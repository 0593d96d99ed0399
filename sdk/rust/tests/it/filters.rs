//! Directives, and others while the application runs.

use cupola_sdk::layer::{Directives, Filters};
use cupola_sdk::testing::Capture;
use tracing::{debug, debug_span, info, info_span};

/// One place for each, so that what is decided for a place is seen to be decided anew.
fn say() {
    debug_span!("detail").in_scope(|| debug!("detailed"));
    info_span!("usual").in_scope(|| info!("plain"));
}

#[test]
fn directives_hold_for_spans_and_records_apart_and_can_be_changed() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    let said = || {
        say();
        let spans: Vec<_> = capture.spans().into_iter().map(|span| span.name).collect();
        let logs: Vec<_> = capture
            .logs()
            .into_iter()
            .map(|log| log.body.to_string())
            .collect();
        capture.clear();
        (spans.join(" "), logs.join(" "))
    };
    let filter = capture.filter();
    assert_eq!(
        said(),
        ("detail usual".to_owned(), "\"detailed\" \"plain\"".to_owned())
    );
    filter.set_directives("info").unwrap();
    assert_eq!(said(), ("usual".to_owned(), "\"plain\"".to_owned()));
    filter
        .set_directives(&format!("off,{}=debug", module_path!()))
        .unwrap();
    assert_eq!(
        said(),
        ("detail usual".to_owned(), "\"detailed\" \"plain\"".to_owned())
    );
    filter.set(Filters {
        spans: "off".parse::<Directives>().unwrap(),
        logs: "debug".parse::<Directives>().unwrap(),
        console: None,
    });
    assert_eq!(said(), (String::new(), "\"detailed\" \"plain\"".to_owned()));
}

#[test]
fn directives_can_name_spans_and_their_fields() {
    let capture = Capture::new();
    let _subscriber = capture.set_default();
    capture
        .filter()
        .set_directives("info,[request{user=alice}]=debug")
        .unwrap();
    for user in ["alice", "bob"] {
        info_span!("request", user).in_scope(|| debug!(user, "inside"));
    }
    debug!("outside");
    let logs = capture.logs();
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert_eq!(logs[0].attributes["user"], "alice");
}

#[test]
fn a_filter_that_cannot_be_read_says_how_one_is_written() {
    let error = "my_crate=loud".parse::<Directives>().unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("my_crate=loud") && text.contains("info,my_crate::module=debug"),
        "{text}"
    );
    assert!("[span{=".parse::<Directives>().is_err());
}
