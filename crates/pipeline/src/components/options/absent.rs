//! Options of the Collector that are not here, and what to do instead.

use super::{C, E, GRPC, P, R, Row, WHOLE, X, row};

const NO_MIDDLEWARES: (&str, &str) = ("middlewares", "there are no extensions of this kind; remove it");
const DISCOVERY: &str = "targets are discovered by `file_sd_configs`: have them written to a file, or list them in `static_configs`";
const NO_PATHS: &str = "the paths are those of OTLP, such as /v1/traces: remove it, and have clients send there or a proxy rewrite their path";
const NO_CORS: &str =
    "pages of a browser cannot send to it; the receiver `otlp` has `cors` below `protocols.http`";
const NO_PROXY: &str = "proxies are not asked: remove it, and have the endpoint reachable";

pub(super) const ABSENT: &[Row] = &[
    row(
        R,
        &["otlp"],
        &["protocols.http."],
        &[
            ("traces_url_path", NO_PATHS),
            ("metrics_url_path", NO_PATHS),
            ("logs_url_path", NO_PATHS),
            ("profiles_url_path", NO_PATHS),
            NO_MIDDLEWARES,
        ],
    ),
    row(
        R,
        &["otlp"],
        GRPC,
        &[
            (
                "transport=unix",
                "there is `tcp` alone: give an address and a port",
            ),
            ("transport=tcp4", "write `tcp`, and an address of that kind"),
            ("transport=tcp6", "write `tcp`, and an address of that kind"),
            NO_MIDDLEWARES,
        ],
    ),
    row(
        R,
        &["jaeger"],
        &["protocols.thrift_http."],
        &[("cors", NO_CORS), NO_MIDDLEWARES],
    ),
    row(
        R,
        &["loki"],
        &["protocols.http."],
        &[("cors", NO_CORS), NO_MIDDLEWARES],
    ),
    row(
        R,
        &["loki"],
        &["protocols."],
        &[("grpc", "Loki's clients push over HTTP: use `protocols.http`")],
    ),
    row(
        R,
        &["zipkin", "prometheusremotewrite"],
        WHOLE,
        &[("cors", NO_CORS), NO_MIDDLEWARES],
    ),
    row(
        R,
        &["prometheus"],
        WHOLE,
        &[
            (
                "target_allocator",
                "targets are not handed out here: list them in `scrape_configs`",
            ),
            (
                "config.scrape_config_files",
                "write the scrape configurations into `scrape_configs`, or give several --config files",
            ),
            ("config.rule_files", "rules are not evaluated here"),
            ("config.alerting", "rules are not evaluated here"),
            (
                "config.remote_write",
                "add the exporter `prometheusremotewrite` to the pipeline",
            ),
            ("config.scrape_configs.*.kubernetes_sd_configs", DISCOVERY),
            ("config.scrape_configs.*.dns_sd_configs", DISCOVERY),
            ("config.scrape_configs.*.ec2_sd_configs", DISCOVERY),
            ("config.scrape_configs.*.consul_sd_configs", DISCOVERY),
            ("config.scrape_configs.*.http_sd_configs", DISCOVERY),
            ("config.scrape_configs.*.gce_sd_configs", DISCOVERY),
            ("config.scrape_configs.*.azure_sd_configs", DISCOVERY),
            ("config.scrape_configs.*.docker_sd_configs", DISCOVERY),
            ("config.scrape_configs.*.dockerswarm_sd_configs", DISCOVERY),
            ("config.scrape_configs.*.nomad_sd_configs", DISCOVERY),
            ("config.scrape_configs.*.openstack_sd_configs", DISCOVERY),
            ("config.scrape_configs.*.proxy_url", NO_PROXY),
            (
                "config.scrape_configs.*.oauth2",
                "use `authorization` with `credentials_file`, or `basic_auth`",
            ),
        ],
    ),
    row(
        R,
        &["hostmetrics"],
        &["scrapers.process.resource_attributes."],
        &[(
            "process.command_args",
            "the arguments are in `process.command_line`, as one text",
        )],
    ),
    row(
        P,
        &["redaction"],
        WHOLE,
        &[(
            "db_sanitizer",
            "statements of databases are not cleaned: remove it, and have `blocked_values` or the processor \
             `transform` take out what they may not show",
        )],
    ),
    row(
        P,
        &["resourcedetection"],
        WHOLE,
        &[
            ("detectors.*=ecs", NO_DETECTOR),
            ("detectors.*=eks", NO_DETECTOR),
            ("detectors.*=aks", NO_DETECTOR),
            ("detectors.*=elastic_beanstalk", NO_DETECTOR),
            ("detectors.*=elasticbeanstalk", NO_DETECTOR),
            ("detectors.*=lambda", NO_DETECTOR),
            ("detectors.*=heroku", NO_DETECTOR),
            ("detectors.*=openshift", NO_DETECTOR),
            ("detectors.*=consul", NO_DETECTOR),
            ("ecs", NO_DETECTOR_SECTION),
            ("eks", NO_DETECTOR_SECTION),
            ("aks", NO_DETECTOR_SECTION),
            ("lambda", NO_DETECTOR_SECTION),
        ],
    ),
    row(
        C,
        &["routing"],
        WHOLE,
        &[(
            "match_once",
            "a batch goes the way of the first condition that holds, as in the Collector since it has removed this option: \
             remove it",
        )],
    ),
    row(
        E,
        &["otlphttp", "loki", "prometheusremotewrite", "elasticsearch"],
        WHOLE,
        &[("proxy_url", NO_PROXY), NO_MIDDLEWARES],
    ),
    row(
        E,
        &["otlp"],
        WHOLE,
        &[
            (
                "user_agent",
                "requests say that they are Cupola's; another header goes into `headers`",
            ),
            NO_MIDDLEWARES,
        ],
    ),
    row(
        E,
        &["prometheusremotewrite"],
        WHOLE,
        &[
            (
                "wal",
                "batches are kept by `sending_queue: { storage: file_storage }`, with that extension",
            ),
            ("translation_strategy", TRANSLATION),
            (
                "max_batch_request_parallelism",
                "`sending_queue.num_consumers` says how many requests are under way",
            ),
        ],
    ),
    row(
        E,
        &["prometheus"],
        WHOLE,
        &[("translation_strategy", TRANSLATION)],
    ),
    row(
        E,
        &["elasticsearch"],
        WHOLE,
        &[
            (
                "cloudid",
                "write the URL of Elasticsearch that the console of the cloud shows as `endpoint`",
            ),
            ("logs_dynamic_id", NO_DYNAMIC),
            ("logs_dynamic_pipeline", NO_DYNAMIC),
            ("traces_dynamic_pipeline", NO_DYNAMIC),
        ],
    ),
    row(
        E,
        &["loki"],
        WHOLE,
        &[
            (
                "tenant_id",
                "write `headers: { X-Scope-OrgID: NAME }` with `tenant_header: false`, or set the tenant with the processor `tenant`",
            ),
            (
                "labels",
                "name the attributes in the hints `loki.attribute.labels` and `loki.resource.labels`, which the processors \
                 `attributes` and `resource` can set",
            ),
            ("tenant", "the hint `loki.tenant` names the attribute that has it"),
            ("format", "the hint `loki.format` says how a line is written"),
        ],
    ),
    row(
        X,
        &["headers_setter"],
        WHOLE,
        &[(
            "additional_auth",
            "one authenticator is asked: set the header of the other one here, with `value` or `value_file`",
        )],
    ),
];

const NO_DETECTOR: &str = "nothing asks that service: set what it would tell with the detector `env` and OTEL_RESOURCE_ATTRIBUTES, \
     or with the processor `resource`";
const NO_DETECTOR_SECTION: &str = "there is no such detector: remove it, and set what it would tell with the detector `env` and OTEL_RESOURCE_ATTRIBUTES";
const TRANSLATION: &str = "what a name may not have becomes an underscore, and it gets suffixes unless `add_metric_suffixes` is false: remove it";
const NO_DYNAMIC: &str =
    "the ids and pipelines of documents are the same for all: remove it, or name the `pipeline` of all";
