//! Cupola's own file: its back-ends and sections, what goes before it, and how its mistakes are told.

use std::path::Path;
use std::time::Duration;

use cupola_export::json_lines::JsonLinesCompression;
use cupola_export::otlp::Protocol;
use cupola_sdk_core::backend::{Backend, Destination};
use cupola_sdk_core::configuration::{Environment, Loaded, file, load};
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::metrics::{Aggregation, ExemplarFilter, HistogramPreference, TemporalityPreference};
use cupola_sdk_core::rate_limit::{RateLimitRule, TenantRule};
use cupola_sdk_core::resource::{Detector, OwnedValue};
use cupola_sdk_core::settings::{BaggageKeys, Colour, ConsoleFormat, ConsoleTarget};
use cupola_telemetry::Signal;

pub(crate) fn environment(text: &str, variables: &[(&str, &str)]) -> Environment {
    let text = text.to_owned();
    Environment::of(variables.iter().copied()).with_files(move |path| match path.to_str() {
        Some("cupola.yaml") => Ok(text.clone()),
        Some(".env") => Ok("ELASTIC_PASSWORD=hunter2-hunter2\n".to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    })
}

pub(crate) fn loaded(text: &str, variables: &[(&str, &str)]) -> Loaded {
    load(&environment(text, variables)).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn refused(text: &str) -> String {
    load(&environment(text, &[])).unwrap_err().to_string()
}

pub(crate) fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded
        .warnings
        .iter()
        .map(|warning| warning.render(None))
        .collect()
}

pub(crate) fn names(loaded: &Loaded) -> Vec<&str> {
    loaded
        .settings
        .backends
        .iter()
        .map(|backend| backend.name.as_str())
        .collect()
}

pub(crate) fn signals(backend: &Backend) -> String {
    let signals = [Signal::Logs, Signal::Metrics, Signal::Traces];
    let has: Vec<String> = signals
        .iter()
        .filter(|signal| backend.signals.has(**signal))
        .map(ToString::to_string)
        .collect();
    has.join(" ")
}

const LOGGER: &str = r#"
logger:
  service_name: my-service
  service_version: 1.0.0
  log_level: DEBUG
  enable_console: true
  backends:
    - backend_type: filesystem
      level: WARNING
      config: { log_file: ./logs/my-service.jsonl, max_bytes: 1048576, backup_count: 3, compression: gzip }
    - backend_type: elasticsearch
      config:
        hosts: ["https://localhost:9200", "https://other:9200"]
        index_pattern: my-app-logs-%Y.%m.%d
        basic_auth: [elastic, $ELASTIC_PASSWORD]
        ca_certs: /etc/ssl/ca.pem
        verify_certs: false
        timeout: 30
        max_retries: 5
        retry_delay: 1.5
    - backend_type: otlp
      signals: [traces, metrics]
      fallback: ./fallback.jsonl
      config:
        endpoint: ${COLLECTOR:-http://localhost:4318}
        headers: { X-Team: pricing }
        timeout: 2s
"#;

#[test]
fn the_logger_and_its_back_ends_become_settings() {
    let loaded = loaded(LOGGER, &[]);
    assert_eq!(warnings(&loaded), Vec::<String>::new());
    let settings = &loaded.settings;
    assert_eq!(
        settings.resource.environment,
        [("service.name", "my-service"), ("service.version", "1.0.0")]
            .map(|(key, value)| (key.to_owned(), OwnedValue::from(value)))
    );
    assert_eq!(settings.logs.level.name(), "DEBUG");
    assert!(settings.console.is_some());
    let [files, elasticsearch, otlp] = settings.backends.as_slice() else {
        panic!("{:?}", names(&loaded))
    };

    assert_eq!((files.name.as_str(), signals(files).as_str()), ("jsonl", "logs"));
    assert_eq!(files.level.unwrap().name(), "WARN");
    let Destination::JsonLines(config) = &files.destination else {
        panic!("{files:?}")
    };
    assert_eq!(config.log_file, Path::new("./logs/my-service.jsonl"));
    assert_eq!((config.max_bytes.0, config.backup_count), (1_048_576, 3));
    assert_eq!(config.compression, JsonLinesCompression::Gzip);

    assert_eq!(signals(elasticsearch), "logs metrics traces");
    let Destination::Elasticsearch(config) = &elasticsearch.destination else {
        panic!("{elasticsearch:?}")
    };
    assert_eq!(config.endpoints, ["https://localhost:9200", "https://other:9200"]);
    assert_eq!(config.logs_index, "my-app-logs-%Y.%m.%d");
    assert_eq!(
        (config.user.as_str(), config.password.expose()),
        ("elastic", "hunter2-hunter2")
    );
    assert_eq!(config.tls.ca_file.as_deref(), Some(Path::new("/etc/ssl/ca.pem")));
    assert!(config.tls.insecure_skip_verify);
    assert_eq!(
        (config.timeout.0, elasticsearch.delivery.timeout),
        (Duration::from_secs(30), Duration::from_secs(30))
    );
    assert_eq!(
        (config.retry.max_retries, config.retry.initial_interval.0),
        (5, Duration::from_millis(1500))
    );

    assert_eq!(signals(otlp), "metrics traces");
    let Destination::Otlp(config) = &otlp.destination else {
        panic!("{otlp:?}")
    };
    assert_eq!(
        (config.protocol, config.endpoint.as_str()),
        (Protocol::HttpProtobuf, "http://localhost:4318")
    );
    assert_eq!(
        (config.headers[0].0.as_str(), config.headers[0].1.expose()),
        ("x-team", "pricing")
    );
    assert_eq!(
        (config.timeout, otlp.delivery.timeout),
        (Duration::from_secs(2), Duration::from_secs(2))
    );
    let [Destination::File(fallback)] = otlp.fallbacks.as_slice() else {
        panic!("{otlp:?}")
    };
    assert_eq!(fallback.path, Path::new("./fallback.jsonl"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn every_other_section_becomes_settings() {
    let text = r#"
disabled: true
logger: { service_name: x, service_namespace: shop, environment: staging }
resource: { attributes: { team: pricing, replica: 3, zones: [a, b] }, detectors: [host, k8s], excluded: [host.ip], schema_url: "https://s" }
propagators: [tracecontext, b3, b3]
traces: { ratio: 0.1, delay: 2s, queue_size: 64MiB, batch_items_max: 100 }
logs: { delay: 500ms }
metrics: { interval: 10s, timeout: 5s, temporality: delta, histogram: base2_exponential_bucket_histogram, exemplars: always_on, cardinality_limit: 100, views: [{selector: {instrument_name: noisy}, stream: {aggregation: {drop: }}}] }
scrub: { enabled: true, default_values: false, keys: ["^iban$"], exempt_keys: [token_count], values: ["x[0-9]+"], names: false, value_length: 100 }
baggage: { spans: "*", logs: [tenant.id], metrics: [tenant.id] }
rate_limits:
  tenants_max: 50
  rules:
    - { name: chatter, level: DEBUG, logger: "shop.*", per_second: 10, burst: 20 }
    - { per_tenant: true, bytes_per_day: 1GiB }
    - { tenant: big, per_second: 1 }
limits:
  attribute_count: 64
  attribute_value_length: 1000
  spans: { event_count: 5, link_count: 6, event_attribute_count: 7, link_attribute_count: 8 }
  logs: { attribute_value_length: 2000 }
console: { format: compact, color: always, target: stdout, level: warn, spans: true }
spool: { directory: /var/spool/x, size: 64MiB }
own_level: error
self_metrics: false
exit_timeout: 2s
# A server's, in the same file.
receivers: { otlp: }
service: { pipelines: {} }
store: { whatever: 1 }
"#;
    let loaded = loaded(text, &[]);
    assert_eq!(warnings(&loaded), Vec::<String>::new());
    let settings = &loaded.settings;
    assert!(settings.is_disabled);
    let resource = &settings.resource;
    let pair = |key: &str, value: OwnedValue| (key.to_owned(), value);
    assert_eq!(
        resource.environment,
        [
            pair("team", "pricing".into()),
            pair("replica", OwnedValue::Int(3)),
            pair("zones", OwnedValue::Array(vec!["a".into(), "b".into()])),
            pair("service.name", "x".into()),
            pair("service.namespace", "shop".into()),
            pair("deployment.environment.name", "staging".into())
        ]
    );
    assert_eq!(resource.detectors, [Detector::Host, Detector::Kubernetes]);
    assert_eq!(resource.excluded, ["host.ip"]);
    assert_eq!(resource.schema_url, "https://s");
    let limits = &settings.logs.rate_limits;
    assert_eq!(
        limits.rules,
        [
            RateLimitRule {
                level: Some(Severity::DEBUG),
                logger: Some("shop.*".to_owned()),
                per_second: Some(10.0),
                burst: Some(20),
                ..RateLimitRule::new("chatter")
            },
            RateLimitRule {
                tenant: TenantRule::Each,
                bytes_per_day: Some(1 << 30),
                ..RateLimitRule::new("rule 2")
            },
            RateLimitRule {
                tenant: TenantRule::Only("big".to_owned()),
                per_second: Some(1.0),
                ..RateLimitRule::new("rule 3")
            },
        ]
    );
    assert_eq!(limits.tenants_max, 50);
    assert_eq!(format!("{:?}", settings.propagators.0), "[TraceContext, B3]");
    assert!(
        settings
            .traces
            .sampler
            .description()
            .starts_with("ParentBased{root=TraceIdRatioBased{0.1}")
    );
    let queue = &settings.traces.queue;
    assert_eq!(
        (queue.delay, queue.limits.bytes_max),
        (Duration::from_secs(2), 64 << 20)
    );
    assert_eq!(queue.limits.batch_items_max, 100);
    assert_eq!(settings.logs.queue.delay, Duration::from_millis(500));
    let metrics = &settings.metrics;
    assert_eq!(
        (metrics.interval, metrics.timeout),
        (Duration::from_secs(10), Duration::from_secs(5))
    );
    assert_eq!(
        (
            metrics.temporality,
            metrics.histogram,
            metrics.exemplars,
            metrics.cardinality_limit
        ),
        (
            TemporalityPreference::Delta,
            HistogramPreference::Exponential,
            ExemplarFilter::AlwaysOn,
            100
        )
    );
    assert_eq!(metrics.views[0].stream.aggregation, Aggregation::Drop);
    let scrub = &settings.scrub;
    assert!(scrub.is_enabled && scrub.default_keys && !scrub.default_values && !scrub.names);
    assert_eq!(
        (&*scrub.keys, &*scrub.exempt_keys),
        (&["^iban$".to_owned()][..], &["token_count".to_owned()][..])
    );
    assert_eq!(
        (&*scrub.values, scrub.value_length),
        (&["x[0-9]+".to_owned()][..], Some(100))
    );
    assert_eq!(settings.baggage.spans, BaggageKeys::All);
    assert_eq!(
        settings.baggage.logs,
        BaggageKeys::These(vec!["tenant.id".to_owned()])
    );
    assert_eq!(
        settings.baggage.metrics,
        BaggageKeys::These(vec!["tenant.id".to_owned()])
    );
    let limits = &settings.traces.limits;
    assert_eq!(
        (limits.attributes.count, limits.attributes.value_length),
        (64, Some(1000))
    );
    assert_eq!((limits.events, limits.links), (5, 6));
    assert_eq!(
        (limits.event_attributes.count, limits.link_attributes.count),
        (7, 8)
    );
    assert_eq!(
        (settings.logs.limits.count, settings.logs.limits.value_length),
        (64, Some(2000))
    );
    let console = settings.console.unwrap();
    assert_eq!(
        (console.format, console.colour),
        (ConsoleFormat::Compact, Colour::Always)
    );
    assert_eq!((console.target, console.spans), (ConsoleTarget::Stdout, true));
    assert_eq!(console.level.unwrap().name(), "WARN");
    let spool = settings.spool.as_ref().unwrap();
    assert_eq!(
        (spool.directory.as_path(), spool.bytes_max),
        (Path::new("/var/spool/x"), 64 << 20)
    );
    assert_eq!(settings.own_level.unwrap().name(), "ERROR");
    assert!(!settings.self_metrics);
    assert_eq!(settings.exit_timeout, Duration::from_secs(2));
    // No back-ends are named, so that the default holds.
    assert_eq!(names(&loaded), ["otlp"]);
}

#[test]
fn variables_go_before_the_file_and_a_builder_before_variables() {
    let variables = [
        ("OTEL_SERVICE_NAME", "from-variable"),
        ("CUPOLA_LOG_LEVEL", "error"),
        ("CUPOLA_CONSOLE", "off"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b"),
    ];
    let read = loaded(LOGGER, &variables);
    assert_eq!(warnings(&read), Vec::<String>::new());
    let name = |loaded: &Loaded| loaded.settings.resource.service_name.clone().unwrap();
    assert_eq!(name(&read), "from-variable");
    assert_eq!(read.settings.logs.level.name(), "ERROR");
    assert_eq!(read.settings.console, None);
    assert_eq!(names(&read), ["jsonl", "elasticsearch", "otlp"]);
    let Destination::Otlp(config) = &read.settings.backends[2].destination else {
        unreachable!()
    };
    assert_eq!(config.endpoint, "http://collector:4318");
    assert_eq!(config.headers.len(), 1);
    assert_eq!(
        config.timeout,
        Duration::from_secs(2),
        "what no variable says stays"
    );

    let built = environment(LOGGER, &variables).with("OTEL_SERVICE_NAME", "from-builder");
    assert_eq!(name(&load(&built).unwrap()), "from-builder");
}

#[test]
fn a_variable_chooses_among_the_back_ends_of_the_file() {
    let read = loaded(
        LOGGER,
        &[
            ("OTEL_LOGS_EXPORTER", "jsonl,console"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ],
    );
    let told: Vec<String> = read
        .settings
        .backends
        .iter()
        .map(|backend| format!("{}: {}", backend.name, signals(backend)))
        .collect();
    assert_eq!(
        told,
        [
            "jsonl: logs",
            "elasticsearch: traces",
            "otlp: traces",
            "console: logs"
        ]
    );
    let Destination::JsonLines(config) = &read.settings.backends[0].destination else {
        unreachable!()
    };
    assert_eq!(config.backup_count, 3, "as the file has it");

    let no_otlp =
        "logger: {service_name: x, backends: [{backend_type: filesystem, config: {log_file: a}}]}\n";
    let read = loaded(no_otlp, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")]);
    assert_eq!(names(&read), ["jsonl"]);
    assert!(
        warnings(&read)[0].contains("no back-end is of the kind `otlp`"),
        "{:?}",
        warnings(&read)
    );
}

#[test]
fn mistakes_are_all_told_with_line_column_and_hint_and_without_secrets() {
    let shown = refused(
        r#"
logger:
  service_nme: my-service
  log_level: LOUD
  backends:
    - backend_type: elasticserch
    - backend_type: elasticsearch
      config: { hots: ["http://e:9200"], basic_auth: [elastic, hunter3-hunter3, x] }
    - backend_type: filesystem
      config: { max_bytes: large }
    - backend_type: otlp
      config: { endpoint: "localhost:4318", timeout: soon }
    - backend_type: elasticsearch
      config: { password: hunter3-hunter3 }
console: { format: fancy }
spool: { size: 1GiB }
trces: {}
scrub: { keys: [ok, "("] }
rate_limits: { rules: [{ name: x }, { per_second: -1 }] }
"#,
    );
    for part in [
        "cupola.yaml:3:3: logger.service_nme: unknown key\n",
        "3 |   service_nme: my-service\n  |   ^\nhint: did you mean `service_name`?",
        "cupola.yaml:4:14: logger.log_level: `LOUD` is no level; write TRACE",
        "cupola.yaml:6:21: logger.backends[0].backend_type: `elasticserch` is none of the known words",
        "hint: did you mean `elasticsearch`?",
        "cupola.yaml:8:17: logger.backends[1].config.hots: unknown key",
        "hint: did you mean `hosts`?",
        "logger.backends[1].config.basic_auth",
        "cupola.yaml:10:28: logger.backends[2].config.max_bytes: ",
        "logger.backends[2].config.log_file: this key is missing",
        "cupola.yaml:12:54: logger.backends[3].config.timeout: `soon` is not a duration",
        "logger.backends[3].config.endpoint: `localhost:4318` is no URL",
        "cupola.yaml:14:17: logger.backends[4].config.password: unknown key",
        "cupola.yaml:15:20: console.format: `fancy` is none of the known words",
        "spool.directory: this key is missing",
        "cupola.yaml:17:1: trces: unknown key",
        "hint: did you mean `traces`?",
        "cupola.yaml:18:16: scrub.keys: `(` is no regular expression",
        "cupola.yaml:19:24: rate_limits.rules[0]: limits nothing",
        "rate_limits.rules[1].per_second: must be 0 or more",
    ] {
        assert!(shown.contains(part), "{part}\n---\n{shown}");
    }
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn values_of_variables_are_not_shown_and_those_not_set_are_told() {
    let error = load(&environment(
        "logger: {service_name: x, log_level: $LEVEL}\n",
        &[("LEVEL", "hunter3-hunter3")],
    ));
    let shown = error.unwrap_err().to_string();
    assert!(!shown.contains("hunter3"), "{shown}");
    assert!(shown.contains("the environment variable `LEVEL`"), "{shown}");

    let read = loaded("logger: {service_name: x, service_version: $VERSION}\n", &[]);
    assert_eq!(
        warnings(&read),
        [
            "cupola.yaml:1:44: warning: logger.service_version: the variable `VERSION` is not set; nothing is put in its \
             place\nhint: set it, or give a default: ${VERSION:-default}"
        ]
    );
}

#[test]
fn a_file_that_is_named_must_be_there_and_one_that_is_not_need_not() {
    let none = Environment::of([("OTEL_SERVICE_NAME", "x")]);
    assert_eq!(load(&none).unwrap().sources, Vec::<std::path::PathBuf>::new());
    let missing = load(&none.with("CUPOLA_CONFIG", "nowhere.yaml"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("environment: CUPOLA_CONFIG: nowhere.yaml cannot be read"),
        "{missing}"
    );
    let empty = loaded("", &[("OTEL_SERVICE_NAME", "x")]);
    assert_eq!(names(&empty), ["otlp"]);
}

#[test]
fn the_schema_has_every_section_and_kind_of_back_end() {
    let schema = file::schema();
    let properties = schema["properties"].as_object().unwrap();
    for section in [
        "logger",
        "traces",
        "metrics",
        "baggage",
        "scrub",
        "limits",
        "console",
        "spool",
        "receivers",
    ] {
        assert!(properties.contains_key(section), "{section}");
    }
    let text = schema.to_string();
    for key in [
        "index_pattern",
        "basic_auth",
        "bootstrap_servers",
        "table_name",
        "log_file",
        "backup_count",
        "retry_delay",
    ] {
        assert!(text.contains(&format!("\"{key}\"")), "{key}");
    }
    let logger = &properties["logger"];
    let backends = logger.pointer("/properties/backends/items/oneOf");
    assert_eq!(
        backends.and_then(|kinds| kinds.as_array()).map(Vec::len),
        Some(7),
        "{logger:#}"
    );
}
