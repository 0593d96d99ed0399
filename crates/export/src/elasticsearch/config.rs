//! Settings of the `elasticsearch` exporter, named as the Collector names them. Parsing validates.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_config::units::{ByteSize, TimeSpan};
use cupola_config::{Passed, Secret};
use cupola_telemetry::Signal;
use serde::Deserialize;

use crate::tls::{TlsError, TlsSettings};

/// An Elasticsearch or OpenSearch cluster.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ElasticsearchConfig {
    pub endpoint: Option<String>,
    /// Taken in turn; one that failed is left out for a while.
    pub endpoints: Vec<String>,
    /// An index or data stream; with `%Y.%m.%d` and the like, of the time of the item. Without it items go to the data
    /// stream that their `data_stream.*` attributes name, or to `logs-generic-default`.
    pub logs_index: String,
    pub traces_index: String,
    pub metrics_index: String,
    /// For all signals that have none of their own.
    pub index: String,
    pub logs_dynamic_index: Enabled,
    pub traces_dynamic_index: Enabled,
    pub metrics_dynamic_index: Enabled,
    pub logstash_format: LogstashFormat,
    pub pipeline: String,
    pub user: String,
    pub password: Secret,
    /// In the "encoded" form.
    pub api_key: Secret,
    pub headers: BTreeMap<String, Secret>,
    pub tls: TlsSettings,
    /// Of one request.
    pub timeout: TimeSpan,
    pub compression: BulkCompression,
    pub flush: Flush,
    pub retry: BulkRetry,
    pub mapping: Mapping,
    pub bulk_action: BulkAction,
    pub template: Template,
    /// Accepted and without meaning here: requests are made as batches come.
    pub num_workers: usize,
    /// Accepted and ignored: no nodes are looked for.
    pub discover: Passed,
    /// Accepted and ignored: bodies are never logged.
    pub telemetry: Passed,
}

impl Default for ElasticsearchConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            endpoints: Vec::new(),
            logs_index: String::new(),
            traces_index: String::new(),
            metrics_index: String::new(),
            index: String::new(),
            logs_dynamic_index: Enabled::default(),
            traces_dynamic_index: Enabled::default(),
            metrics_dynamic_index: Enabled::default(),
            logstash_format: LogstashFormat::default(),
            pipeline: String::new(),
            user: String::new(),
            password: Secret::default(),
            api_key: Secret::default(),
            headers: BTreeMap::new(),
            tls: TlsSettings::default(),
            timeout: TimeSpan(Duration::from_secs(90)),
            compression: BulkCompression::Gzip,
            flush: Flush::default(),
            retry: BulkRetry::default(),
            mapping: Mapping::default(),
            bulk_action: BulkAction::Create,
            template: Template::default(),
            num_workers: 0,
            discover: Passed,
            telemetry: Passed,
        }
    }
}

/// With it, attributes choose the index even if one is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Enabled {
    pub enabled: bool,
}

/// The name of the index ends in the date of the item.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogstashFormat {
    pub enabled: bool,
    pub prefix_separator: String,
    /// As strftime has it.
    pub date_format: String,
}

impl Default for LogstashFormat {
    fn default() -> Self {
        Self {
            enabled: false,
            prefix_separator: "-".to_owned(),
            date_format: "%Y.%m.%d".to_owned(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BulkCompression {
    None,
    #[default]
    Gzip,
}

/// How large requests are.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flush {
    /// Before compression. A single document that is larger is sent alone.
    pub bytes: ByteSize,
    /// Accepted and without meaning here: nothing is held back.
    pub interval: TimeSpan,
}

impl Default for Flush {
    fn default() -> Self {
        Self {
            bytes: ByteSize(5_000_000),
            interval: TimeSpan(Duration::from_secs(10)),
        }
    }
}

/// Rounds within one attempt, of the documents that were refused for now and those only. Beyond them the batch as a
/// whole is sent again, which makes no duplicates.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BulkRetry {
    pub enabled: bool,
    pub max_retries: u32,
    /// The former name of `max_retries`, the first attempt included.
    pub max_requests: Option<u32>,
    pub initial_interval: TimeSpan,
    pub max_interval: TimeSpan,
    /// Besides 429, 500, 502, 503 and 504.
    pub retry_on_status: Vec<u16>,
}

impl Default for BulkRetry {
    fn default() -> Self {
        Self {
            enabled: true,
            max_retries: 2,
            max_requests: None,
            initial_interval: TimeSpan(Duration::from_millis(100)),
            max_interval: TimeSpan(Duration::from_secs(60)),
            retry_on_status: vec![429],
        }
    }
}

impl BulkRetry {
    pub(super) fn rounds(&self) -> u32 {
        let retries = self
            .max_requests
            .map_or(self.max_retries, |requests| requests.saturating_sub(1));
        1 + if self.enabled { retries } else { 0 }
    }
}

/// What documents look like.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    pub mode: MappingMode,
    /// Accepted and without meaning: keys are never double.
    pub dedup: Option<bool>,
    /// Accepted and without meaning: to the server a dotted key is a path.
    pub dedot: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MappingMode {
    /// Fields as OpenTelemetry has them, as Elasticsearch understands them by itself.
    #[default]
    Otel,
    /// The Elastic Common Schema, as far as the semantic conventions have a counterpart.
    Ecs,
    /// Everything an item has, under the names of OTLP.
    #[serde(alias = "no", alias = "")]
    None,
    /// Like `none`, with the attributes of the item at the root.
    Raw,
    /// The body of a log record, which must be a map, is the document.
    BodyMap,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BulkAction {
    /// The only one that data streams know.
    #[default]
    Create,
    Index,
}

impl BulkAction {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            BulkAction::Create => "create",
            BulkAction::Index => "index",
        }
    }
}

/// Index templates of ours, for clusters that have none for these indices.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Template {
    pub enabled: bool,
    /// Followed by `-logs`, `-traces` or `-metrics`.
    pub name: String,
    /// Instead of those that the settings of indices lead to, for all signals.
    pub patterns: Vec<String>,
    pub priority: u32,
}

impl Default for Template {
    fn default() -> Self {
        Self {
            enabled: true,
            name: "cupola".to_owned(),
            patterns: Vec::new(),
            priority: 150,
        }
    }
}

/// A setting no sink can be made of.
#[derive(Debug, thiserror::Error)]
pub enum ElasticsearchConfigError {
    #[error("`{key}`: {problem}")]
    Setting { key: &'static str, problem: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl ElasticsearchConfigError {
    pub(super) fn setting(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Setting {
            key,
            problem: problem.into(),
        }
    }
}

impl ElasticsearchConfig {
    /// Refuses what cannot work, without a look at files or the network.
    pub fn validate(&self) -> Result<(), ElasticsearchConfigError> {
        let wrong = |key, problem: &str| Err(ElasticsearchConfigError::setting(key, problem));
        if self.endpoint.is_some() != self.endpoints.is_empty() {
            return wrong("endpoints", "set either `endpoint` or `endpoints`");
        }
        for endpoint in self.all_endpoints() {
            let url = url::Url::parse(endpoint)
                .ok()
                .filter(|url| matches!(url.scheme(), "http" | "https"));
            let Some(url) = url else {
                return wrong("endpoints", "must be http:// or https:// URLs");
            };
            if !url.username().is_empty() || url.password().is_some() {
                return wrong(
                    "endpoints",
                    "must not hold credentials; use `user` and `password`",
                );
            }
        }
        if !self.api_key.is_empty() && !self.user.is_empty() {
            return wrong("api_key", "set either `api_key` or `user`");
        }
        self.tls.validate()?;
        if self.timeout.0.is_zero() {
            return wrong("timeout", "must be longer than zero");
        }
        if self.flush.bytes.0 == 0 {
            return wrong("flush.bytes", "must be more than zero");
        }
        for (key, format) in [
            ("logstash_format.date_format", &self.logstash_format.date_format),
            ("logs_index", &self.logs_index),
            ("traces_index", &self.traces_index),
            ("metrics_index", &self.metrics_index),
            ("index", &self.index),
        ] {
            let mut items = chrono::format::StrftimeItems::new(format);
            if format.contains('%') && items.any(|item| item == chrono::format::Item::Error) {
                return Err(ElasticsearchConfigError::setting(
                    key,
                    format!("`{format}` is no strftime format"),
                ));
            }
        }
        Ok(())
    }

    pub(super) fn all_endpoints(&self) -> impl Iterator<Item = &String> {
        self.endpoint.iter().chain(&self.endpoints)
    }

    /// The index that is set for a signal; empty if there is none.
    pub(super) fn static_index(&self, signal: Signal) -> &str {
        let (own, dynamic) = match signal {
            Signal::Logs => (&self.logs_index, self.logs_dynamic_index),
            Signal::Traces => (&self.traces_index, self.traces_dynamic_index),
            Signal::Metrics => (&self.metrics_index, self.metrics_dynamic_index),
        };
        match (own.as_str(), dynamic.enabled) {
            (_, true) => "",
            ("", false) => &self.index,
            (own, false) => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ElasticsearchConfig, String> {
        let config: ElasticsearchConfig = serde_json::from_str(json).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn settings_are_read_and_those_that_cannot_work_are_refused_by_name() {
        let config = read(
            r#"{"endpoint":"http://a:9200","user":"u","password":"hunter2","headers":{"X-A":"hunter2"},
                "retry":{"max_requests":5},"mapping":{"mode":"ecs","dedot":true},"discover":{"on_start":true}}"#,
        )
        .unwrap();
        assert_eq!(
            (config.mapping.mode, config.retry.rounds()),
            (MappingMode::Ecs, 5)
        );
        assert!(!format!("{config:?}").contains("hunter2"));
        for (json, key) in [
            ("{}", "`endpoints`"),
            (
                r#"{"endpoint":"http://a","endpoints":["http://b"]}"#,
                "`endpoints`",
            ),
            (r#"{"endpoint":"a:9200"}"#, "`endpoints`"),
            (r#"{"endpoint":"http://u:hunter2@a"}"#, "`endpoints`"),
            (r#"{"endpoint":"http://a","user":"u","api_key":"k"}"#, "`api_key`"),
            (
                r#"{"endpoint":"http://a","tls":{"key_file":"k"}}"#,
                "`tls.cert_file`",
            ),
            (r#"{"endpoint":"http://a","logs_index":"x-%Q"}"#, "`logs_index`"),
            (r#"{"endpoint":"http://a","indices":"x"}"#, "`indices`"),
        ] {
            let error = read(json).unwrap_err();
            assert!(
                error.contains(key) && !error.contains("hunter2"),
                "{json}: {error}"
            );
        }
    }
}
