//! Every variable: what it does when it is set, what holds when it is not, and that a value which is none is told and changes
//! nothing. Every one that the table has, has its case here.

use std::collections::BTreeSet;

use cupola_sdk_core::Settings;
use cupola_sdk_core::backend::{Backend, Destination};
use cupola_sdk_core::configuration::variables::table;
use cupola_sdk_core::configuration::{Environment, Loaded, load};
use cupola_sdk_core::resource::OwnedValue;
use cupola_sdk_core::settings::{BaggageKeys, QueueSettings};
use cupola_telemetry::Signal;

fn loaded(variables: &[(&str, &str)]) -> Loaded {
    load(&Environment::of(variables.iter().copied())).unwrap()
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded
        .warnings
        .iter()
        .map(|warning| warning.render(None))
        .collect()
}

/// One variable.
struct Case {
    name: &'static str,
    /// Others that it needs.
    with: &'static [(&'static str, &'static str)],
    value: &'static str,
    /// What it is about.
    look: fn(&Settings) -> String,
    default: &'static str,
    expected: &'static str,
    /// What is none.
    wrong: Option<&'static str>,
}

fn otlp(settings: &Settings, signal: Signal) -> Option<&cupola_export::otlp::OtlpConfig> {
    let mut backends = settings
        .backends
        .iter()
        .filter(|backend| backend.signals.has(signal));
    backends.find_map(|backend| match &backend.destination {
        Destination::Otlp(config) => Some(config),
        _ => None,
    })
}

fn of(signal: Signal, settings: &Settings) -> &Backend {
    settings
        .backends
        .iter()
        .find(|backend| backend.signals.has(signal))
        .unwrap()
}

fn each_otlp(settings: &Settings, look: impl Fn(&cupola_export::otlp::OtlpConfig) -> String) -> String {
    let signals = [Signal::Traces, Signal::Metrics, Signal::Logs];
    let looked = signals.map(|signal| otlp(settings, signal).map_or("none".to_owned(), &look));
    looked.join(" ")
}

fn urls(settings: &Settings) -> String {
    let signals = [Signal::Traces, Signal::Metrics, Signal::Logs];
    let urls = signals.map(|signal| {
        let config = otlp(settings, signal).unwrap();
        let own = config.signal_endpoints[signal as usize].clone();
        own.unwrap_or_else(|| config.endpoint.clone())
    });
    urls.join(" ")
}

fn tls(settings: &Settings) -> String {
    each_otlp(settings, |config| {
        let path = |path: &Option<std::path::PathBuf>| {
            path.as_ref()
                .map_or("-".to_owned(), |path| path.display().to_string())
        };
        let tls = &config.tls;
        format!(
            "{},{},{}",
            path(&tls.ca_file),
            path(&tls.cert_file),
            path(&tls.key_file)
        )
    })
}

fn headers(settings: &Settings) -> String {
    each_otlp(settings, |config| {
        let headers = config.headers.iter();
        let headers: Vec<String> = headers
            .map(|(name, value)| format!("{name}={}", value.expose()))
            .collect();
        format!("[{}]", headers.join(","))
    })
}

fn protocols(settings: &Settings) -> String {
    each_otlp(settings, |config| config.protocol.as_str().to_owned())
}

fn compressions(settings: &Settings) -> String {
    each_otlp(settings, |config| format!("{:?}", config.compression))
}

fn timeouts(settings: &Settings) -> String {
    let signals = [Signal::Traces, Signal::Metrics, Signal::Logs];
    let timeouts = signals.map(|signal| {
        let timeout = of(signal, settings).delivery.timeout;
        assert_eq!(otlp(settings, signal).unwrap().timeout, timeout);
        timeout.as_millis().to_string()
    });
    timeouts.join(" ")
}

fn kinds(settings: &Settings, signal: Signal) -> String {
    let backends = settings
        .backends
        .iter()
        .filter(|backend| backend.signals.has(signal));
    let names: Vec<&str> = backends.map(|backend| backend.name.as_str()).collect();
    names.join(",")
}

fn tried(settings: &Settings, signal: Signal) -> String {
    let retry = &of(signal, settings).delivery.retry_on_failure;
    retry.validate().unwrap();
    retry.max_elapsed_time.as_millis().to_string()
}

fn queue(queue: &QueueSettings) -> String {
    let limits = &queue.limits;
    format!(
        "{} {} {}",
        queue.delay.as_millis(),
        limits.bytes_max,
        limits.batch_items_max
    )
}

/// As the resource weighs them: by hand, the variable of the name, then the last of the others.
fn attribute(settings: &Settings, key: &str) -> String {
    let resource = &settings.resource;
    let name = resource.service_name.clone().filter(|_| key == "service.name");
    let mut texts = resource
        .environment
        .iter()
        .filter_map(|(known, value)| match value {
            OwnedValue::String(text) if known == key => Some(text.clone()),
            _ => None,
        });
    name.or_else(|| texts.next_back())
        .unwrap_or_else(|| "-".to_owned())
}

fn span_limits(settings: &Settings) -> String {
    let limits = &settings.traces.limits;
    format!(
        "{} {:?} {} {} {} {} {:?}",
        limits.attributes.count,
        limits.attributes.value_length,
        limits.events,
        limits.links,
        limits.event_attributes.count,
        limits.link_attributes.count,
        limits.event_attributes.value_length,
    )
}

fn log_limits(settings: &Settings) -> String {
    format!(
        "{} {:?}",
        settings.logs.limits.count, settings.logs.limits.value_length
    )
}

fn console(settings: &Settings) -> String {
    settings.console.map_or("off".to_owned(), |console| {
        let level = console.level.map_or("-", |level| level.name());
        format!(
            "{:?} {:?} {:?} {level} {}",
            console.format, console.colour, console.target, console.spans
        )
    })
}

fn keys(keys: &BaggageKeys) -> String {
    match keys {
        BaggageKeys::All => "*".to_owned(),
        BaggageKeys::These(names) => names.join(","),
    }
}

fn spool(settings: &Settings) -> String {
    let spool = settings.spool.as_ref();
    spool.map_or("-".to_owned(), |spool| {
        format!("{} {}", spool.directory.display(), spool.bytes_max)
    })
}

const USUAL: &str = "tenant.id,user.id,request_id,correlation_id";
const HERE: &str = "http://localhost:4318 http://localhost:4318 http://localhost:4318";
const SPANS: &str = "128 None 128 128 128 128 None";
const CONSOLE: &str = "Pretty Auto Stderr - false";

macro_rules! case {
    ($name:literal, $value:literal, $look:expr, $default:expr => $expected:expr $(, with $with:expr)? $(, wrong $wrong:literal)?) => {
        Case {
            name: $name,
            with: [&[] as &[(&str, &str)] $(, $with)?].last().unwrap(),
            value: $value,
            look: $look,
            default: $default,
            expected: $expected,
            wrong: [None::<&str> $(, Some($wrong))?].last().copied().flatten(),
        }
    };
}

mod own;

use own::own_cases;

fn general_cases() -> Vec<Case> {
    vec![
        case!("OTEL_SDK_DISABLED", "TRUE", |s| s.is_disabled.to_string(), "false" => "true", wrong "yes"),
        case!("OTEL_SERVICE_NAME", "shop", |s| attribute(s, "service.name"), "-" => "shop"),
        case!("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,b=c%20d", |s| attribute(s, "b"), "-" => "c d", wrong "b=c,d"),
        case!("OTEL_ENTITIES", "service{service.name=a}[b=1]", |s| attribute(s, "b"), "-" => "1", wrong "service"),
        case!("OTEL_LOG_LEVEL", "Warn", |s| s.own_level.map_or("-", |level| level.name()).to_owned(), "INFO" => "WARN", wrong "loud"),
        case!("OTEL_PROPAGATORS", "b3,B3,jaeger", |s| format!("{:?}", s.propagators.0), "[TraceContext, Baggage]" => "[B3, Jaeger]", wrong "b4"),
        case!("OTEL_TRACES_SAMPLER", "always_off", |s| s.traces.sampler.description()[..16].to_owned(), "ParentBased{root" => "AlwaysOffSampler", wrong "sometimes"),
        case!(
            "OTEL_TRACES_SAMPLER_ARG", "0.25", |s| s.traces.sampler.description(), "TraceIdRatioBased{1}" => "TraceIdRatioBased{0.25}",
            with &[("OTEL_TRACES_SAMPLER", "traceidratio")], wrong "1.5"
        ),
        case!("OTEL_BSP_SCHEDULE_DELAY", "100", |s| queue(&s.traces.queue), "5000 33554432 8192" => "100 33554432 8192", wrong "5s"),
        case!("OTEL_BSP_MAX_QUEUE_SIZE", "4096", |s| queue(&s.traces.queue), "5000 33554432 8192" => "5000 67108864 8192", wrong "0"),
        case!("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512", |s| queue(&s.traces.queue), "5000 33554432 8192" => "5000 33554432 512", wrong "-1"),
        case!("OTEL_BSP_EXPORT_TIMEOUT", "1000", |s| tried(s, Signal::Traces), "300000" => "1000", wrong "1e3"),
        case!("OTEL_BLRP_SCHEDULE_DELAY", "100", |s| queue(&s.logs.queue), "1000 33554432 8192" => "100 33554432 8192", wrong "-5"),
        case!("OTEL_BLRP_MAX_QUEUE_SIZE", "1024", |s| queue(&s.logs.queue), "1000 33554432 8192" => "1000 16777216 8192", wrong "many"),
        case!("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "512", |s| queue(&s.logs.queue), "1000 33554432 8192" => "1000 33554432 512", wrong "0"),
        case!("OTEL_BLRP_EXPORT_TIMEOUT", "0", |s| tried(s, Signal::Logs), "300000" => "0", wrong "2147483648"),
        case!("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "64", |s| format!("{} {}", span_limits(s), log_limits(s)), "128 None 128 128 128 128 None 128 None" => "128 Some(64) 128 128 128 128 Some(64) 128 Some(64)", wrong "long"),
        case!("OTEL_ATTRIBUTE_COUNT_LIMIT", "5", |s| format!("{} {}", span_limits(s), log_limits(s)), "128 None 128 128 128 128 None 128 None" => "5 None 128 128 5 5 None 5 None", wrong "few"),
        case!("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "7", span_limits, SPANS => "128 Some(7) 128 128 128 128 Some(7)", with &[], wrong "x"),
        case!("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "7", span_limits, SPANS => "7 None 128 128 128 128 None", wrong "x"),
        case!("OTEL_SPAN_EVENT_COUNT_LIMIT", "0", span_limits, SPANS => "128 None 0 128 128 128 None", wrong "x"),
        case!("OTEL_SPAN_LINK_COUNT_LIMIT", "7", span_limits, SPANS => "128 None 128 7 128 128 None", wrong "x"),
        case!("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "7", span_limits, SPANS => "128 None 128 128 7 128 None", wrong "x"),
        case!("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "7", span_limits, SPANS => "128 None 128 128 128 7 None", wrong "x"),
        case!("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "7", log_limits, "128 None" => "128 Some(7)", wrong "x"),
        case!("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "7", log_limits, "128 None" => "7 None", wrong "x"),
    ]
}

fn exporter_cases() -> Vec<Case> {
    vec![
        case!("OTEL_TRACES_EXPORTER", "console", |s| kinds(s, Signal::Traces), "otlp" => "console", wrong "otpl"),
        case!("OTEL_METRICS_EXPORTER", "none", |s| kinds(s, Signal::Metrics), "otlp" => "", wrong "otpl"),
        case!("OTEL_LOGS_EXPORTER", "jsonl,otlp,elasticsearch", |s| kinds(s, Signal::Logs), "otlp" => "otlp,jsonl,elasticsearch", wrong "otpl"),
        case!("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", urls, HERE => "http://localhost:4317 http://localhost:4317 http://localhost:4317", wrong "http"),
        case!("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", protocols, "http/protobuf http/protobuf http/protobuf" => "http/json http/protobuf http/protobuf", wrong "http"),
        case!("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc", protocols, "http/protobuf http/protobuf http/protobuf" => "http/protobuf grpc http/protobuf", wrong "http"),
        case!("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "GRPC", protocols, "http/protobuf http/protobuf http/protobuf" => "http/protobuf http/protobuf grpc", wrong "http"),
        case!("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c/otlp/", urls, HERE => "https://c/otlp https://c/otlp https://c/otlp", wrong "localhost:4318"),
        case!("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/in", urls, HERE => "http://c/in http://localhost:4318 http://localhost:4318", wrong "c"),
        case!("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c/v1/metrics", urls, HERE => "http://localhost:4318 http://c http://localhost:4318", wrong "c"),
        case!("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://c/a?b=1", urls, HERE => "http://localhost:4318 http://localhost:4318 http://c/a?b=1", wrong "c"),
        case!(
            "OTEL_EXPORTER_OTLP_INSECURE", "true", urls, "https://c:1 https://c:1 https://c:1" => "http://c:1 http://c:1 http://c:1",
            with &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:1")], wrong "1"
        ),
        case!(
            "OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true", urls, "https://c:1 https://c:1 https://c:1" => "http://c:1 https://c:1 https://c:1",
            with &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:1")], wrong "1"
        ),
        case!(
            "OTEL_EXPORTER_OTLP_METRICS_INSECURE", "true", urls, "https://c:1 https://c:1 https://c:1" => "https://c:1 http://c:1 https://c:1",
            with &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:1")], wrong "1"
        ),
        case!(
            "OTEL_EXPORTER_OTLP_LOGS_INSECURE", "true", urls, "https://c:1 https://c:1 https://c:1" => "https://c:1 https://c:1 http://c:1",
            with &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:1")], wrong "1"
        ),
        case!("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem", tls, "-,-,- -,-,- -,-,-" => "ca.pem,-,- ca.pem,-,- ca.pem,-,-"),
        case!("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "ca.pem", tls, "-,-,- -,-,- -,-,-" => "ca.pem,-,- -,-,- -,-,-"),
        case!("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "ca.pem", tls, "-,-,- -,-,- -,-,-" => "-,-,- ca.pem,-,- -,-,-"),
        case!("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "ca.pem", tls, "-,-,- -,-,- -,-,-" => "-,-,- -,-,- ca.pem,-,-"),
        case!("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "c.pem", tls, "-,-,- -,-,- -,-,-" => "-,c.pem,- -,c.pem,- -,c.pem,-"),
        case!("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "c.pem", tls, "-,-,- -,-,- -,-,-" => "-,c.pem,- -,-,- -,-,-"),
        case!("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", "c.pem", tls, "-,-,- -,-,- -,-,-" => "-,-,- -,c.pem,- -,-,-"),
        case!("OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE", "c.pem", tls, "-,-,- -,-,- -,-,-" => "-,-,- -,-,- -,c.pem,-"),
        case!("OTEL_EXPORTER_OTLP_CLIENT_KEY", "k.pem", tls, "-,-,- -,-,- -,-,-" => "-,-,k.pem -,-,k.pem -,-,k.pem"),
        case!("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "k.pem", tls, "-,-,- -,-,- -,-,-" => "-,-,k.pem -,-,- -,-,-"),
        case!("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "k.pem", tls, "-,-,- -,-,- -,-,-" => "-,-,- -,-,k.pem -,-,-"),
        case!("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", "k.pem", tls, "-,-,- -,-,- -,-,-" => "-,-,- -,-,- -,-,k.pem"),
        case!("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=x%2Cy", headers, "[] [] []" => "[a=1,b=x,y] [a=1,b=x,y] [a=1,b=x,y]", wrong "hunter2"),
        case!("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "c=3", headers, "[a=1] [a=1] [a=1]" => "[c=3] [a=1] [a=1]", with &[("OTEL_EXPORTER_OTLP_HEADERS", "a=1")]),
        case!("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "c=3", headers, "[] [] []" => "[] [c=3] []", wrong "hunter2"),
        case!("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "c=3", headers, "[] [] []" => "[] [] [c=3]", wrong "hunter2"),
        case!("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", compressions, "None None None" => "Gzip Gzip Gzip", wrong "brotli"),
        case!("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd", compressions, "None None None" => "Zstd None None", wrong "brotli"),
        case!("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip", compressions, "None None None" => "None Gzip None", wrong "brotli"),
        case!("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "none", compressions, "Gzip Gzip Gzip" => "Gzip Gzip None", with &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")], wrong "brotli"),
        case!("OTEL_EXPORTER_OTLP_TIMEOUT", "3000", timeouts, "10000 10000 10000" => "3000 3000 3000", wrong "3s"),
        case!("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "3000", timeouts, "10000 10000 10000" => "3000 10000 10000", wrong "3s"),
        case!("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "3000", timeouts, "10000 10000 10000" => "10000 3000 10000", wrong "3s"),
        case!("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "3000", timeouts, "10000 10000 10000" => "10000 10000 3000", wrong "3s"),
    ]
}

/// Tested elsewhere, for they need files or features, or have nothing to be looked at.
const ELSEWHERE: &[&str] = &[
    "OTEL_CONFIG_FILE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "CUPOLA_CONFIG",
    "CUPOLA_ENV_FILE",
    "CUPOLA_POSTGRES_URL",
    "CUPOLA_KAFKA_BROKERS",
];

#[test]
fn each_variable_does_what_the_table_says_of_it_and_nothing_where_it_is_none() {
    for case in general_cases()
        .into_iter()
        .chain(exporter_cases())
        .chain(own_cases())
        .chain(metric_cases())
    {
        let name = case.name;
        let with = |value: Option<&'static str>| {
            let mut variables = case.with.to_vec();
            variables.push(("OTEL_SERVICE_NAME", "x"));
            variables.retain(|(known, _)| *known != name);
            variables.extend(value.map(|value| (name, value)));
            loaded(&variables)
        };
        let unset = with(None);
        assert_eq!((case.look)(&unset.settings), case.default, "{name} unset");
        let empty = with(Some("  "));
        assert_eq!((case.look)(&empty.settings), case.default, "{name} empty");
        let set = with(Some(case.value));
        assert_eq!((case.look)(&set.settings), case.expected, "{name}={}", case.value);
        if name != "OTEL_SERVICE_NAME" {
            assert_eq!(warnings(&set), Vec::<String>::new(), "{name}={}", case.value);
        }
        let Some(wrong) = case.wrong else { continue };
        let told = with(Some(wrong));
        assert_eq!((case.look)(&told.settings), case.default, "{name}={wrong}");
        let warnings = warnings(&told);
        assert_eq!(warnings.len(), 1, "{name}={wrong}: {warnings:?}");
        assert!(
            warnings[0].starts_with(&format!("environment: warning: {name}: ")),
            "{}",
            warnings[0]
        );
        assert!(!warnings[0].contains("hunter2"), "{}", warnings[0]);
    }
}

#[test]
fn the_table_and_the_cases_have_the_same_variables() {
    let cases = general_cases()
        .into_iter()
        .chain(exporter_cases())
        .chain(own_cases())
        .chain(metric_cases());
    let mut tested: BTreeSet<&str> = cases.map(|case| case.name).collect();
    tested.extend(ELSEWHERE);
    let known = table::all().filter(|variable| variable.kind != table::Kind::WithoutEffect);
    let known: BTreeSet<&str> = known.map(|variable| variable.name).collect();
    assert_eq!(tested, known);
}

fn metric_cases() -> Vec<Case> {
    fn metrics(settings: &Settings) -> String {
        let metrics = &settings.metrics;
        let (interval, timeout) = (metrics.interval.as_millis(), metrics.timeout.as_millis());
        format!(
            "{interval} {timeout} {:?} {:?} {:?}",
            metrics.temporality, metrics.histogram, metrics.exemplars
        )
    }
    const DEFAULT: &str = "60000 30000 Cumulative ExplicitBuckets TraceBased";
    vec![
        case!("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "LowMemory", metrics, DEFAULT => "60000 30000 LowMemory ExplicitBuckets TraceBased", wrong "detla"),
        case!("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram", metrics, DEFAULT => "60000 30000 Cumulative Exponential TraceBased", wrong "base2"),
        case!("OTEL_METRICS_EXEMPLAR_FILTER", "always_off", metrics, DEFAULT => "60000 30000 Cumulative ExplicitBuckets AlwaysOff", wrong "never"),
        case!("OTEL_METRIC_EXPORT_INTERVAL", "1000", metrics, DEFAULT => "1000 30000 Cumulative ExplicitBuckets TraceBased", wrong "1s"),
        case!("OTEL_METRIC_EXPORT_TIMEOUT", "500", metrics, DEFAULT => "60000 500 Cumulative ExplicitBuckets TraceBased", wrong "-1"),
    ]
}

#[test]
fn signals_that_go_to_one_place_are_one_backend_and_others_have_their_own() {
    let names = |variables: &[(&str, &str)]| -> Vec<String> {
        let loaded = loaded(variables);
        loaded
            .settings
            .backends
            .iter()
            .map(|backend| {
                let signals = [Signal::Traces, Signal::Metrics, Signal::Logs];
                let has: Vec<String> = signals
                    .iter()
                    .filter(|signal| backend.signals.has(**signal))
                    .map(ToString::to_string)
                    .collect();
                format!("{}: {}", backend.name, has.join(" "))
            })
            .collect()
    };
    assert_eq!(names(&[]), ["otlp: traces metrics logs"]);
    assert_eq!(
        names(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/v1/traces")
        ]),
        ["otlp: traces metrics logs"]
    );
    assert_eq!(
        names(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://tempo/v1/traces")]),
        ["otlp/traces: traces", "otlp: metrics logs"]
    );
    assert_eq!(
        names(&[
            ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "a=b"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")
        ]),
        ["otlp/traces: traces", "otlp/metrics: metrics", "otlp/logs: logs"]
    );
    assert_eq!(
        names(&[
            ("OTEL_LOGS_EXPORTER", "console, otlp"),
            ("OTEL_TRACES_EXPORTER", "console"),
            ("OTEL_METRICS_EXPORTER", "none")
        ]),
        ["console: traces logs", "otlp: logs"]
    );
}

#[test]
fn what_is_known_and_not_available_is_told_and_left_out() {
    for (name, value, part) in [
        ("OTEL_METRICS_EXPORTER", "prometheus", "`prometheus` is left out"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "`zipkin` is not available"),
        ("OTEL_TRACES_EXPORTER", "otlp/stdout", "use console"),
        ("OTEL_TRACES_EXPORTER", "none,otlp", "beside `none`"),
        (
            "OTEL_PROPAGATORS",
            "ottrace,tracecontext",
            "`ottrace` is not available",
        ),
        (
            "OTEL_TRACES_SAMPLER",
            "parentbased_jaeger_remote",
            "asks a server",
        ),
        ("OTEL_TRACES_SAMPLER", "xray", "asks a server"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5", "without OTEL_TRACES_SAMPLER"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://c:4318",
            "add /v1/traces",
        ),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "9464", "has no effect"),
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "http://z", "has no effect"),
        (
            "OTEL_EXPORTER_OTLP_SPAN_INSECURE",
            "true",
            "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
        ),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4000", "is more than the 100"),
    ] {
        let loaded = loaded(&[
            ("OTEL_SERVICE_NAME", "x"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            (name, value),
        ]);
        let warnings = warnings(&loaded);
        assert_eq!(warnings.len(), 1, "{name}={value}: {warnings:?}");
        assert!(
            warnings[0].contains(name) && warnings[0].contains(part),
            "{}",
            warnings[0]
        );
    }
}

#[cfg(not(any(feature = "postgres", feature = "kafka")))]
#[test]
fn an_exporter_that_is_not_built_in_is_told_with_the_feature_to_build_it_with() {
    for name in ["postgres", "kafka"] {
        let loaded = loaded(&[("OTEL_SERVICE_NAME", "x"), ("OTEL_LOGS_EXPORTER", name)]);
        let warnings = warnings(&loaded);
        assert!(
            warnings[0].contains(&format!("--features {name}")),
            "{warnings:?}"
        );
    }
}

#[test]
fn slips_of_the_pen_are_told_and_variables_of_others_are_not() {
    let loaded = loaded(&[
        ("OTEL_SERVICE_NAME", "x"),
        ("OTEL_SERVCE_NAME", "y"),
        ("OTEL_EXPORTER_OTLP_ENDPOIN", "http://c"),
        ("CUPOLA_SPOOL_DIRECTRY", "d"),
        ("CUPOLA_DATA_DIR", "d"),
        ("OTEL_PYTHON_LOG_LEVEL", "debug"),
        ("OTEL_JAVAAGENT_DEBUG", "true"),
        ("OTEL_WHATEVER", "1"),
    ]);
    assert_eq!(
        warnings(&loaded),
        [
            "environment: warning: CUPOLA_SPOOL_DIRECTRY: is not known and has no effect\nhint: did you mean CUPOLA_SPOOL_DIRECTORY?",
            "environment: warning: OTEL_EXPORTER_OTLP_ENDPOIN: is not known and has no effect\nhint: did you mean OTEL_EXPORTER_OTLP_ENDPOINT?",
            "environment: warning: OTEL_SERVCE_NAME: is not known and has no effect\nhint: did you mean OTEL_SERVICE_NAME?",
            "environment: warning: OTEL_WHATEVER: is not known and has no effect",
        ]
    );
}

#[test]
fn a_service_without_a_name_is_told() {
    let warnings = warnings(&loaded(&[]));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("the service has no name") && warnings[0].contains("OTEL_SERVICE_NAME"));
    assert!(
        loaded(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a")])
            .warnings
            .is_empty()
    );
    assert!(loaded(&[("OTEL_SDK_DISABLED", "true")]).warnings.is_empty());
}

#[test]
fn variables_of_a_dotenv_file_count_where_they_are_not_set() {
    let environment = Environment::of([("OTEL_SERVICE_NAME", "set"), ("CUPOLA_ENV_FILE", "my.env")])
        .with_files(|path| match path.to_str() {
            Some("my.env") => Ok(
                "OTEL_SERVICE_NAME=file\nOTEL_BSP_SCHEDULE_DELAY=soon\nCUPOLA_EXIT_TIMEOUT=2s\n".to_owned(),
            ),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        });
    let loaded = load(&environment).unwrap();
    assert_eq!(attribute(&loaded.settings, "service.name"), "set");
    assert_eq!(loaded.settings.exit_timeout.as_secs(), 2);
    assert_eq!(loaded.sources, [std::path::PathBuf::from("my.env")]);
    let warnings = warnings(&loaded);
    assert!(
        warnings[0].starts_with("my.env:2: warning: OTEL_BSP_SCHEDULE_DELAY: `soon` is not a number"),
        "{warnings:?}"
    );
    assert_eq!(
        std::env::var("CUPOLA_EXIT_TIMEOUT").ok(),
        None,
        "the process stays as it is"
    );
}
