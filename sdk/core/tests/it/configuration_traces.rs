//! Spans in files and variables: which are recorded, which of their traces are exported, what is told about them while they run,
//! and who may force one.

use std::time::Duration;

use cupola_sdk_core::configuration::{Environment, Loaded, file, load};
use cupola_sdk_core::pending::PendingSettings;
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::sampling::{Condition, ForceSettings, Pattern, TraceIdRatio};
use cupola_sdk_core::span::SpanKind;
use cupola_sdk_core::tail::TailSettings;
use cupola_sdk_core::tracer::Start;
use cupola_sdk_core::{Sdk, Surroundings, Value};

use crate::configuration_file::{loaded, refused, warnings};

const NAMED: (&str, &str) = ("OTEL_SERVICE_NAME", "x");

fn sampler(text: &str) -> String {
    let loaded = loaded(text, &[NAMED]);
    assert_eq!(warnings(&loaded), Vec::<String>::new(), "{text}");
    loaded.settings.traces.sampler.description()
}

/// What `ParentBased` says behind its root.
const AS_PARENTS: &str = ",remoteParentSampled=AlwaysOnSampler,remoteParentNotSampled=AlwaysOffSampler,\
                          localParentSampled=AlwaysOnSampler,localParentNotSampled=AlwaysOffSampler}";

#[test]
fn rules_stand_before_the_sampler_of_roots() {
    let text = r#"
traces:
  ratio: 0.1
  rules:
    - { when: { route: "/health*" }, sampler: always_off }
    - { when: { tenant: acme, kind: server, attributes: { retries: 3 } }, sampler: always_on }
    - { when: { name: "GET *", scope: shop.web }, per_second: 5 }
    - { when: { name: "POST *" }, ratio: 0.5 }
"#;
    assert_eq!(
        sampler(text),
        "ParentBased{root=RuleBased{route=/health*:AlwaysOffSampler,kind=server&tenant=acme&retries=3:AlwaysOnSampler,\
         name=GET *&scope=shop.web:RateLimited{5},name=POST *:TraceIdRatioBased{0.5},otherwise:TraceIdRatioBased{0.1}}"
            .to_owned()
            + AS_PARENTS
    );
    assert_eq!(
        sampler("traces: { rules: [ { when: { name: a }, sampler: always_off } ] }"),
        format!(
            "ParentBased{{root=RuleBased{{name=a:AlwaysOffSampler,otherwise:AlwaysOnSampler}}{AS_PARENTS}"
        )
    );
    // Where it looks at every span, so do they.
    assert_eq!(
        sampler("traces: { sampler: always_on, rules: [ { when: { name: a }, sampler: always_off } ] }"),
        "RuleBased{name=a:AlwaysOffSampler,otherwise:AlwaysOnSampler}"
    );
    assert_eq!(
        sampler("traces: { per_second: 20 }"),
        format!("ParentBased{{root=RateLimited{{20}}{AS_PARENTS}")
    );
    assert_eq!(sampler("traces: { sampler: ratelimited }"), "RateLimited{100}");
}

#[test]
fn tail_sampling_pending_spans_and_forcing_become_settings() {
    let text = r#"
traces:
  force: { query: debug, from_callers: false }
  tail:
    ratio: 0.05
    errors: false
    slow: 250ms
    slow_names: [ { name: "report *", slow: 10s } ]
    rules: [ { kind: consumer, attributes: { order.total: "9*" } } ]
    linger: 1s
    wait_max: 10s
    size: 1MiB
    traces_max: 100
    decisions_max: 1000
  pending: { after: 2s, every: 20s, spans_max: 50, attribute_size: 1KiB }
"#;
    let loaded_whole = loaded(text, &[NAMED]);
    assert_eq!(warnings(&loaded_whole), Vec::<String>::new());
    let traces = &loaded_whole.settings.traces;
    assert_eq!(
        traces.force,
        ForceSettings {
            query: Some("debug".to_owned()),
            header: None,
            from_callers: false
        }
    );
    assert_eq!(
        traces.tail,
        Some(TailSettings {
            ratio: TraceIdRatio::new(0.05).unwrap(),
            errors: false,
            slow: Some(Duration::from_millis(250)),
            slow_names: vec![(Pattern::new("report *"), Duration::from_secs(10))],
            rules: vec![vec![
                Condition::Kind(SpanKind::Consumer),
                Condition::Attribute {
                    key: "order.total".to_owned(),
                    value: Pattern::new("9*")
                }
            ]],
            linger: Duration::from_secs(1),
            wait_max: Duration::from_secs(10),
            bytes_max: 1 << 20,
            traces_max: 100,
            decisions_max: 1000,
        })
    );
    assert_eq!(
        traces.pending,
        Some(PendingSettings {
            after: Duration::from_secs(2),
            every: Duration::from_secs(20),
            spans_max: 50,
            attribute_bytes_max: 1024
        })
    );

    let usual = loaded(
        "traces: { force: { enabled: true }, tail: { slow: 0s }, pending: { enabled: false } }",
        &[NAMED],
    );
    let traces = usual.settings.traces;
    assert_eq!(traces.force, ForceSettings::usual());
    let no_slow = TailSettings {
        slow: None,
        ..TailSettings::default()
    };
    assert_eq!((traces.tail, traces.pending), (Some(no_slow), None));

    let off = loaded("traces: { tail: { enabled: false } }", &[NAMED]);
    assert_eq!(off.settings.traces.tail, None);
    assert_eq!(off.settings.traces.force, ForceSettings::default());
}

#[test]
fn mistakes_are_told_with_their_lines() {
    let shown = refused(
        r#"
traces:
  sampler: sometimes
"#,
    );
    assert!(
        shown.contains("cupola.yaml:3:12: traces.sampler: `sometimes` is none"),
        "{shown}"
    );
    let shown = refused(
        r#"
traces:
  ratio: 2
  rules:
    - { when: { route: "/a" } }
    - { when: { rute: "/a" }, sampler: always_on }
    - { per_second: 0 }
    - { ratio: -1 }
  tail:
    ratio: 7
    wait_max: 0s
    rules: [ {} ]
  pending: { every: 0s }
"#,
    );
    for part in [
        "cupola.yaml:6:17: traces.rules[1].when.rute: unknown key",
        "hint: did you mean `route`?",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let shown = refused(
        r#"
traces:
  ratio: 2
  rules:
    - { when: { route: "/a" } }
    - { per_second: 0 }
    - { ratio: -1 }
  tail:
    ratio: 7
    wait_max: 0s
    rules: [ {} ]
  pending: { every: 0s }
"#,
    );
    for part in [
        "cupola.yaml:3:10: traces.ratio: `2` is not a share from 0 to 1",
        "cupola.yaml:5:7: traces.rules[0]: does not say what becomes of spans",
        "cupola.yaml:6:21: traces.rules[1].per_second: must be more than 0",
        "cupola.yaml:7:16: traces.rules[2].ratio: `-1` is not a share",
        "cupola.yaml:9:12: traces.tail.ratio: `7` is not a share",
        "cupola.yaml:10:15: traces.tail.wait_max: must be longer than 0s",
        "cupola.yaml:11:14: traces.tail.rules[0]: keeps every trace",
        "cupola.yaml:12:21: traces.pending.every: must be longer than 0s",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let odd = loaded("traces: { sampler: always_on, per_second: 3 }", &[NAMED]);
    let warnings = warnings(&odd);
    assert!(
        warnings.len() == 1 && warnings[0].contains("has no effect with the sampler always_on"),
        "{warnings:?}"
    );
}

#[test]
fn the_schema_has_every_setting_of_spans() {
    let schema = file::schema().to_string();
    for key in [
        "rules",
        "per_second",
        "when",
        "tenant",
        "from_callers",
        "slow_names",
        "decisions_max",
        "attribute_size",
        "parentbased_ratelimited",
    ] {
        assert!(schema.contains(&format!("\"{key}\"")), "{key}");
    }
}

#[test]
fn variables_go_before_the_file_and_those_without_effect_are_told() {
    let text = "traces: { tail: { errors: false }, force: { header: x-debug } }";
    let variables = [
        NAMED,
        ("CUPOLA_TAIL_RATIO", "0.5"),
        ("CUPOLA_TAIL_SLOW", "0"),
        ("CUPOLA_FORCE_TRACES", "true"),
        ("CUPOLA_FORCE_FROM_CALLERS", "false"),
        ("CUPOLA_PENDING_AFTER", "3s"),
        ("OTEL_TRACES_SAMPLER", "parentbased_ratelimited"),
        ("OTEL_TRACES_SAMPLER_ARG", "7"),
    ];
    let loaded_both = loaded(text, &variables);
    let warnings = warnings(&loaded_both);
    assert!(
        warnings.len() == 1
            && warnings[0].contains("CUPOLA_PENDING_AFTER: has no effect without CUPOLA_PENDING_SPANS"),
        "{warnings:?}"
    );
    let traces = loaded_both.settings.traces;
    assert_eq!(
        traces.tail,
        Some(TailSettings {
            ratio: TraceIdRatio::new(0.5).unwrap(),
            errors: false,
            slow: None,
            ..TailSettings::default()
        })
    );
    assert_eq!(
        traces.force,
        ForceSettings {
            query: None,
            header: Some("x-debug".to_owned()),
            from_callers: false
        }
    );
    assert_eq!(
        traces.sampler.description(),
        format!("ParentBased{{root=RateLimited{{7}}{AS_PARENTS}")
    );
}

#[test]
fn a_running_sdk_takes_over_rules_and_whether_callers_are_believed() {
    let settings = |text: &str| loaded(text, &[NAMED, ("CUPOLA_SELF_METRICS", "false")]).settings;
    let sdk = Sdk::new(
        settings("traces: { sampler: always_off }"),
        Surroundings::default(),
    );
    let is_recorded = |sdk: &Sdk| {
        let started = sdk.tracer(Scope::nameless()).start(Start {
            attributes: &[("http.route", Value::String("/orders"))],
            ..Start::new("GET /orders")
        });
        started.recording.is_some()
    };
    let headers = vec![
        ("baggage".to_owned(), "cupola.force=1,tenant.id=acme".to_owned()),
        (
            "b3".to_owned(),
            "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-d".to_owned(),
        ),
    ];
    assert!(!is_recorded(&sdk) && sdk.extract(&headers).is_forced);

    let other = "propagators: [baggage, b3]\n\
                 traces: { sampler: always_off, force: { from_callers: false }, rules: [ { when: { route: /orders }, sampler: always_on } ] }";
    assert_eq!(
        sdk.apply(settings(other), Duration::from_secs(5)),
        Vec::<String>::new()
    );
    assert!(is_recorded(&sdk));
    let carried = sdk.extract(&headers);
    // What a caller says otherwise counts as before.
    assert!(!carried.is_forced && carried.span.flags.is_sampled());
    assert_eq!(carried.baggage.get("tenant.id"), Some("acme"));
    assert_eq!(carried.baggage.get("cupola.force"), None);
}

const DECLARATIVE: &str = "/etc/otel.yaml";

fn declarative(sampler: &str) -> Environment {
    let text = format!(
        "file_format: '1.0'\n\
         resource: {{attributes_list: 'service.name=x'}}\n\
         tracer_provider:\n\
        \x20 processors: [{{batch: {{exporter: {{console: }}}}}}]\n\
        \x20 sampler: {sampler}\n"
    );
    Environment::of([("OTEL_CONFIG_FILE", DECLARATIVE)]).with_files(move |path| match path.to_str() {
        Some(DECLARATIVE) => Ok(text.clone()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    })
}

fn declared(sampler: &str) -> Loaded {
    load(&declarative(sampler)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn composed_samplers_of_a_declarative_file_are_used() {
    for (sampler, expected) in [
        (
            "{ probability/development: { ratio: 0.25 } }",
            "CompositeSampler{ComposableProbability{0.25}}",
        ),
        (
            "{ composite/development: { always_on: } }",
            "CompositeSampler{ComposableAlwaysOn}",
        ),
        (
            "{ composite/development: { parent_threshold: { root: { probability: { ratio: 0.1 } } } } }",
            "CompositeSampler{ComposableParentThreshold{ComposableProbability{0.1}}}",
        ),
        (
            "{ parent_based: { root: { composite: { rule_based: { rules: [ { attribute_values: { key: a, values: [b] }, \
             parent: [none], sampler: { always_off: } }, { attribute_patterns: { key: url.path, included: [/x/*], excluded: [/x/y] }, \
             span_kinds: [server, consumer], sampler: { always_on: } } ] } } } } }",
            "ParentBased{root=CompositeSampler{ComposableRuleBased{ComposableAlwaysOff,ComposableAlwaysOn}}",
        ),
    ] {
        let loaded = declared(sampler);
        let description = loaded.settings.traces.sampler.description();
        assert!(description.starts_with(expected), "{description}");
        let warnings = warnings(&loaded);
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn composed_samplers_that_cannot_be_are_refused_with_their_line() {
    for (sampler, expected) in [
        (
            "{ composite/development: { probability: { ratio: 3 } } }",
            "otel.yaml:5:61: tracer_provider.sampler.composite/development.probability.ratio: `3` is not a share",
        ),
        (
            "{ composite/development: { parent_threshold: { } } }",
            "otel.yaml:5:57: tracer_provider.sampler.composite/development.parent_threshold.root: this key is missing",
        ),
        (
            "{ composite/development: { always_on: , always_off: } }",
            "otel.yaml:5:37: tracer_provider.sampler.composite/development: has several kinds: always_on, always_off",
        ),
        (
            "{ composite/development: { rule_based: { rules: [ { span_kinds: [server] } ] } } }",
            "rule_based.rules[0].sampler: this key is missing",
        ),
        (
            "{ composite/development: { rule_based: { rules: [ { span_kinds: [sever], sampler: { always_on: } } ] } } }",
            "hint: did you mean `server`?",
        ),
        (
            "{ composite/development: { ratio_based: } }",
            "otel.yaml:5:39: tracer_provider.sampler.composite/development.ratio_based: unknown key",
        ),
    ] {
        let shown = load(&declarative(sampler)).unwrap_err().to_string();
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
}
