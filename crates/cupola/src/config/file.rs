//! The configuration file as it is written: the Collector's sections beside Cupola's own. Parsing validates shape and
//! types and never acts; an absent value stays absent, so that defaults are applied in one place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use super::nearest::nearest;
use super::units::{ByteSize, MemoryLimit, TimeSpan};
use super::yaml::{self, Problem};
use crate::failure::Failure;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) receivers: Receivers,
    pub(crate) extensions: Extensions,
    pub(crate) store: StoreSection,
    pub(crate) api: ApiSection,
    pub(crate) memory: MemorySection,
    pub(crate) query: QuerySection,
    pub(crate) service: ServiceSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Receivers {
    pub(crate) otlp: Option<Otlp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Otlp {
    /// As in the Collector, a protocol that is not named is off; without this section both are on.
    pub(crate) protocols: Option<Protocols>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Protocols {
    #[serde(deserialize_with = "present")]
    pub(crate) grpc: Option<Grpc>,
    #[serde(deserialize_with = "present")]
    pub(crate) http: Option<Http>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Grpc {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) max_recv_msg_size_mib: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) max_request_body_size: Option<ByteSize>,
    pub(crate) cors: Option<Cors>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cors {
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) allowed_headers: Vec<String>,
    /// Seconds.
    pub(crate) max_age: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Extensions {
    pub(crate) health_check: Option<HealthCheck>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HealthCheck {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) enabled: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreSection {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) object_store_url: Option<String>,
    pub(crate) object_store_options: BTreeMap<String, String>,
    pub(crate) flush_bytes_max: Option<ByteSize>,
    pub(crate) flush_interval: Option<TimeSpan>,
    pub(crate) wal_segment_bytes_max: Option<ByteSize>,
    pub(crate) compaction: Compaction,
    pub(crate) retention: Vec<Retention>,
    pub(crate) retention_interval: Option<TimeSpan>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Compaction {
    pub(crate) interval: Option<TimeSpan>,
    pub(crate) files_min: Option<usize>,
    pub(crate) segment_bytes_target: Option<ByteSize>,
    pub(crate) settle: Option<TimeSpan>,
}

/// The first rule that names a row decides how long it is kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    pub(crate) keep: TimeSpan,
    #[serde(default)]
    pub(crate) signal: Option<SignalName>,
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    #[serde(default)]
    pub(crate) service: Option<String>,
    /// Logs at least and at most this severe: `trace`, `debug`, `info`, `warn`, `error`, `fatal`.
    #[serde(default)]
    pub(crate) severity_min: Option<Severity>,
    #[serde(default)]
    pub(crate) severity_max: Option<Severity>,
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(crate) resource_attributes: BTreeMap<String, Scalar>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SignalName {
    Logs,
    Metrics,
    Traces,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl SignalName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            SignalName::Logs => "logs",
            SignalName::Metrics => "metrics",
            SignalName::Traces => "traces",
        }
    }
}

impl Severity {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Severity::Trace => "trace",
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
            Severity::Fatal => "fatal",
        }
    }

    /// The least `SeverityNumber` of this name; three finer steps follow it.
    pub(crate) fn number(self) -> i64 {
        1 + 4 * self as i64
    }
}

/// A value that an attribute is compared with.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Scalar {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApiSection {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) postgres: Option<Listener>,
    pub(crate) flight_sql: Option<Listener>,
    pub(crate) allowed_hosts: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listener {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) enabled: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MemorySection {
    pub(crate) limit: Option<MemoryLimit>,
}

/// Limits of statements; a statement can only ask for stricter ones.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QuerySection {
    pub(crate) timeout: Option<TimeSpan>,
    pub(crate) rows_max: Option<u64>,
    pub(crate) bytes_max: Option<ByteSize>,
    pub(crate) memory_bytes_max: Option<ByteSize>,
    pub(crate) running_max: Option<usize>,
    pub(crate) waiting_max: Option<usize>,
    pub(crate) slow_query: Option<TimeSpan>,
    pub(crate) spill_directory: Option<PathBuf>,
    pub(crate) spill_limit: Option<MemoryLimit>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServiceSection {
    pub(crate) telemetry: Telemetry,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Telemetry {
    pub(crate) logs: TelemetryLogs,
    /// Tenant that keeps Cupola's own telemetry.
    pub(crate) tenant: Option<String>,
    /// Whether Cupola's own telemetry is kept at all.
    pub(crate) enabled: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TelemetryLogs {
    pub(crate) level: Option<String>,
    pub(crate) encoding: Option<LogEncoding>,
}

/// How log lines look on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogEncoding {
    #[value(name = "text", alias = "console")]
    #[serde(alias = "text")]
    Console,
    Json,
}

/// A socket address; a bare port is one of this machine only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(pub(crate) SocketAddr);

impl std::str::FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
            return Ok(Endpoint(SocketAddr::from(([127, 0, 0, 1], port))));
        }
        let numeric = text
            .strip_prefix("localhost:")
            .map(|port| format!("127.0.0.1:{port}"));
        numeric
            .as_deref()
            .unwrap_or(text)
            .parse()
            .map(Endpoint)
            .map_err(|_| {
                format!("`{text}` is not an address; write for example 127.0.0.1:4317, [::1]:4317 or 4317")
            })
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A key that is there counts, even without a value.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads and checks the file.
fn load(path: &Path) -> Result<File, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("cannot read the configuration {}", path.display())).caused_by(&error)
    })?;
    parse(&text).map_err(|error| explain(path, &text, &error))
}

/// Nothing is said without a file.
pub(crate) fn load_if_given(path: Option<&Path>) -> Result<File, Failure> {
    path.map_or_else(|| Ok(File::default()), load)
}

fn parse(text: &str) -> Result<File, yaml::YamlError> {
    yaml::from_str(text)
}

fn explain(path: &Path, text: &str, error: &yaml::YamlError) -> Failure {
    let place = format!("{}:{}:{}", path.display(), error.line, error.column);
    let mut failure = Failure::usage(format!("the configuration is not valid: {error}")).cause(&place);
    if let Some(line) = error
        .line
        .checked_sub(1)
        .and_then(|index| text.lines().nth(index))
    {
        failure = failure.cause(format!("| {}", line.trim_end()));
    }
    match &error.problem {
        Problem::UnknownKey { key, expected } => match nearest(key, expected.iter().copied()) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint(format!("known here: {}", expected.join(", "))),
        },
        Problem::Other(_) => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_configuration_is_read() {
        let file = parse(
            "receivers:\n  otlp:\n    protocols:\n      grpc:\n      http:\n        endpoint: 0.0.0.0:5318\n\
             extensions:\n  health_check:\nmemory:\n  limit: 25%\n",
        )
        .unwrap();
        let protocols = file.receivers.otlp.unwrap().protocols.unwrap();
        assert!(protocols.grpc.unwrap().endpoint.is_none());
        assert_eq!(
            protocols.http.unwrap().endpoint,
            Some(Endpoint(([0, 0, 0, 0], 5318).into()))
        );
        assert_eq!(file.memory.limit, Some(MemoryLimit::Percent(25.0)));
    }

    #[test]
    fn retention_rules_are_read() {
        let file = parse(
            "store:\n  retention:\n    - keep: 3d\n      signal: logs\n      severity_max: debug\n\
             \x20   - keep: 90d\n      attributes: {http.response.status_code: 500, cache.hit: true}\n",
        )
        .unwrap();
        assert_eq!(file.store.retention.len(), 2);
        assert_eq!(file.store.retention[0].severity_max.unwrap().number(), 5);
        assert!(matches!(
            file.store.retention[1].attributes["http.response.status_code"],
            Scalar::Int(500)
        ));
        assert!(
            parse("store:\n  retention:\n    - signal: logs\n").is_err(),
            "`keep` is required"
        );
    }

    #[test]
    fn a_slip_is_named_with_its_line_and_the_nearest_key() {
        let text = "receivers:\n  otlp:\n    protocol:\n      grpc:\n";
        let failure = explain(Path::new("cupola.yaml"), text, &parse(text).unwrap_err());
        assert_eq!(
            failure.to_string(),
            "the configuration is not valid: unknown key `protocol`: cupola.yaml:3:5: |     protocol:"
        );
    }
}
