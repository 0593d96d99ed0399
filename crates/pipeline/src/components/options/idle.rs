//! Options that are read without effect, and why they have none. `docs/pipelines.md` lists them.

use super::{E, GRPC, P, R, Row, WHOLE, X, row};

const TUNED: &str = "Cupola tunes its connections by itself";
const NO_HEADERS: &str = "answers have the headers of their protocol alone";
const CREDENTIALS: &str = "credentials are in headers";
const AGREED: &str = "the client agrees on it with the broker";
const RUSTLS: &str = "no suite that is insecure is there";

const HTTP_CLIENT: &[(&str, &str)] = &[
    ("read_buffer_size", TUNED),
    ("write_buffer_size", TUNED),
    ("max_idle_conns", TUNED),
    ("max_idle_conns_per_host", TUNED),
    ("max_conns_per_host", TUNED),
    ("idle_conn_timeout", TUNED),
    ("disable_keep_alives", TUNED),
    ("keepalive", TUNED),
    ("http2_read_idle_timeout", TUNED),
    ("http2_ping_timeout", TUNED),
    ("force_attempt_http2", TUNED),
    ("compression_params", "each compression has one level here"),
    ("cookies", "cookies are not kept"),
];
const GRPC_CLIENT: &[(&str, &str)] = &[
    ("keepalive", TUNED),
    ("read_buffer_size", TUNED),
    ("write_buffer_size", TUNED),
    ("balancer_name", "there is one connection"),
    ("wait_for_ready", "what cannot be sent is tried again"),
    ("authority", "it is that of the endpoint"),
];
const HTTP_SERVER: &[(&str, &str)] = &[
    ("read_header_timeout", TUNED),
    ("write_timeout", TUNED),
    ("idle_timeout", TUNED),
    ("keepalive", TUNED),
    ("keep_alives_enabled", TUNED),
    ("response_headers", NO_HEADERS),
    (
        "compression_algorithms",
        "all that are known are taken, within the limit of the body",
    ),
    ("auth.request_params", CREDENTIALS),
];
const GRPC_SERVER: &[(&str, &str)] = &[
    ("keepalive", TUNED),
    ("max_concurrent_streams", TUNED),
    ("read_buffer_size", TUNED),
    ("write_buffer_size", TUNED),
];
const CLIENT_TLS: &[(&str, &str)] = &[("include_insecure_cipher_suites", RUSTLS)];
const SERVER_TLS: &[(&str, &str)] = &[
    ("include_insecure_cipher_suites", RUSTLS),
    ("client_ca_file_reload", "files are looked at again in any case"),
    ("ca_file", "of a server it is `client_ca_file` that counts"),
    ("ca_pem", "of a server it is `client_ca_file` that counts"),
];
const KAFKA: &[(&str, &str)] = &[
    ("protocol_version", AGREED),
    ("use_leader_epoch", "the client does so where the broker can"),
    ("metadata.full", "only the topics in use are asked for"),
    ("metadata.retry.max", "the client goes on until it succeeds"),
    ("auth.sasl.version", AGREED),
];
const TEXT: &[(&str, &str)] = &[
    (
        "retry_on_failure.enabled",
        "what is refused for now is always offered again",
    ),
    ("retry_on_failure.max_elapsed_time", "nothing is given up"),
    ("operators.*.cache", "an expression is fast enough"),
];

pub(super) const IDLE: &[Row] = &[
    row(R, &["otlp"], GRPC, GRPC_SERVER),
    row(R, &["otlp"], &["protocols.http."], HTTP_SERVER),
    row(R, &["otlp"], &["protocols.http."], &[("read_timeout", TUNED)]),
    row(
        R,
        &["otlp"],
        &["protocols.http.cors."],
        &[("exposed_headers", NO_HEADERS)],
    ),
    row(
        R,
        &["otlp"],
        &["protocols.grpc.tls.", "protocols.http.tls."],
        SERVER_TLS,
    ),
    row(R, &["jaeger"], GRPC, GRPC_SERVER),
    row(R, &["jaeger"], &["protocols.thrift_http."], HTTP_SERVER),
    row(
        R,
        &["jaeger"],
        &["protocols.grpc.tls.", "protocols.thrift_http.tls."],
        SERVER_TLS,
    ),
    row(R, &["loki"], &["protocols.http."], HTTP_SERVER),
    row(R, &["loki"], &["protocols.http.tls."], SERVER_TLS),
    row(R, &["zipkin", "prometheusremotewrite"], WHOLE, HTTP_SERVER),
    row(R, &["zipkin", "prometheusremotewrite"], &["tls."], SERVER_TLS),
    row(
        R,
        &["prometheus"],
        &["config."],
        &[
            ("global.evaluation_interval", "rules are not evaluated here"),
            (
                "scrape_configs.*.enable_http2",
                "HTTP/2 is spoken where TLS agrees on it",
            ),
            (
                "scrape_configs.*.scrape_protocols",
                "OpenMetrics is asked for first, then the text format",
            ),
            (
                "scrape_configs.*.fallback_scrape_protocol",
                "what does not say what it is, is read as the text format",
            ),
        ],
    ),
    row(R, &["kafka"], WHOLE, KAFKA),
    row(
        R,
        &["kafka"],
        WHOLE,
        &[
            ("max_decompress_batch_bytes", "the client has its own bound"),
            (
                "partition_processing",
                "each partition is worked on by itself, in order",
            ),
            ("telemetry", "there are the metrics at `/metrics` of the API"),
        ],
    ),
    row(
        R,
        &["hostmetrics"],
        WHOLE,
        &[("metadata_collection_interval", "there are no entity events")],
    ),
    row(R, &["filelog", "syslog"], WHOLE, TEXT),
    row(
        R,
        &["filelog"],
        WHOLE,
        &[
            ("initial_buffer_size", "buffers grow as they have to"),
            (
                "polls_to_archive",
                "what is known of files is kept until there is too much of it",
            ),
            ("acquire_fs_lock", "nobody else is kept from a file"),
            ("file_cache_advise", "the system knows best"),
            (
                "on_truncate",
                "a file that was truncated is read from its beginning",
            ),
            (
                "skip_unmodified_files",
                "nothing is read of a file that has not changed",
            ),
        ],
    ),
    row(
        R,
        &["syslog"],
        WHOLE,
        &[
            ("storage", "there is no place to be remembered"),
            ("udp.resolve_names", "names of hosts are not looked up"),
            ("udp.async.readers", "one task reads all that the system has"),
            ("udp.async.processors", "one task reads all that the system has"),
        ],
    ),
    row(
        P,
        &["filter"],
        WHOLE,
        &[
            ("metrics.regexp", "patterns need no cache"),
            ("metrics.include.regexp", "patterns need no cache"),
            ("metrics.exclude.regexp", "patterns need no cache"),
        ],
    ),
    row(
        P,
        &["resourcedetection"],
        &["k8s_api.", "k8snode."],
        &[
            ("kube_api_qps", "two requests are sent at most"),
            ("kube_api_burst", "two requests are sent at most"),
        ],
    ),
    row(
        P,
        &["k8sattributes"],
        WHOLE,
        &[
            ("kube_api_qps", "there are as many watches as kinds of objects"),
            ("kube_api_burst", "there are as many watches as kinds of objects"),
            ("watch_sync_period", "what is kept is what was last said"),
            (
                "extract.deployment_name_from_replicaset",
                "the name of a deployment is found out as well as it can be",
            ),
        ],
    ),
    row(E, &["otlp"], WHOLE, GRPC_CLIENT),
    row(
        E,
        &["otlphttp", "loki", "prometheusremotewrite", "elasticsearch"],
        WHOLE,
        HTTP_CLIENT,
    ),
    row(
        E,
        &[
            "otlp",
            "otlphttp",
            "loki",
            "prometheusremotewrite",
            "elasticsearch",
            "postgres",
            "kafka",
        ],
        &["tls."],
        CLIENT_TLS,
    ),
    row(
        E,
        &["prometheusremotewrite"],
        WHOLE,
        &[(
            "remote_write_queue",
            "the queue is `sending_queue`, as of every exporter",
        )],
    ),
    row(
        E,
        &["elasticsearch"],
        WHOLE,
        &[
            (
                "num_workers",
                "`sending_queue.num_consumers` says how many requests are under way",
            ),
            ("discover", "no nodes are looked for"),
            ("telemetry", "bodies are never logged"),
        ],
    ),
    row(E, &["kafka"], WHOLE, KAFKA),
    row(
        E,
        &["kafka"],
        WHOLE,
        &[("producer.max_broker_write_bytes", "the client has its own bound")],
    ),
    row(
        E,
        &["debug"],
        WHOLE,
        &[
            (
                "use_internal_logger",
                "where the text goes is the program's to say",
            ),
            ("output_paths", "where the text goes is the program's to say"),
        ],
    ),
    row(E, &["prometheus"], WHOLE, HTTP_SERVER),
    row(E, &["prometheus"], &["tls."], SERVER_TLS),
    row(
        X,
        &["bearertokenauth"],
        WHOLE,
        &[
            (
                "retry_on_failure",
                "a reload that fails changes nothing, and is tried again",
            ),
            ("wait_for_token_file", "the file must be there at the start"),
        ],
    ),
];
