//! Which spans are recorded: by rules, by rate, and because somebody forces it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cupola_sdk_core::baggage::Baggage;
use cupola_sdk_core::clock::Clock;
use cupola_sdk_core::context::{SpanContext, TraceFlags};
use cupola_sdk_core::ids::Ids;
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::propagation::{Carried, Propagators};
use cupola_sdk_core::rate_limit::RateLimitRule;
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::sampling::{
    AlwaysOff, AlwaysOn, Condition, FORCED, ForceSettings, ParentBased, ParentBasedSettings, Pattern,
    RateLimited, Rule, RuleBased, RuleSettings, Sampler, SamplerError, SamplerSettings,
};
use cupola_sdk_core::span::SpanKind;
use cupola_sdk_core::tracer::Start;
use cupola_sdk_core::{Sdk, Settings, Surroundings, Value};
use cupola_telemetry::view::AnyValue;
use cupola_telemetry::{SpanId, TraceId};

fn sdk(sampler: Arc<dyn Sampler>, clock: Clock) -> Sdk {
    let mut settings = Settings::default();
    settings.traces.sampler = sampler;
    let surroundings = Surroundings {
        clock,
        ids: Ids::counting(),
    };
    Sdk::new(settings, surroundings)
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text)
}

fn rule(conditions: Vec<Condition>, is_kept: bool) -> Rule {
    let sampler: Arc<dyn Sampler> = match is_kept {
        true => Arc::new(AlwaysOn),
        false => Arc::new(AlwaysOff),
    };
    Rule { conditions, sampler }
}

/// Whether a span of these attributes is recorded.
fn is_recorded(sdk: &Sdk, start: Start<'_>) -> bool {
    let tracer = sdk.tracer(Scope::of("shop.web", "1", "", &[]));
    tracer.start(start).recording.is_some()
}

fn with<'s>(attributes: &'s [(&'s str, Value<'s>)]) -> Start<'s> {
    Start {
        attributes,
        ..Start::new("GET")
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let rules = vec![
        rule(vec![Condition::Name(pattern("health*"))], false),
        rule(vec![Condition::Tenant(pattern("acme"))], true),
        rule(
            vec![
                Condition::Kind(SpanKind::Server),
                Condition::Route(pattern("/static/*")),
            ],
            false,
        ),
        rule(
            vec![Condition::Attribute {
                key: "http.response.status_code".to_owned(),
                value: pattern("5??"),
            }],
            true,
        ),
        rule(vec![Condition::Scope(pattern("shop.*"))], true),
    ];
    let sdk = sdk(
        Arc::new(RuleBased::new(rules, Arc::new(AlwaysOff))),
        Clock::default(),
    );
    let of_acme = Baggage::default().with("tenant.id", "acme").unwrap();
    let health = |baggage| Start {
        baggage,
        ..Start::new("healthz")
    };
    assert!(
        !is_recorded(&sdk, health(&of_acme)),
        "the first rule, not the second"
    );
    let file = [("url.path", Value::String("/static/a.css"))];
    let server = |attributes, baggage| Start {
        attributes,
        kind: SpanKind::Server,
        baggage,
        ..Start::new("GET")
    };
    let nobody = Baggage::none();
    assert!(is_recorded(&sdk, server(&file, &of_acme)));
    assert!(!is_recorded(&sdk, server(&file, &nobody)));
    let routed = [
        ("url.path", Value::String("/static/a.css")),
        ("http.route", Value::String("/{file}")),
    ];
    assert!(
        is_recorded(&sdk, server(&routed, &nobody)),
        "the route, not the path"
    );
    assert!(
        is_recorded(&sdk, with(&file)),
        "no server, so that the scope decides"
    );

    let other = sdk.tracer(Scope::of("library", "1", "", &[]));
    assert!(other.start(Start::new("work")).recording.is_none());
    let failed = [("http.response.status_code", Value::Int(503))];
    assert!(other.start(with(&failed)).recording.is_some());
    let succeeded = [("http.response.status_code", Value::Int(200))];
    assert!(other.start(with(&succeeded)).recording.is_none());
    let tenant = [("tenant.id", Value::String("acme"))];
    assert!(other.start(with(&tenant)).recording.is_some());
    let of_shop = Start {
        scope: Some(Scope::of("shop.db", "", "", &[])),
        ..Start::new("query")
    };
    assert!(other.start(of_shop).recording.is_some());
}

#[test]
fn rules_see_attributes_that_were_written_before_the_start_and_arrays() {
    let fits = |value: &str| {
        let condition = Condition::Attribute {
            key: "key".to_owned(),
            value: pattern(value),
        };
        RuleBased::new(vec![rule(vec![condition], true)], Arc::new(AlwaysOff))
    };
    let written = |value: Value<'_>| {
        let mut written = cupola_sdk_core::span::empty_attributes(Default::default());
        written.set("key", value);
        Some(written)
    };
    let array = [Value::Int(1), Value::String("b")];
    for (value, wanted) in [
        (Value::String("text"), "te*t"),
        (Value::Bool(true), "true"),
        (Value::Int(-5), "-5"),
        (Value::Double(0.5), "0.5"),
        (Value::Array(&array), "b"),
        (Value::Array(&array), "1"),
    ] {
        let sampler = fits(wanted);
        assert!(sampler.looks_at_attributes());
        let sdk = sdk(Arc::new(sampler), Clock::default());
        let tracer = sdk.tracer(Scope::nameless());
        assert!(is_recorded(&sdk, with(&[("key", value)])), "{value:?}");
        if !matches!(value, Value::Array(_)) {
            let started = tracer.start_with(Start::new("GET"), &mut written(value));
            assert!(started.recording.is_some(), "{value:?}");
        }
        assert!(!is_recorded(&sdk, with(&[("key", Value::String("other"))])));
        assert!(!is_recorded(&sdk, Start::new("GET")));
    }
}

#[test]
fn below_a_parent_the_rules_are_not_asked() {
    let rules = RuleBased::new(vec![], Arc::new(AlwaysOff));
    let sdk = sdk(Arc::new(ParentBased::new(Arc::new(rules))), Clock::default());
    let parent = SpanContext {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([2; 8]),
        flags: TraceFlags::SAMPLED,
        ..SpanContext::default()
    };
    let below = Start {
        parent: &parent,
        ..Start::new("below")
    };
    assert!(is_recorded(&sdk, below));
    assert!(!is_recorded(&sdk, Start::new("root")));
}

#[test]
fn so_many_traces_in_a_second_and_the_spans_below_them() {
    let second = 1_000_000_000;
    let (clock, time) = Clock::at(1_000 * second);
    let limited = RateLimited::new(5.0).unwrap();
    let sdk = sdk(Arc::new(ParentBased::new(Arc::new(limited))), clock);
    let tracer = sdk.tracer(Scope::nameless());
    let kept = |traces: usize| {
        let roots = (0..traces).map(|_| tracer.start(Start::new("root")));
        roots
            .filter(|root| {
                let below = tracer.start(Start {
                    parent: &root.context,
                    ..Start::new("below")
                });
                assert_eq!(below.recording.is_some(), root.recording.is_some());
                root.recording.is_some()
            })
            .count()
    };
    assert_eq!(kept(100), 5);
    time.fetch_add(second / 5, Ordering::Relaxed);
    assert_eq!(kept(100), 1);
    time.fetch_add(3_600 * second, Ordering::Relaxed);
    assert_eq!(kept(100), 5);
    // Set back: as if all had been used at the new time.
    time.store(second, Ordering::Relaxed);
    assert_eq!(kept(100), 0);
    time.fetch_add(second, Ordering::Relaxed);
    assert_eq!(kept(100), 5);
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(RateLimited::new(wrong).is_none());
    }
}

#[test]
fn samplers_are_made_of_settings_and_say_what_they_are() {
    let settings = SamplerSettings::Rules {
        rules: vec![
            RuleSettings {
                conditions: vec![
                    Condition::Kind(SpanKind::Server),
                    Condition::Route(pattern("/health")),
                ],
                sampler: SamplerSettings::AlwaysOff,
            },
            RuleSettings {
                conditions: Vec::new(),
                sampler: SamplerSettings::RateLimited(2.5),
            },
        ],
        otherwise: Box::new(SamplerSettings::TraceIdRatio(0.25)),
    };
    assert_eq!(
        settings.build().unwrap().description(),
        "RuleBased{kind=server&route=/health:AlwaysOffSampler,*:RateLimited{2.5},otherwise:TraceIdRatioBased{0.25}}"
    );
    let parents = SamplerSettings::ParentBased(Box::new(ParentBasedSettings {
        root: SamplerSettings::AlwaysOn,
        remote_sampled: Some(SamplerSettings::TraceIdRatio(0.5)),
        remote_not_sampled: None,
        local_sampled: None,
        local_not_sampled: Some(SamplerSettings::AlwaysOn),
    }));
    assert_eq!(
        parents.build().unwrap().description(),
        "ParentBased{root=AlwaysOnSampler,remoteParentSampled=TraceIdRatioBased{0.5},remoteParentNotSampled=AlwaysOffSampler,\
         localParentSampled=AlwaysOnSampler,localParentNotSampled=AlwaysOnSampler}"
    );
    let mut nested = SamplerSettings::AlwaysOn;
    for _ in 0..100 {
        nested = nested.below_parents();
    }
    assert_eq!(nested.build().unwrap_err(), SamplerError::Depth);
    let wrong = SamplerSettings::TraceIdRatio(2.0).below_parents();
    assert_eq!(wrong.build().unwrap_err(), SamplerError::Ratio(2.0));
    assert_eq!(
        SamplerSettings::RateLimited(0.0).build().unwrap_err(),
        SamplerError::PerSecond(0.0)
    );
}

#[test]
fn names_of_the_environment_give_a_sampler_whatever_they_are() {
    use SamplerSettings::{AlwaysOff, AlwaysOn, RateLimited, TraceIdRatio};
    for (name, argument, settings, is_wrong) in [
        ("always_on", None, AlwaysOn, false),
        ("always_off", Some("what?"), AlwaysOff, false),
        ("traceidratio", None, TraceIdRatio(1.0), false),
        ("traceidratio", Some(" 0.25 "), TraceIdRatio(0.25), false),
        ("traceidratio", Some("1.25"), TraceIdRatio(1.0), true),
        ("traceidratio", Some("half"), TraceIdRatio(1.0), true),
        ("parentbased_always_on", Some(""), AlwaysOn.below_parents(), false),
        ("parentbased_always_off", None, AlwaysOff.below_parents(), false),
        (
            "parentbased_traceidratio",
            Some("0.5"),
            TraceIdRatio(0.5).below_parents(),
            false,
        ),
        (
            "parentbased_ratelimited",
            Some("10"),
            RateLimited(10.0).below_parents(),
            false,
        ),
        ("ratelimited", Some("0"), RateLimited(100.0), true),
        ("jaeger_remote", None, AlwaysOn.below_parents(), true),
        ("", None, AlwaysOn.below_parents(), true),
    ] {
        let (found, error) = SamplerSettings::of_names(name, argument);
        assert_eq!(
            (&found, error.is_some()),
            (&settings, is_wrong),
            "{name} {argument:?}"
        );
        assert!(found.build().is_ok());
    }
}

#[test]
fn a_forced_trace_is_recorded_in_every_service_although_nothing_else_is() {
    let never = || {
        let mut settings = Settings::default();
        settings.traces.sampler = Arc::new(AlwaysOff);
        let mut none = RateLimitRule::new("few");
        none.per_second = Some(0.0);
        settings.logs.rate_limits.rules = vec![none];
        Sdk::new(settings, Surroundings::default())
    };
    let forces = ForceSettings::usual();
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut is_forced = forces.is_asked(Some("discount=1&force_full_trace=1"), |_| None);
    let baggage = Baggage::default().with("tenant.id", "acme").unwrap();
    let mut trace_ids = Vec::new();
    for _ in 0..3 {
        let (sdk, propagators) = (never(), Propagators::default());
        let mut carried = propagators.extract(&headers);
        is_forced |= carried.is_forced;
        let tracer = sdk.tracer(Scope::nameless());
        assert!(tracer.start(Start::new("unasked")).recording.is_none());
        let started = tracer.start(Start {
            parent: &carried.span,
            is_forced,
            ..Start::new("asked")
        });
        let recording = started.recording.unwrap();
        assert!(started.context.flags.is_sampled());
        assert_eq!(recording.attributes().get(FORCED), Some(AnyValue::Bool(true)));
        tracer.end(recording);
        trace_ids.push(started.context.trace_id);

        let logger = sdk.logger(Scope::nameless());
        let emits = |is_forced| {
            let mut record = logger.record(Severity::INFO, "said", &baggage);
            record.is_forced = is_forced;
            logger.emit(&record)
        };
        // One is the burst.
        assert_eq!([emits(false), emits(false), emits(true)], [true, false, true]);

        carried = Carried {
            span: started.context,
            baggage: baggage.clone(),
            is_forced,
        };
        headers.clear();
        is_forced = false;
        propagators.inject(&carried, &mut headers);
    }
    assert!(trace_ids.iter().all(|id| *id == trace_ids[0]), "one trace");
}
