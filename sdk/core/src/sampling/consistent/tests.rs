//! Thresholds of traces, and what becomes of them.

use cupola_telemetry::{SpanId, TraceId};

use super::*;
use crate::baggage::Baggage;
use crate::clock::Clock;
use crate::context::TraceFlags;
use crate::recorder::Scope;

fn parent(state: &str, sampled: bool) -> SpanContext {
    SpanContext {
        trace_id: trace(0),
        span_id: SpanId([2; 8]),
        flags: TraceFlags::default().with_sampled(sampled),
        trace_state: TraceState::parse(state).unwrap(),
        is_remote: true,
    }
}

/// An id whose last 56 bits are these.
fn trace(random: u64) -> TraceId {
    let mut id = [0xff; 16];
    id[9..].copy_from_slice(&random.to_be_bytes()[1..]);
    TraceId(id)
}

/// Whether a span is sampled, and the state it has then.
fn ask(composable: Composable, parent: &SpanContext, random: u64) -> (bool, String) {
    ask_with(composable, parent, random, &[])
}

fn ask_with(
    composable: Composable,
    parent: &SpanContext,
    random: u64,
    attributes: &[(&str, Value<'_>)],
) -> (bool, String) {
    let answer = Composite::new(composable).sample(&Question {
        parent,
        trace_id: trace(random),
        name: "span",
        kind: SpanKind::Server,
        attributes,
        links: &[],
        baggage: &Baggage::none(),
        scope: Scope::nameless(),
        clock: &Clock::default(),
    });
    let state = answer.trace_state.as_ref().unwrap_or(&parent.trace_state);
    (
        answer.decision == Decision::RecordAndSample,
        state.as_str().to_owned(),
    )
}

fn share(ratio: f64) -> Composable {
    Composable::Probability(Probability::new(ratio).unwrap())
}

const HALF: u64 = VALUES / 2;

#[test]
fn a_threshold_decides_and_goes_along_with_what_is_kept() {
    let nobody = SpanContext::default();
    assert_eq!(ask(share(0.5), &nobody, HALF), (true, "ot=th:8".to_owned()));
    assert_eq!(ask(share(0.5), &nobody, HALF - 1), (false, String::new()));
    assert_eq!(ask(share(1.0), &nobody, 0), (true, "ot=th:0".to_owned()));
    assert_eq!(ask(share(0.0), &nobody, VALUES - 1), (false, String::new()));
    assert_eq!(
        ask(share(0.25), &nobody, VALUES - 1),
        (true, "ot=th:c".to_owned())
    );
    assert_eq!(
        ask(Composable::AlwaysOn, &nobody, 0),
        (true, "ot=th:0".to_owned())
    );
    assert!(!ask(Composable::AlwaysOff, &nobody, VALUES - 1).0);
    for wrong in [-0.1, 1.1, f64::NAN] {
        assert!(Probability::new(wrong).is_none());
    }
}

#[test]
fn randomness_that_is_written_down_counts_and_stays_with_what_others_have() {
    let from = parent("ot=rv:ffffffffffffff;x:1,other=2", true);
    assert_eq!(
        ask(share(0.5), &from, 0),
        (true, "ot=th:8;rv:ffffffffffffff;x:1,other=2".to_owned())
    );
    let from = parent("other=2,ot=rv:00000000000000;th:0", true);
    assert_eq!(
        ask(share(0.5), &from, VALUES - 1),
        (false, "ot=rv:00000000000000,other=2".to_owned())
    );
    // What is none, by its length or its digits, is as not there.
    for state in ["ot=rv:ff", "ot=rv:FFFFFFFFFFFFFF", "ot=rv:fffffffffffffff"] {
        assert!(!ask(share(0.5), &parent(state, true), 0).0, "{state}");
    }
}

#[test]
fn a_parent_with_a_threshold_decides_and_one_that_contradicts_itself_has_none() {
    let below = || Composable::ParentThreshold(Box::new(share(0.25)));
    let kept = |state: &str, sampled, random| ask(below(), &parent(state, sampled), random);
    assert_eq!(kept("ot=th:8", true, HALF), (true, "ot=th:8".to_owned()));
    assert_eq!(kept("ot=th:8", false, HALF - 1), (false, String::new()));
    assert_eq!(kept("ot=th:8", true, HALF - 1), (true, String::new()));
    assert_eq!(kept("ot=th:8", false, HALF), (false, String::new()));
    assert_eq!(kept("a=1", true, 0), (true, "a=1".to_owned()));
    assert_eq!(kept("a=1", false, VALUES - 1), (false, "a=1".to_owned()));
    assert_eq!(
        ask(below(), &SpanContext::default(), VALUES - 1),
        (true, "ot=th:c".to_owned())
    );
    assert_eq!(
        Composite::new(below()).description(),
        "CompositeSampler{ComposableParentThreshold{ComposableProbability{0.25}}}"
    );
}

#[test]
fn the_first_rule_that_fits_decides_and_where_none_does_the_span_is_dropped() {
    let patterns = |included: &[&str], excluded: &[&str]| AttributePatterns {
        key: "url.path".to_owned(),
        included: included.iter().copied().map(Pattern::new).collect(),
        excluded: excluded.iter().copied().map(Pattern::new).collect(),
    };
    let rule = |predicate, composable| ComposableRule {
        predicate,
        composable,
    };
    let rules = || {
        Composable::Rules(vec![
            rule(
                Predicate {
                    values: Some(("tier".to_owned(), vec!["gold".to_owned(), "7".to_owned()])),
                    ..Predicate::default()
                },
                Composable::AlwaysOn,
            ),
            rule(
                Predicate {
                    patterns: Some(patterns(&["/api/*"], &["*/health"])),
                    kinds: vec![SpanKind::Server],
                    ..Predicate::default()
                },
                share(0.5),
            ),
            rule(
                Predicate {
                    parents: vec![ParentKind::Remote],
                    ..Predicate::default()
                },
                Composable::AlwaysOn,
            ),
        ])
    };
    let nobody = SpanContext::default();
    let root = |attributes: &[(&str, Value<'_>)], random| ask_with(rules(), &nobody, random, attributes).0;
    assert!(root(&[("tier", Value::Int(7))], 0));
    assert!(root(&[("tier", Value::String("gold"))], 0));
    assert!(!root(&[("tier", Value::String("tin"))], VALUES - 1));
    assert!(root(&[("url.path", Value::String("/api/x"))], HALF));
    assert!(!root(&[("url.path", Value::String("/api/x"))], HALF - 1));
    assert!(!root(&[("url.path", Value::String("/api/health"))], VALUES - 1));
    assert!(ask(rules(), &parent("", true), 0).0);
    assert!(Composite::new(rules()).looks_at_attributes());
    assert!(!Composite::new(share(0.5)).looks_at_attributes());
}
