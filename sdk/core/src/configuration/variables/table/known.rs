//! The variables themselves.

use super::{Group, Kind, Variable};

const fn variable(name: &'static str, kind: Kind, default: &'static str, what: &'static str) -> Variable {
    Variable {
        name,
        kind,
        default,
        what,
    }
}

const PROPAGATORS: &[&str] = &[
    "tracecontext",
    "baggage",
    "b3",
    "b3multi",
    "jaeger",
    "xray",
    "ottrace",
    "none",
];
const SAMPLERS: &[&str] = &[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
    "ratelimited",
    "parentbased_ratelimited",
    "parentbased_jaeger_remote",
    "jaeger_remote",
    "xray",
];
pub(in super::super) const LEVELS: &[&str] = &["trace", "debug", "info", "warn", "error", "fatal", "none"];
const EXPORTERS: &[&str] = &[
    "otlp",
    "console",
    "none",
    "jsonl",
    "elasticsearch",
    "postgres",
    "kafka",
    "logging",
    "otlp/stdout",
    "prometheus",
    "zipkin",
];
pub(in super::super) const PROTOCOLS: &[&str] = &["grpc", "http/protobuf", "http/json"];
const COMPRESSIONS: &[&str] = &["none", "gzip", "zstd"];
const TEMPORALITIES: &[&str] = &["cumulative", "delta", "lowmemory"];
const HISTOGRAMS: &[&str] = &["explicit_bucket_histogram", "base2_exponential_bucket_histogram"];
const EXEMPLAR_FILTERS: &[&str] = &["always_on", "always_off", "trace_based"];
const DETECTORS: &[&str] = &[
    "all",
    "none",
    "service",
    "process",
    "host",
    "os",
    "container",
    "k8s",
    "cloud",
];
const CONSOLES: &[&str] = &["pretty", "pattern", "compact", "json", "off"];
const COLOURS: &[&str] = &["auto", "always", "never"];
const TARGETS: &[&str] = &["stderr", "stdout"];

const GENERAL: &[Variable] = &[
    variable(
        "OTEL_SDK_DISABLED",
        Kind::Boolean,
        "false",
        "Nothing is recorded; contexts are passed on all the same.",
    ),
    variable(
        "OTEL_SERVICE_NAME",
        Kind::Text,
        "unknown_service:…",
        "The attribute `service.name` of the resource, before every other that says one.",
    ),
    variable(
        "OTEL_RESOURCE_ATTRIBUTES",
        Kind::Pairs,
        "",
        "Attributes of the resource. With a mistake in it, nothing of it counts.",
    ),
    variable(
        "OTEL_ENTITIES",
        Kind::Text,
        "",
        "Entities, as `type{id=value}[attribute=value];…`: their attributes are attributes of the resource, after those of \
         `OTEL_RESOURCE_ATTRIBUTES`.",
    ),
    variable(
        "OTEL_LOG_LEVEL",
        Kind::Word(LEVELS),
        "info",
        "What the SDK says of its own troubles on standard error.",
    ),
    variable(
        "OTEL_PROPAGATORS",
        Kind::Words(PROPAGATORS),
        "tracecontext,baggage",
        "How contexts go from process to process. `ottrace` is not available.",
    ),
    variable(
        "OTEL_TRACES_SAMPLER",
        Kind::Word(SAMPLERS),
        "parentbased_always_on",
        "Which spans are recorded. The samplers that ask a server (`jaeger_remote`, `parentbased_jaeger_remote`, `xray`) are not \
         available.",
    ),
    variable(
        "OTEL_TRACES_SAMPLER_ARG",
        Kind::Other,
        "1.0",
        "Of `traceidratio` and `parentbased_traceidratio`: the share of traces, from 0 to 1. Of `ratelimited` and \
         `parentbased_ratelimited`: traces in a second, by default 100.",
    ),
];

const BATCHES: &[Variable] = &[
    variable(
        "OTEL_BSP_SCHEDULE_DELAY",
        Kind::Milliseconds,
        "5000",
        "Longest that an ended span waits while there are few.",
    ),
    variable(
        "OTEL_BSP_EXPORT_TIMEOUT",
        Kind::Timeout,
        "300000",
        "How long a batch of spans is tried, attempts and waits together, before it is given up. (The specification has 30000.)",
    ),
    variable(
        "OTEL_BSP_MAX_QUEUE_SIZE",
        Kind::Integer(1),
        "2048",
        "How many spans may wait. The queue is bounded in bytes, and has 16 KiB for each: by default 32 MiB.",
    ),
    variable(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        Kind::Integer(1),
        "8192",
        "Most spans in one request. (The specification has 512.)",
    ),
    variable(
        "OTEL_BLRP_SCHEDULE_DELAY",
        Kind::Milliseconds,
        "1000",
        "Longest that a log record waits while there are few.",
    ),
    variable(
        "OTEL_BLRP_EXPORT_TIMEOUT",
        Kind::Timeout,
        "300000",
        "How long a batch of log records is tried, attempts and waits together, before it is given up. (The specification has \
         30000.)",
    ),
    variable(
        "OTEL_BLRP_MAX_QUEUE_SIZE",
        Kind::Integer(1),
        "2048",
        "How many log records may wait. The queue is bounded in bytes, and has 16 KiB for each: by default 32 MiB.",
    ),
    variable(
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
        Kind::Integer(1),
        "8192",
        "Most log records in one request. (The specification has 512.)",
    ),
];

const LIMITS: &[Variable] = &[
    variable(
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        Kind::Integer(0),
        "",
        "Longest text of an attribute, in characters; longer ones are cut. No limit unless set.",
    ),
    variable(
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        Kind::Integer(0),
        "128",
        "Most attributes of a span, event, link or log record.",
    ),
    variable(
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        Kind::Integer(0),
        "",
        "The same as the general one, of spans with their events and links.",
    ),
    variable(
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        Kind::Integer(0),
        "128",
        "The same as the general one, of spans.",
    ),
    variable(
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        Kind::Integer(0),
        "128",
        "Most events of a span.",
    ),
    variable(
        "OTEL_SPAN_LINK_COUNT_LIMIT",
        Kind::Integer(0),
        "128",
        "Most links of a span.",
    ),
    variable(
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        Kind::Integer(0),
        "128",
        "Most attributes of an event of a span.",
    ),
    variable(
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        Kind::Integer(0),
        "128",
        "Most attributes of a link of a span.",
    ),
    variable(
        "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        Kind::Integer(0),
        "",
        "The same as the general one, of log records.",
    ),
    variable(
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
        Kind::Integer(0),
        "128",
        "The same as the general one, of log records.",
    ),
];

const SELECTION: &[Variable] = &[
    variable(
        "OTEL_TRACES_EXPORTER",
        Kind::Words(EXPORTERS),
        "otlp",
        "Where spans go. A back-end of this kind in `cupola.yaml` is taken as it is there.",
    ),
    variable(
        "OTEL_METRICS_EXPORTER",
        Kind::Words(EXPORTERS),
        "otlp",
        "Where metrics go.",
    ),
    variable(
        "OTEL_LOGS_EXPORTER",
        Kind::Words(EXPORTERS),
        "otlp",
        "Where log records go; `jsonl` is a file of JSON lines, see `CUPOLA_LOG_FILE`.",
    ),
];

/// A setting of the OTLP exporter: for all signals, and for each.
macro_rules! otlp {
    ($($name:literal, $kind:expr, $default:literal, $what:literal;)*) => {
        &[$(
            variable(concat!("OTEL_EXPORTER_OTLP_", $name), $kind, $default, $what),
            variable(concat!("OTEL_EXPORTER_OTLP_TRACES_", $name), $kind, "", "The same for spans."),
            variable(concat!("OTEL_EXPORTER_OTLP_METRICS_", $name), $kind, "", "The same for metrics."),
            variable(concat!("OTEL_EXPORTER_OTLP_LOGS_", $name), $kind, "", "The same for log records."),
        )*]
    };
}

const OTLP: &[Variable] = otlp! {
    "PROTOCOL", Kind::Word(PROTOCOLS), "http/protobuf", "How requests travel.";
    "ENDPOINT", Kind::Url, "http://localhost:4318",
        "Where to. Over HTTP `/v1/traces` and the like are added, but not to that of one signal, which is used as it stands. \
         Over gRPC the default is `http://localhost:4317`, and `host:port` will do.";
    "INSECURE", Kind::Boolean, "false", "Over gRPC, to an endpoint that is no URL: without TLS.";
    "CERTIFICATE", Kind::Path, "", "Authorities to trust instead of the usual ones, as PEM.";
    "CLIENT_CERTIFICATE", Kind::Path, "", "The certificate that the client shows, as PEM.";
    "CLIENT_KEY", Kind::Path, "", "The key of that certificate, as PEM.";
    "HEADERS", Kind::Secrets, "", "Sent with every request. Those of one signal stand instead of those for all.";
    "COMPRESSION", Kind::Word(COMPRESSIONS), "none", "Of requests.";
    "TIMEOUT", Kind::Timeout, "10000", "Of one attempt to send.";
};

const OTLP_METRICS: &[Variable] = &[
    variable(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        Kind::Word(TEMPORALITIES),
        "cumulative",
        "Whether points say how much there has been since the start or since the last export.",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        Kind::Word(HISTOGRAMS),
        "explicit_bucket_histogram",
        "What a histogram becomes where no view says otherwise.",
    ),
    variable(
        "OTEL_METRICS_EXEMPLAR_FILTER",
        Kind::Word(EXEMPLAR_FILTERS),
        "trace_based",
        "Which measurements may be kept as exemplars.",
    ),
    variable(
        "OTEL_METRIC_EXPORT_INTERVAL",
        Kind::Milliseconds,
        "60000",
        "From the start of one export to that of the next.",
    ),
    variable(
        "OTEL_METRIC_EXPORT_TIMEOUT",
        Kind::Timeout,
        "30000",
        "Longest that one export takes.",
    ),
];

const FILES: &[Variable] = &[
    variable(
        "OTEL_CONFIG_FILE",
        Kind::Path,
        "",
        "A file of OpenTelemetry's declarative configuration. With it, the other `OTEL_` variables count only where the file \
         refers to them.",
    ),
    variable(
        "OTEL_EXPERIMENTAL_CONFIG_FILE",
        Kind::Path,
        "",
        "The former name of `OTEL_CONFIG_FILE`.",
    ),
    variable(
        "CUPOLA_CONFIG",
        Kind::Path,
        "cupola.yaml",
        "Cupola's own file; without the variable it may be missing.",
    ),
    variable(
        crate::configuration::environment::DOTENV_VARIABLE,
        Kind::Path,
        ".env",
        "Further variables, for those that are not set; `none` for no file.",
    ),
];

const OWN: &[Variable] = &[
    variable(
        "CUPOLA_LOG_LEVEL",
        Kind::Word(LEVELS),
        "trace",
        "Less severe log records are not recorded at all.",
    ),
    variable(
        "CUPOLA_CONSOLE",
        Kind::Word(CONSOLES),
        "pretty",
        "How log records look on the terminal; `off` for not at all.",
    ),
    variable(
        "CUPOLA_CONSOLE_COLOUR",
        Kind::Word(COLOURS),
        "auto",
        "Colours on the terminal.",
    ),
    variable(
        "CUPOLA_CONSOLE_TARGET",
        Kind::Word(TARGETS),
        "stderr",
        "Where that is written.",
    ),
    variable(
        "CUPOLA_CONSOLE_LEVEL",
        Kind::Word(LEVELS),
        "trace",
        "Less severe log records are not shown on the terminal.",
    ),
    variable(
        "CUPOLA_CONSOLE_SPANS",
        Kind::Boolean,
        "false",
        "Shows spans on the terminal too, as a tree.",
    ),
    variable(
        "CUPOLA_BAGGAGE_SPANS",
        Kind::List,
        "tenant.id,user.id,request_id,correlation_id",
        "Members of the baggage that become attributes of spans; `*` for all, `none` for none.",
    ),
    variable(
        "CUPOLA_BAGGAGE_LOGS",
        Kind::List,
        "tenant.id,user.id,request_id,correlation_id",
        "The same for log records.",
    ),
    variable(
        "CUPOLA_BAGGAGE_METRICS",
        Kind::List,
        "none",
        "The same for metrics: each value is a series of its own.",
    ),
    variable(
        "CUPOLA_RESOURCE_DETECTORS",
        Kind::Words(DETECTORS),
        "all",
        "What of its surroundings the resource tells.",
    ),
    variable(
        "CUPOLA_SCRUB",
        Kind::Boolean,
        "true",
        "Takes secrets out of records before they are exported.",
    ),
    variable(
        "CUPOLA_SCRUB_KEYS",
        Kind::List,
        "",
        "Further names of secrets, as regular expressions.",
    ),
    variable(
        "CUPOLA_SPOOL_DIRECTORY",
        Kind::Path,
        "",
        "Where records are kept until they have been delivered, so that a crash loses none.",
    ),
    variable(
        "CUPOLA_SPOOL_SIZE",
        Kind::ByteSize,
        "1GiB",
        "Room there, of each back-end.",
    ),
    variable(
        "CUPOLA_EXIT_TIMEOUT",
        Kind::TimeSpan,
        "5s",
        "Longest that the end of the process waits for what has not been delivered.",
    ),
    variable(
        "CUPOLA_SELF_METRICS",
        Kind::Boolean,
        "true",
        "Whether the SDK tells about itself, as metrics.",
    ),
    variable(
        "CUPOLA_TAIL_SAMPLING",
        Kind::Boolean,
        "false",
        "Exports traces that are slow, have an error or are in the share of `CUPOLA_TAIL_RATIO`, decided when they have ended.",
    ),
    variable(
        "CUPOLA_TAIL_RATIO",
        Kind::Share,
        "0.1",
        "The share of traces that tail sampling keeps whatever is in them.",
    ),
    variable(
        "CUPOLA_TAIL_SLOW",
        Kind::TimeSpan,
        "1s",
        "Tail sampling keeps traces that took as long in this process; 0 for none.",
    ),
    variable(
        "CUPOLA_PENDING_SPANS",
        Kind::Boolean,
        "false",
        "Log records about spans that have been running for long.",
    ),
    variable(
        "CUPOLA_PENDING_AFTER",
        Kind::TimeSpan,
        "10s",
        "How long a span has run when it is told about first.",
    ),
    variable(
        "CUPOLA_FORCE_TRACES",
        Kind::Boolean,
        "false",
        "A request may ask for its whole trace, by `?force_full_trace=1` or the header `x-force-full-trace: 1`.",
    ),
    variable(
        "CUPOLA_FORCE_FROM_CALLERS",
        Kind::Boolean,
        "true",
        "Whether it counts that callers say that their trace is forced (baggage, debug flags of B3 and Jaeger); `false` at the border.",
    ),
    variable(
        "CUPOLA_LOG_FILE",
        Kind::Path,
        "logs/app.jsonl",
        "The file of the exporter `jsonl`.",
    ),
    variable(
        "CUPOLA_ELASTICSEARCH_URL",
        Kind::Url,
        "http://localhost:9200",
        "The cluster of the exporter `elasticsearch`.",
    ),
    variable(
        "CUPOLA_POSTGRES_URL",
        Kind::Secret,
        "postgres://postgres@localhost:5432/postgres",
        "The database of the exporter `postgres`, as `postgres://user:password@host:port/database`.",
    ),
    variable(
        "CUPOLA_KAFKA_BROKERS",
        Kind::List,
        "localhost:9092",
        "The brokers of the exporter `kafka`.",
    ),
];

const WITHOUT_EFFECT: &[Variable] = &[
    variable(
        "OTEL_EXPORTER_OTLP_SPAN_INSECURE",
        Kind::WithoutEffect,
        "",
        "The former name of `OTEL_EXPORTER_OTLP_TRACES_INSECURE`.",
    ),
    variable(
        "OTEL_EXPORTER_OTLP_METRIC_INSECURE",
        Kind::WithoutEffect,
        "",
        "The former name of `OTEL_EXPORTER_OTLP_METRICS_INSECURE`.",
    ),
    variable(
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        Kind::WithoutEffect,
        "",
        "Metrics are sent and not fetched: send them by OTLP to a Cupola server or a Collector, which Prometheus can ask.",
    ),
    variable(
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        Kind::WithoutEffect,
        "",
        "As above.",
    ),
    variable(
        "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
        Kind::WithoutEffect,
        "",
        "Spans are not sent to Zipkin: send them by OTLP to a Collector that does.",
    ),
    variable(
        "OTEL_EXPORTER_ZIPKIN_TIMEOUT",
        Kind::WithoutEffect,
        "",
        "As above.",
    ),
    variable(
        "OTEL_EXPORTER_ZIPKIN_PROTOCOL",
        Kind::WithoutEffect,
        "",
        "As above.",
    ),
];

/// All of them.
pub static GROUPS: &[Group] = &[
    Group {
        title: "Files",
        variables: FILES,
    },
    Group {
        title: "General",
        variables: GENERAL,
    },
    Group {
        title: "Exporters",
        variables: SELECTION,
    },
    Group {
        title: "OTLP",
        variables: OTLP,
    },
    Group {
        title: "Metrics",
        variables: OTLP_METRICS,
    },
    Group {
        title: "Batches",
        variables: BATCHES,
    },
    Group {
        title: "Limits",
        variables: LIMITS,
    },
    Group {
        title: "Cupola's own",
        variables: OWN,
    },
    Group {
        title: "Known and without effect",
        variables: WITHOUT_EFFECT,
    },
];
