//! The cases of Cupola's own variables.

use super::*;

fn tail(settings: &Settings) -> String {
    settings.traces.tail.as_ref().map_or("-".to_owned(), |tail| {
        format!(
            "{} {}",
            tail.ratio.ratio(),
            tail.slow.unwrap_or_default().as_millis()
        )
    })
}

fn pending(settings: &Settings) -> String {
    let pending = settings.traces.pending;
    pending.map_or("-".to_owned(), |pending| pending.after.as_millis().to_string())
}

fn force(settings: &Settings) -> String {
    let force = &settings.traces.force;
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
    format!(
        "{} {} {}",
        name(&force.query),
        name(&force.header),
        force.from_callers
    )
}

pub(super) fn own_cases() -> Vec<Case> {
    vec![
        case!("CUPOLA_LOG_LEVEL", "warning", |s| s.logs.level.name().to_owned(), "TRACE" => "WARN", wrong "loud"),
        case!("CUPOLA_CONSOLE", "off", console, CONSOLE => "off", wrong "loud"),
        case!("CUPOLA_CONSOLE_COLOUR", "never", console, CONSOLE => "Pretty Never Stderr - false", wrong "red"),
        case!("CUPOLA_CONSOLE_TARGET", "stdout", console, CONSOLE => "Pretty Auto Stdout - false", wrong "printer"),
        case!("CUPOLA_CONSOLE_LEVEL", "error", console, CONSOLE => "Pretty Auto Stderr ERROR false", wrong "loud"),
        case!("CUPOLA_CONSOLE_SPANS", "true", console, CONSOLE => "Pretty Auto Stderr - true", wrong "1"),
        case!("CUPOLA_BAGGAGE_SPANS", "a, b", |s| keys(&s.baggage.spans), USUAL => "a,b"),
        case!("CUPOLA_BAGGAGE_LOGS", "*", |s| keys(&s.baggage.logs), USUAL => "*"),
        case!("CUPOLA_BAGGAGE_METRICS", "tenant.id", |s| keys(&s.baggage.metrics), "" => "tenant.id"),
        case!(
            "CUPOLA_RESOURCE_DETECTORS", "host, k8s", |s| s.resource.detectors.iter().map(|detector| detector.name()).collect::<Vec<_>>().join(","),
            "service,process,host,os,container,k8s,cloud" => "host,k8s", wrong "hots"
        ),
        case!("CUPOLA_SCRUB", "false", |s| s.scrub.is_enabled.to_string(), "true" => "false", wrong "no"),
        case!("CUPOLA_SCRUB_KEYS", "^iban$, bic", |s| s.scrub.keys.join(" "), "" => "^iban$ bic", wrong "("),
        case!("CUPOLA_TAIL_SAMPLING", "true", tail, "-" => "0.1 1000", wrong "yes"),
        case!("CUPOLA_TAIL_RATIO", "0.5", tail, "0.1 1000" => "0.5 1000", with &[("CUPOLA_TAIL_SAMPLING", "true")], wrong "2"),
        case!("CUPOLA_TAIL_SLOW", "250ms", tail, "0.1 1000" => "0.1 250", with &[("CUPOLA_TAIL_SAMPLING", "true")], wrong "soon"),
        case!("CUPOLA_PENDING_SPANS", "true", pending, "-" => "10000", wrong "1"),
        case!("CUPOLA_PENDING_AFTER", "2s", pending, "10000" => "2000", with &[("CUPOLA_PENDING_SPANS", "true")], wrong "soon"),
        case!("CUPOLA_FORCE_TRACES", "true", force, "- - true" => "force_full_trace x-force-full-trace true", wrong "on"),
        case!("CUPOLA_FORCE_FROM_CALLERS", "false", force, "- - true" => "- - false", wrong "no"),
        case!("CUPOLA_SPOOL_DIRECTORY", "/var/spool/shop", spool, "-" => "/var/spool/shop 1073741824"),
        case!("CUPOLA_SPOOL_SIZE", "64MiB", spool, "d 1073741824" => "d 67108864", with &[("CUPOLA_SPOOL_DIRECTORY", "d")], wrong "large"),
        case!("CUPOLA_EXIT_TIMEOUT", "1500", |s| format!("{:?}", s.exit_timeout), "5s" => "1.5s", wrong "soon"),
        case!("CUPOLA_SELF_METRICS", "false", |s| s.self_metrics.to_string(), "true" => "false", wrong "maybe"),
        case!(
            "CUPOLA_LOG_FILE", "a/b.jsonl",
            |s| match &s.backends[1].destination { Destination::JsonLines(config) => config.log_file.display().to_string(), other => panic!("{other:?}") },
            "logs/app.jsonl" => "a/b.jsonl", with &[("OTEL_LOGS_EXPORTER", "jsonl")]
        ),
        case!(
            "CUPOLA_ELASTICSEARCH_URL", "https://elastic:hunter2@e:9200",
            |s| match &s.backends[1].destination {
                Destination::Elasticsearch(config) => format!("{} {} {}", config.endpoints[0], config.user, config.password.expose()),
                other => panic!("{other:?}"),
            },
            "http://localhost:9200  " => "https://e:9200 elastic hunter2", with &[("OTEL_LOGS_EXPORTER", "elasticsearch")]
        ),
    ]
}
