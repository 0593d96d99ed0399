//! The settings of each kind of back-end as the file has them, and the destinations that are made of them. What is not among them
//! stands below `exporter`, by the names that the Collector's exporter has for it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cupola_config::units::TimeSpan;
use cupola_config::{Node, Secret};
use cupola_export::debug::{DebugConfig, Verbosity};
use cupola_export::elasticsearch::ElasticsearchConfig;
use cupola_export::file::FileConfig;
use cupola_export::json_lines::JsonLinesConfig;
#[cfg(feature = "kafka")]
use cupola_export::kafka::{Encoding, PartitionBy};
use cupola_export::otlp::{Compression, Protocol};
use cupola_telemetry::Signal;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::entry::Kind;
use crate::backend::Destination;
use crate::configuration::text::File;
use crate::configuration::{backends, otlp, pairs};

/// A destination, and the time that one attempt has where that was said.
pub(super) struct Made {
    pub(super) destination: Destination,
    pub(super) timeout: Option<Duration>,
}

/// Makes it of `config`; `None`, and told, where that is wrong.
pub(super) fn destination(file: &mut File<'_>, kind: Kind, node: &Node, key: &str) -> Option<Made> {
    let errors = file.problems.errors();
    let made = match kind {
        Kind::Filesystem => filesystem(file, node, key),
        Kind::OtlpFile => otlp_file(file, node, key),
        Kind::Console => console(file, node, key),
        Kind::Elasticsearch => elasticsearch(file, node, key),
        Kind::Postgres => postgres(file, node, key),
        Kind::Kafka => kafka(file, node, key),
        Kind::Otlp => otlp_destination(file, node, key),
    };
    made.filter(|_| file.problems.errors() == errors)
}

fn plain(destination: Destination) -> Option<Made> {
    Some(Made {
        destination,
        timeout: None,
    })
}

fn filesystem(file: &mut File<'_>, node: &Node, key: &str) -> Option<Made> {
    let config: JsonLinesConfig = cupola_config::read_at(node, key, &mut file.problems)?;
    if config.log_file.as_os_str().is_empty() {
        missing(
            file,
            node,
            key,
            "log_file",
            "add for example `log_file: ./logs/app.jsonl`",
        );
    } else if let Err(error) = config.validate() {
        let at = node.get(error.key).unwrap_or(node);
        file.error(at.place(), &format!("{key}.{}", error.key), error.problem, None);
    }
    plain(Destination::JsonLines(config))
}

fn otlp_file(file: &mut File<'_>, node: &Node, key: &str) -> Option<Made> {
    let mut config: FileConfig = cupola_config::read_at(node, key, &mut file.problems)?;
    config.create_directory |= node.get("create_directory").is_none();
    if let Err(error) = config.validate() {
        file.error(node.place(), key, error.to_string(), None);
    }
    plain(Destination::File(config))
}

fn console(file: &mut File<'_>, node: &Node, key: &str) -> Option<Made> {
    let mut config: DebugConfig = cupola_config::read_at(node, key, &mut file.problems)?;
    if node.get("verbosity").is_none() {
        config.verbosity = Verbosity::Normal;
    }
    plain(Destination::Console(config))
}

fn missing(file: &mut File<'_>, node: &Node, key: &str, name: &str, hint: &str) {
    file.error(
        node.place(),
        &format!("{key}.{name}"),
        "this key is missing",
        Some(hint),
    );
}

/// `backend_type: elasticsearch`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Elasticsearch {
    hosts: Vec<String>,
    /// Of log records; `%Y.%m.%d` and the like are of their time.
    index_pattern: Option<String>,
    traces_index: Option<String>,
    metrics_index: Option<String>,
    basic_auth: Option<(String, Secret)>,
    api_key: Option<Secret>,
    ca_certs: Option<PathBuf>,
    verify_certs: Option<bool>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    headers: BTreeMap<String, Secret>,
    timeout: Option<Seconds>,
    max_retries: Option<u32>,
    retry_delay: Option<Seconds>,
    exporter: Option<ElasticsearchConfig>,
}

fn elasticsearch(file: &mut File<'_>, node: &Node, key: &str) -> Option<Made> {
    let read: Elasticsearch = cupola_config::read_at(node, key, &mut file.problems)?;
    let mut config = read.exporter.unwrap_or_default();
    for host in &read.hosts {
        let (endpoint, user, password) = backends::without_credentials(host);
        config.endpoints.push(endpoint);
        if !user.is_empty() {
            (config.user, config.password) = (user, password);
        }
    }
    if config.endpoint.is_none() && config.endpoints.is_empty() {
        missing(
            file,
            node,
            key,
            "hosts",
            "add for example `hosts: [\"http://localhost:9200\"]`",
        );
        return None;
    }
    config.logs_index = read.index_pattern.unwrap_or(config.logs_index);
    config.traces_index = read.traces_index.unwrap_or(config.traces_index);
    config.metrics_index = read.metrics_index.unwrap_or(config.metrics_index);
    if let Some((user, password)) = read.basic_auth {
        (config.user, config.password) = (user, password);
    }
    config.api_key = read.api_key.unwrap_or(config.api_key);
    config.tls.ca_file = read.ca_certs.or(config.tls.ca_file);
    config.tls.cert_file = read.client_cert.or(config.tls.cert_file);
    config.tls.key_file = read.client_key.or(config.tls.key_file);
    if let Some(verify) = read.verify_certs {
        config.tls.insecure_skip_verify = !verify;
    }
    config.headers.extend(read.headers);
    config.retry.max_retries = read.max_retries.unwrap_or(config.retry.max_retries);
    if let Some(Seconds(delay)) = read.retry_delay {
        config.retry.initial_interval = TimeSpan(delay);
        config.retry.max_interval = TimeSpan(config.retry.max_interval.0.max(delay));
    }
    let timeout = read.timeout.map_or(config.timeout.0, |timeout| timeout.0);
    config.timeout = TimeSpan(timeout);
    if let Err(error) = config.validate() {
        let message = error
            .to_string()
            .replace("`endpoints`", "`hosts`")
            .replace("`logs_index`", "`index_pattern`");
        file.error(node.place(), key, message, None);
    }
    Some(Made {
        destination: Destination::Elasticsearch(Box::new(config)),
        timeout: Some(timeout),
    })
}

/// `backend_type: postgres`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Postgres {
    /// `postgres://user:password@host:port/database`, instead of the keys below.
    url: Option<Secret>,
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    password: Option<Secret>,
    schema: Option<String>,
    /// Of log records.
    table_name: Option<String>,
    traces_table: Option<String>,
    metrics_table: Option<String>,
    pool_size: Option<usize>,
    ca_certs: Option<PathBuf>,
    timeout: Option<Seconds>,
    #[cfg(feature = "postgres")]
    exporter: Option<cupola_export::postgres::PostgresConfig>,
    #[cfg(not(feature = "postgres"))]
    exporter: cupola_config::Passed,
}

#[cfg(feature = "postgres")]
fn postgres(file: &mut File<'_>, node: &Node, key: &str) -> Option<Made> {
    let read: Postgres = cupola_config::read_at(node, key, &mut file.problems)?;
    let mut config = read.exporter.unwrap_or_default();
    config.endpoint = read.url.unwrap_or(config.endpoint);
    config.host = read.host.unwrap_or(config.host);
    if config.endpoint.is_empty() && config.host.is_empty() {
        config.host = "localhost".to_owned();
    }
    config.port = read.port.unwrap_or(config.port);
    config.database = read.database.unwrap_or(config.database);
    config.user = read.user.unwrap_or(config.user);
    config.password = read.password.unwrap_or(config.password);
    config.schema = read.schema.unwrap_or(config.schema);
    config.logs_table = read.table_name.unwrap_or(config.logs_table);
    config.traces_table = read.traces_table.unwrap_or(config.traces_table);
    config.metrics_table = read.metrics_table.unwrap_or(config.metrics_table);
    config.pool_size = read.pool_size.unwrap_or(config.pool_size);
    config.tls.ca_file = read.ca_certs.or(config.tls.ca_file);
    let timeout = read.timeout.map_or(config.timeout.0, |timeout| timeout.0);
    config.timeout = TimeSpan(timeout);
    if let Err(error) = config.validate() {
        let message = error
            .to_string()
            .replace("`endpoint`", "`url`")
            .replace("`logs_table`", "`table_name`");
        file.error(node.place(), key, message, None);
    }
    Some(Made {
        destination: Destination::Postgres(Box::new(config)),
        timeout: Some(timeout),
    })
}

#[cfg(not(feature = "postgres"))]
fn postgres(file: &mut File<'_>, node: &Node, key: &str) -> Option<Made> {
    let _: Option<Postgres> = cupola_config::read_at(node, key, &mut file.problems);
    not_built_in(file, node, key, "postgres")
}

/// `backend_type: kafka`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Kafka {
    bootstrap_servers: Vec<String>,
    /// Of log records.
    topic: Option<String>,
    traces_topic: Option<String>,
    metrics_topic: Option<String>,
    client_id: Option<String>,
    encoding: Option<MessageEncoding>,
    key: Option<MessageKey>,
    timeout: Option<Seconds>,
    #[cfg(feature = "kafka")]
    exporter: Option<cupola_export::kafka::KafkaConfig>,
    #[cfg(not(feature = "kafka"))]
    exporter: cupola_config::Passed,
}

/// What a message is.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MessageEncoding {
    OtlpProto,
    OtlpJson,
    /// One record, as a line of JSON.
    Json,
}

/// What records of one partition have in common.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MessageKey {
    None,
    Trace,
    Tenant,
}

#[cfg(feature = "kafka")]
fn kafka(file: &mut File<'_>, node: &Node, key: &str) -> Option<Made> {
    let read: Kafka = cupola_config::read_at(node, key, &mut file.problems)?;
    let mut config = read.exporter.unwrap_or_default();
    if !read.bootstrap_servers.is_empty() {
        config.brokers = read.bootstrap_servers;
    }
    config.logs.topic = read.topic.unwrap_or(config.logs.topic);
    config.traces.topic = read.traces_topic.unwrap_or(config.traces.topic);
    config.metrics.topic = read.metrics_topic.unwrap_or(config.metrics.topic);
    config.client_id = read.client_id.unwrap_or(config.client_id);
    // A line by itself is found together with the others of its trace.
    let usual = matches!(read.encoding, Some(MessageEncoding::Json)).then_some(MessageKey::Trace);
    config.encoding = match read.encoding {
        Some(MessageEncoding::OtlpProto) => Some(Encoding::OtlpProto),
        Some(MessageEncoding::OtlpJson) => Some(Encoding::OtlpJson),
        Some(MessageEncoding::Json) => Some(Encoding::Json),
        None => config.encoding,
    };
    config.partition_by = match read.key.or(usual) {
        Some(MessageKey::None) => PartitionBy::None,
        Some(MessageKey::Trace) => PartitionBy::Trace,
        Some(MessageKey::Tenant) => PartitionBy::Tenant,
        None => config.partition_by,
    };
    let timeout = read.timeout.map_or(config.timeout.0, |timeout| timeout.0);
    config.timeout = TimeSpan(timeout);
    if let Err(error) = config.validate() {
        file.error(node.place(), key, error.to_string(), None);
    }
    Some(Made {
        destination: Destination::Kafka(Box::new(config)),
        timeout: Some(timeout),
    })
}

#[cfg(not(feature = "kafka"))]
fn kafka(file: &mut File<'_>, node: &Node, key: &str) -> Option<Made> {
    let _: Option<Kafka> = cupola_config::read_at(node, key, &mut file.problems);
    not_built_in(file, node, key, "kafka")
}

#[cfg(not(all(feature = "postgres", feature = "kafka")))]
fn not_built_in(file: &mut File<'_>, node: &Node, key: &str, feature: &str) -> Option<Made> {
    let hint = format!("cargo add cupola-sdk --features {feature}");
    file.error(node.place(), key, backends::missing(feature), Some(&hint));
    None
}

/// `backend_type: otlp`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Otlp {
    /// Over HTTP the base, to which `/v1/logs` and the like are added.
    endpoint: Option<String>,
    /// Whole URLs instead, over HTTP.
    logs_endpoint: Option<String>,
    metrics_endpoint: Option<String>,
    traces_endpoint: Option<String>,
    protocol: Option<ProtocolName>,
    headers: BTreeMap<String, Secret>,
    compression: Option<CompressionName>,
    timeout: Option<Seconds>,
    /// Over gRPC, to an endpoint that is no URL: without TLS.
    insecure: bool,
    ca_certs: Option<PathBuf>,
    verify_certs: Option<bool>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum ProtocolName {
    #[serde(rename = "grpc")]
    Grpc,
    #[serde(rename = "http/protobuf", alias = "http")]
    HttpProtobuf,
    #[serde(rename = "http/json")]
    HttpJson,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CompressionName {
    None,
    Gzip,
    Zstd,
}

fn otlp_destination(file: &mut File<'_>, node: &Node, key: &str) -> Option<Made> {
    let read: Otlp = cupola_config::read_at(node, key, &mut file.problems)?;
    let protocol = match read.protocol {
        None | Some(ProtocolName::HttpProtobuf) => Protocol::HttpProtobuf,
        Some(ProtocolName::HttpJson) => Protocol::HttpJson,
        Some(ProtocolName::Grpc) => Protocol::Grpc,
    };
    let mut config = otlp::config(protocol);
    if let Some(endpoint) = &read.endpoint
        && let Err(problem) = otlp::set_endpoint(&mut config, endpoint, None, read.insecure)
    {
        let at = node.get("endpoint").unwrap_or(node);
        file.error(at.place(), &format!("{key}.endpoint"), problem, None);
    }
    for (name, url, signal) in [
        ("logs_endpoint", &read.logs_endpoint, Signal::Logs),
        ("metrics_endpoint", &read.metrics_endpoint, Signal::Metrics),
        ("traces_endpoint", &read.traces_endpoint, Signal::Traces),
    ] {
        let Some(url) = url else { continue };
        let at = node.get(name).unwrap_or(node);
        let key = format!("{key}.{name}");
        if protocol == Protocol::Grpc {
            file.error(
                at.place(),
                &key,
                "has no effect over gRPC",
                Some("make a back-end of its own for the signal"),
            );
        } else if let Err(problem) = otlp::set_endpoint(&mut otlp::config(protocol), url, None, false) {
            file.error(at.place(), &key, problem, None);
        } else {
            config.signal_endpoints[signal as usize] = Some(url.clone());
        }
    }
    for (name, value) in read.headers {
        if !pairs::is_header_name(&name) {
            let at = node.at(&["headers", &name]).unwrap_or(node);
            file.error(
                at.place(),
                &format!("{key}.headers"),
                format!("`{name}` is no name that a header can have"),
                None,
            );
            continue;
        }
        config.headers.push((name.to_ascii_lowercase(), value));
    }
    config.compression = match read.compression {
        None | Some(CompressionName::None) => Compression::None,
        Some(CompressionName::Gzip) => Compression::Gzip,
        Some(CompressionName::Zstd) => Compression::Zstd,
    };
    config.tls.ca_file = read.ca_certs;
    config.tls.cert_file = read.client_cert;
    config.tls.key_file = read.client_key;
    config.tls.insecure_skip_verify = read.verify_certs == Some(false);
    if let Err(error) = config.tls.validate() {
        file.error(node.place(), key, error.to_string(), None);
    }
    Some(Made {
        destination: Destination::Otlp(config),
        timeout: Some(read.timeout.map_or(otlp::TIMEOUT_DEFAULT, |timeout| timeout.0)),
    })
}

/// A time: a number of seconds, as the clients of these servers have it, or one with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seconds(Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
        deserializer.deserialize_str(SecondsVisitor)
    }
}

struct SecondsVisitor;

impl Visitor<'_> for SecondsVisitor {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds, or a duration such as 500ms")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Seconds, E> {
        let seconds = text.trim().parse::<f64>().ok();
        if let Some(seconds) = seconds {
            let span = Duration::try_from_secs_f64(seconds);
            return span
                .map(Seconds)
                .map_err(|_| E::custom(format!("`{text}` is no number of seconds")));
        }
        text.parse::<TimeSpan>()
            .map(|span| Seconds(span.0))
            .map_err(E::custom)
    }
}

/// The schema of the settings of each kind.
pub(super) fn schemas() -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("filesystem", cupola_config::schema::<JsonLinesConfig>()),
        ("elasticsearch", cupola_config::schema::<Elasticsearch>()),
        ("postgres", cupola_config::schema::<Postgres>()),
        ("kafka", cupola_config::schema::<Kafka>()),
        ("otlp", cupola_config::schema::<Otlp>()),
        ("otlp_file", cupola_config::schema::<FileConfig>()),
        ("console", cupola_config::schema::<DebugConfig>()),
    ]
}
