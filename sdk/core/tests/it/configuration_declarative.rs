//! The declarative file of OpenTelemetry: what its settings become, and how what is wrong or not available is told.

use cupola_export::otlp::{Compression, Protocol};
use cupola_sdk_core::Settings;
use cupola_sdk_core::backend::{Backend, Destination};
use cupola_sdk_core::configuration::{Environment, Loaded, load};
use cupola_sdk_core::metrics::{
    Aggregation, AttributeKeys, ExemplarFilter, HistogramPreference, Kind, Selector, StreamSettings,
    TemporalityPreference,
};
use cupola_sdk_core::resource::OwnedValue;
use cupola_telemetry::Signal;

const FILE: &str = "/etc/otel.yaml";

fn environment(text: &str, variables: &[(&str, &str)]) -> Environment {
    let text = text.to_owned();
    let variables = [("OTEL_CONFIG_FILE", FILE)]
        .into_iter()
        .chain(variables.iter().copied());
    Environment::of(variables).with_files(move |path| match path.to_str() {
        Some(FILE) => Ok(text.clone()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    })
}

fn loaded(text: &str, variables: &[(&str, &str)]) -> Loaded {
    load(&environment(text, variables)).unwrap()
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded
        .warnings
        .iter()
        .map(|warning| warning.render(None))
        .collect()
}

fn refused(text: &str) -> String {
    load(&environment(text, &[])).unwrap_err().to_string()
}

fn told(backend: &Backend) -> String {
    let signals = [Signal::Logs, Signal::Metrics, Signal::Traces];
    let signals: Vec<String> = signals
        .iter()
        .filter(|signal| backend.signals.has(**signal))
        .map(ToString::to_string)
        .collect();
    let to = match &backend.destination {
        Destination::Otlp(config) => format!("{} {}", config.protocol.as_str(), config.endpoint),
        Destination::File(config) => config.path.display().to_string(),
        Destination::Console(_) => "here".to_owned(),
        other => panic!("{other:?}"),
    };
    format!("{} [{}] {to}", backend.name, signals.join(" "))
}

fn all_told(settings: &Settings) -> Vec<String> {
    settings.backends.iter().map(told).collect()
}

const WHOLE: &str = r#"
file_format: "1.0"
disabled: false
log_level: warn
attribute_limits: { attribute_value_length_limit: 4096, attribute_count_limit: 64 }
resource:
  attributes_list: "service.namespace=shop,service.version=0.9"
  attributes:
    - { name: service.name, value: prices }
    - { name: service.version, value: 1.10, type: string }
    - { name: replica, value: 3, type: int }
    - { name: zones, value: [a, b], type: string_array }
  schema_url: https://opentelemetry.io/schemas/1.37.0
  detection/development:
    attributes: { included: ["process.*"], excluded: [process.command_args] }
    detectors: [ { container: }, { host: }, { process: }, { service: } ]
propagator:
  composite: [ { tracecontext: }, { baggage: } ]
  composite_list: "b3,tracecontext"
tracer_provider:
  processors:
    - batch:
        schedule_delay: 2000
        export_timeout: 60000
        max_queue_size: 4096
        max_export_batch_size: 1024
        exporter:
          otlp_http:
            endpoint: http://collector:4318/v1/traces
            headers: [ { name: X-Key, value: "${API_KEY}" }, { name: ignored, value: } ]
            headers_list: "x-key=other,x-team=pricing"
            compression: gzip
            timeout: 3000
    - simple: { exporter: { console: } }
  limits: { attribute_count_limit: 32, event_count_limit: 10, link_count_limit: 11, event_attribute_count_limit: 12, link_attribute_count_limit: 13 }
  sampler:
    parent_based:
      root: { trace_id_ratio_based: { ratio: "${RATIO:-0.25}" } }
      remote_parent_not_sampled: { always_on: }
meter_provider:
  readers:
    - periodic:
        interval: 15000
        timeout: 5000
        exporter:
          otlp_http: { endpoint: http://collector:4318/v1/metrics }
logger_provider:
  processors:
    - batch:
        schedule_delay: 500
        exporter:
          otlp_grpc:
            endpoint: collector:4317
            tls: { insecure: true }
    - batch:
        exporter:
          otlp_file/development: { output_stream: file:///var/log/shop.jsonl }
    - simple: { exporter: { console: {} } }
  limits: { attribute_value_length_limit: 100 }
instrumentation/development:
  general: { http: { client: { request_captured_headers: [Accept] } } }
"#;

#[test]
fn a_whole_file_becomes_settings() {
    let loaded = loaded(
        WHOLE,
        &[
            ("API_KEY", "hunter2-hunter2"),
            ("OTEL_SERVICE_NAME", "from-variable"),
        ],
    );
    assert_eq!(warnings(&loaded), Vec::<String>::new());
    assert_eq!(loaded.sources, [std::path::PathBuf::from(FILE)]);
    let settings = &loaded.settings;
    assert_eq!(settings.own_level.unwrap().name(), "WARN");
    let resource = &settings.resource;
    let text = |text: &str| OwnedValue::String(text.to_owned());
    let pair = |key: &str, value: OwnedValue| (key.to_owned(), value);
    assert_eq!(
        resource.environment,
        [
            pair("service.name", text("from-variable")),
            pair("service.namespace", text("shop")),
            pair("service.version", text("0.9"))
        ]
    );
    assert_eq!(
        resource.attributes,
        [
            pair("service.name", text("prices")),
            pair("service.version", text("1.10")),
            pair("replica", OwnedValue::Int(3)),
            pair("zones", OwnedValue::Array(vec![text("a"), text("b")]))
        ]
    );
    assert_eq!(resource.schema_url, "https://opentelemetry.io/schemas/1.37.0");
    let detectors: Vec<&str> = resource
        .detectors
        .iter()
        .map(|detector| detector.name())
        .collect();
    assert_eq!(detectors, ["container", "host", "os", "process", "service"]);
    assert_eq!(resource.included, ["process.*"]);
    assert_eq!(resource.excluded, ["process.command_args"]);
    assert_eq!(
        format!("{:?}", settings.propagators.0),
        "[TraceContext, Baggage, B3]"
    );
    assert_eq!(
        all_told(settings),
        [
            "otlp/traces [traces] http/protobuf http://collector:4318",
            "console [logs traces] here",
            "otlp/logs [logs] grpc http://collector:4317",
            "otlp_file [logs] /var/log/shop.jsonl",
            "otlp/metrics [metrics] http/protobuf http://collector:4318",
        ]
    );
    let Destination::Otlp(spans) = &settings.backends[0].destination else {
        unreachable!()
    };
    let headers: Vec<(&str, &str)> = spans
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(headers, [("x-team", "pricing"), ("x-key", "hunter2-hunter2")]);
    assert_eq!(
        (spans.compression, spans.protocol),
        (Compression::Gzip, Protocol::HttpProtobuf)
    );
    assert_eq!(settings.backends[0].delivery.timeout.as_millis(), 3000);
    assert_eq!(
        settings.backends[0]
            .delivery
            .retry_on_failure
            .max_elapsed_time
            .as_millis(),
        60_000
    );
    let queue = &settings.traces.queue;
    // The most impatient processor, which is the simple one; the room is 16 KiB for each span.
    assert_eq!(queue.delay.as_millis(), 10);
    assert_eq!(
        (queue.limits.bytes_max, queue.limits.batch_items_max),
        (4096 * 16 * 1024, 1024)
    );
    let limits = &settings.traces.limits;
    assert_eq!(
        (limits.attributes.count, limits.attributes.value_length),
        (32, Some(4096))
    );
    assert_eq!((limits.events, limits.links), (10, 11));
    assert_eq!(
        (limits.event_attributes.count, limits.link_attributes.count),
        (12, 13)
    );
    assert_eq!(
        (settings.logs.limits.count, settings.logs.limits.value_length),
        (64, Some(100))
    );
    let sampler = settings.traces.sampler.description();
    assert!(
        sampler.starts_with("ParentBased{root=TraceIdRatioBased{0.25},remoteParentSampled=AlwaysOnSampler,remoteParentNotSampled=AlwaysOnSampler,"),
        "{sampler}"
    );
}

#[test]
fn signals_with_one_destination_share_a_backend() {
    let text = r#"
file_format: "1.0"
resource: { attributes: [ { name: service.name, value: x } ] }
tracer_provider: { processors: [ { batch: { exporter: { otlp_http: { endpoint: "${ENDPOINT:-http://c:4318}/v1/traces" } } } } ] }
meter_provider: { readers: [ { periodic: { exporter: { otlp_http: { endpoint: "${ENDPOINT:-http://c:4318}/v1/metrics" } } } } ] }
logger_provider: { processors: [ { batch: { exporter: { otlp_http: { endpoint: "${ENDPOINT:-http://c:4318}/v1/logs" } } } } ] }
"#;
    let read = loaded(text, &[]);
    assert_eq!(
        all_told(&read.settings),
        ["otlp [logs metrics traces] http/protobuf http://c:4318"]
    );
    assert_eq!(format!("{:?}", read.settings.propagators.0), "[]");
    let read = loaded(text, &[("ENDPOINT", "https://d/otlp")]);
    assert_eq!(
        all_told(&read.settings),
        ["otlp [logs metrics traces] http/protobuf https://d/otlp"]
    );
}

#[test]
fn a_signal_without_a_provider_goes_nowhere_and_other_variables_do_not_count() {
    let text = "file_format: '1.1'\nresource: {attributes_list: 'service.name=x'}\n\
                logger_provider: {processors: [{batch: {exporter: {otlp_http: }}}]}\n";
    let loaded = loaded(
        text,
        &[
            ("OTEL_SERVICE_NAME", "ignored"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://ignored"),
            ("CUPOLA_EXIT_TIMEOUT", "1s"),
            ("CUPOLA_CONFIG", "cupola.yaml"),
        ],
    );
    assert_eq!(
        all_told(&loaded.settings),
        ["otlp [logs] http/protobuf http://localhost:4318"]
    );
    assert_eq!(loaded.settings.exit_timeout.as_secs(), 1);
    let resource = &loaded.settings.resource;
    assert_eq!(
        resource.environment,
        [("service.name".to_owned(), OwnedValue::from("x"))]
    );
    assert_eq!((&resource.service_name, resource.detectors.len()), (&None, 0));
    assert_eq!(
        warnings(&loaded),
        [
            "environment: warning: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME have no effect, since /etc/otel.yaml says \
             everything\nhint: refer to them in the file, as ${OTEL_EXPORTER_OTLP_ENDPOINT}",
            "environment: warning: CUPOLA_CONFIG: is not read, since /etc/otel.yaml says everything\nhint: leave \
             OTEL_CONFIG_FILE out to use Cupola's own file",
        ]
    );
}

#[test]
fn the_former_name_of_the_variable_works_and_is_told() {
    let text = "file_format: '1.0'\nresource: {attributes_list: 'service.name=x'}\n";
    let environment =
        Environment::of([("OTEL_EXPERIMENTAL_CONFIG_FILE", FILE)]).with_files(|_| Ok(text.to_owned()));
    let loaded = load(&environment).unwrap();
    assert!(
        warnings(&loaded)
            .iter()
            .any(|warning| warning.contains("set OTEL_CONFIG_FILE instead"))
    );
    assert!(loaded.settings.backends.is_empty());
}

#[test]
fn what_is_not_available_is_told_with_its_place_and_the_rest_works() {
    let text = r#"
file_format: "1.7"
resource: { attributes: [ { name: service.name, value: x } ] }
propagator: { composite: [ { ottrace: }, { tracecontext: } ] }
tracer_provider:
  processors:
    - batch: { exporter: { zipkin: { endpoint: http://z } } }
    - batch: { exporter: { otlp_file/development: { output_stream: stdout } } }
    - batch: { exporter: { otlp_http: { endpoint: "http://c:4318" } } }
  sampler: { jaeger_remote/development: { endpoint: http://j } }
  tracer_configurator/development: { default_config: { disabled: true } }
meter_provider:
  readers:
    - pull: { exporter: { prometheus/development: } }
vendor: { x: 1 }
"#;
    let loaded = loaded(text, &[]);
    let warnings = warnings(&loaded);
    let parts = [
        ":2:14: warning: file_format: 1.7 is newer",
        ":4:28: warning: propagator.composite: `ottrace` is not available",
        ":7:26: warning: tracer_provider.processors[0].batch.exporter.zipkin: `zipkin` is not available",
        ":8:68: warning: tracer_provider.processors[1].batch.exporter.otlp_file/development.output_stream: OTLP on standard output",
        ":9:51: warning: tracer_provider.processors[2].batch.exporter.otlp_http.endpoint: has no path",
        ":10:12: warning: tracer_provider.sampler: `jaeger_remote/development` is not available",
        ":11:3: warning: tracer_provider.tracer_configurator/development: is not available",
        ":14:7: warning: meter_provider.readers[0]: metrics are sent and not fetched",
        ":15:1: warning: vendor: unknown section",
    ];
    assert_eq!(warnings.len(), parts.len(), "{warnings:#?}");
    for (warning, part) in warnings.iter().zip(parts) {
        assert!(warning.starts_with(&format!("{FILE}{part}")), "{warning}\n{part}");
    }
    assert_eq!(
        all_told(&loaded.settings),
        ["otlp [traces] http/protobuf http://c:4318"]
    );
    assert!(
        loaded
            .settings
            .traces
            .sampler
            .description()
            .starts_with("ParentBased{root=AlwaysOnSampler")
    );
}

#[test]
fn mistakes_are_all_told_with_their_lines_and_hints_and_without_secrets() {
    let text = r#"
file_format: "1.0"
tracer_provider:
  processors:
    - batch:
        exporter:
          otlp_http:
            endpont: http://c:4318/v1/traces
            headers: [ { name: api-key, value: hunter2-hunter2 } ]
            timeout: ${TIMEOUT}
  sampler: { always_on: , always_off: }
  limits: { event_count_limit: many }
"#;
    let error = load(&environment(text, &[("TIMEOUT", "hunter3-hunter3")])).unwrap_err();
    let shown = error.to_string();
    for part in [
        "otel.yaml:8:13: tracer_provider.processors[0].batch.exporter.otlp_http.endpont: unknown key\n",
        "8 |             endpont: http://c:4318/v1/traces",
        "hint: did you mean `endpoint`?",
        "otel.yaml:10:22: tracer_provider.processors[0].batch.exporter.otlp_http.timeout: ",
        "the value comes from the environment variable `TIMEOUT`",
        "otel.yaml:12:32: tracer_provider.limits.event_count_limit: ",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert_eq!(error.problems().len(), 3, "{shown}");
    assert!(!shown.contains("hunter"), "{shown}");

    let kinds = refused(
        "file_format: '1.0'\ntracer_provider: {processors: [{batch: {exporter: {console: }}}], sampler: {always_on: , always_off: }}\n",
    );
    assert!(
        kinds.contains("tracer_provider.sampler: has several kinds: always_on, always_off"),
        "{kinds}"
    );
    let empty =
        refused("file_format: '1.0'\ntracer_provider: {processors: [{batch: {}}]}\nlogger_provider: {}\n");
    assert!(
        empty.contains("tracer_provider.processors[0].batch.exporter: this key is missing"),
        "{empty}"
    );
    assert!(
        empty.contains("logger_provider.processors: this key is missing"),
        "{empty}"
    );
    let ratio = refused(
        "file_format: '1.0'\ntracer_provider: {processors: [{simple: {exporter: {console: }}}], sampler: {trace_id_ratio_based: {ratio: 2}}}\n",
    );
    assert!(ratio.contains("`2` is not a share from 0 to 1"), "{ratio}");
}

#[test]
fn other_forms_and_files_that_are_not_there_are_refused() {
    assert!(refused("disabled: true\n").contains("file_format: this key is missing"));
    assert!(refused("file_format: '0.3'\n").contains("`0.3` is not a version that can be read"));
    assert!(refused("- a\n").contains("sections are expected, not a list"));
    assert!(
        refused("file_format: '1.0'\nresource: {schema_url: '${1A}'}\n")
            .contains("`${1A}` is no reference to a variable")
    );
    let missing = load(&Environment::of([("OTEL_CONFIG_FILE", "nowhere.yaml")]))
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("environment: OTEL_CONFIG_FILE: nowhere.yaml cannot be read"),
        "{missing}"
    );
}

#[test]
fn readers_and_views_say_how_metrics_are_collected() {
    let text = r#"
file_format: "1.0"
resource: { attributes_list: service.name=x }
meter_provider:
  exemplar_filter: always_off
  readers:
    - periodic:
        interval: 15000
        timeout: 0
        cardinality_limits: { default: 500, histogram: 100 }
        exporter:
          otlp_grpc: { temporality_preference: low_memory, default_histogram_aggregation: base2_exponential_bucket_histogram }
    - periodic: { interval: 1000, exporter: { console: } }
  views:
    - selector: { instrument_name: "http.*", instrument_type: histogram, unit: s, meter_name: m, meter_version: "1", meter_schema_url: u }
      stream:
        name: renamed
        description: d
        aggregation_cardinality_limit: 10
        aggregation: { explicit_bucket_histogram: { boundaries: [0.1, 1, 10], record_min_max: false } }
        attribute_keys: { included: [a, b, "c.*"], excluded: [b] }
    - selector: { instrument_name: noisy }
      stream: { aggregation: { drop: } }
    - selector: { instrument_type: histogram }
      stream: { aggregation: { base2_exponential_bucket_histogram: { max_size: 20 } }, attribute_keys: { included: ["*"], excluded: [user] } }
"#;
    let loaded = loaded(text, &[]);
    let metrics = &loaded.settings.metrics;
    assert_eq!(metrics.interval.as_secs(), 15);
    assert!(metrics.timeout.as_secs() > 86_400, "without end");
    assert_eq!(
        (
            metrics.temporality,
            metrics.histogram,
            metrics.exemplars,
            metrics.cardinality_limit
        ),
        (
            TemporalityPreference::LowMemory,
            HistogramPreference::Exponential,
            ExemplarFilter::AlwaysOff,
            500
        )
    );
    let [renamed, dropped, exponential] = metrics.views.as_slice() else {
        panic!("{:?}", metrics.views)
    };
    assert_eq!(
        renamed.selector,
        Selector {
            name: Some("http.*".to_owned()),
            kind: Some(Kind::Histogram),
            unit: Some("s".to_owned()),
            meter_name: Some("m".to_owned()),
            meter_version: Some("1".to_owned()),
            meter_schema_url: Some("u".to_owned()),
        }
    );
    assert_eq!(
        renamed.stream,
        StreamSettings {
            name: Some("renamed".to_owned()),
            description: Some("d".to_owned()),
            attributes: AttributeKeys::Only(vec!["a".to_owned()]),
            aggregation: Aggregation::ExplicitBuckets {
                boundaries: Some(vec![0.1, 1.0, 10.0]),
                record_min_max: false,
            },
            cardinality_limit: Some(10),
        }
    );
    assert_eq!(dropped.stream.aggregation, Aggregation::Drop);
    assert_eq!(
        (&exponential.stream.aggregation, &exponential.stream.attributes),
        (
            &Aggregation::Exponential {
                max_size: 20,
                max_scale: 20,
                record_min_max: true,
            },
            &AttributeKeys::Without(vec!["user".to_owned()])
        )
    );
    let warnings = warnings(&loaded);
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    for (warning, part) in warnings.iter().zip([
        "limits of kinds of instruments are not available",
        "is not like the first reader",
        "patterns with `*` or `?` are not available",
    ]) {
        assert!(warning.contains(part), "{warning}");
    }
    assert_eq!(
        all_told(&loaded.settings),
        [
            "otlp [metrics] grpc http://localhost:4317",
            "console [metrics] here"
        ]
    );
    let wrong = refused(
        "file_format: '1.0'\nmeter_provider: {readers: [{periodic: {exporter: {console: }}}], views: [{selector: {}, stream: {aggregation: {explicit_bucket_histogram: {boundaries: [2, 1]}}}}, {stream: {}}]}\n",
    );
    assert!(
        wrong.contains("views[0].stream.aggregation.explicit_bucket_histogram.boundaries: must increase"),
        "{wrong}"
    );
    assert!(
        wrong.contains("views[1].selector: this key is missing"),
        "{wrong}"
    );
}
