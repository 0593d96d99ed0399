//! Settings of the scraper: the part of Prometheus' own configuration that is about scraping fixed and listed targets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cupola_config::Secret;
use cupola_config::units::{ByteSize, TimeSpan};
use serde::Deserialize;

use super::relabel::{Relabel, RelabelConfig};
use crate::processors::ConfigError;

/// Settings of the receiver `prometheus`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrometheusReceiverConfig {
    pub config: PrometheusConfig,
}

/// A Prometheus configuration. Other discoveries than `static_configs` and `file_sd_configs` are unknown keys.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrometheusConfig {
    pub global: GlobalConfig,
    pub scrape_configs: Vec<ScrapeConfig>,
}

/// What holds for every job that does not say otherwise.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlobalConfig {
    pub scrape_interval: TimeSpan,
    pub scrape_timeout: TimeSpan,
    /// Without effect: rules are not evaluated here.
    pub evaluation_interval: Option<TimeSpan>,
    /// Added to every series that does not have them.
    pub external_labels: BTreeMap<String, String>,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        Self {
            scrape_interval: TimeSpan(Duration::from_secs(60)),
            scrape_timeout: TimeSpan(Duration::from_secs(10)),
            evaluation_interval: None,
            external_labels: BTreeMap::new(),
        }
    }
}

/// One job.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrapeConfig {
    pub job_name: String,
    pub scrape_interval: Option<TimeSpan>,
    pub scrape_timeout: Option<TimeSpan>,
    pub metrics_path: String,
    pub scheme: Scheme,
    pub params: BTreeMap<String, Vec<String>>,
    pub static_configs: Vec<TargetGroup>,
    pub file_sd_configs: Vec<FileDiscovery>,
    pub basic_auth: Option<BasicAuth>,
    pub authorization: Option<Authorization>,
    pub bearer_token: Option<Secret>,
    pub bearer_token_file: Option<PathBuf>,
    pub tls_config: TlsConfig,
    pub honor_labels: bool,
    pub honor_timestamps: bool,
    /// Most samples of one scrape, after relabelling; 0 is no limit.
    pub sample_limit: u64,
    /// Largest page; 0 is [`BODY_BYTES_MAX`].
    pub body_size_limit: ByteSize,
    pub relabel_configs: Vec<RelabelConfig>,
    pub metric_relabel_configs: Vec<RelabelConfig>,
    pub follow_redirects: bool,
    pub enable_compression: bool,
    /// Without effect: HTTP/2 is spoken where TLS agrees on it.
    pub enable_http2: bool,
    /// Without effect: OpenMetrics is asked for first, then the text format.
    pub scrape_protocols: Vec<String>,
    /// Without effect: what does not say what it is, is read as the text format.
    pub fallback_scrape_protocol: String,
}

/// Largest page where nothing else is set.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Default for ScrapeConfig {
    fn default() -> Self {
        Self {
            job_name: String::new(),
            scrape_interval: None,
            scrape_timeout: None,
            metrics_path: "/metrics".to_owned(),
            scheme: Scheme::Http,
            params: BTreeMap::new(),
            static_configs: Vec::new(),
            file_sd_configs: Vec::new(),
            basic_auth: None,
            authorization: None,
            bearer_token: None,
            bearer_token_file: None,
            tls_config: TlsConfig::default(),
            honor_labels: false,
            honor_timestamps: true,
            sample_limit: 0,
            body_size_limit: ByteSize(0),
            relabel_configs: Vec::new(),
            metric_relabel_configs: Vec::new(),
            follow_redirects: true,
            enable_compression: true,
            enable_http2: true,
            scrape_protocols: Vec::new(),
            fallback_scrape_protocol: String::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

/// Targets and the labels that all of them have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetGroup {
    pub targets: Vec<String>,
    pub labels: BTreeMap<String, String>,
}

/// Files with target groups; `*` stands for any text in the last part of a path.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileDiscovery {
    pub files: Vec<PathBuf>,
    pub refresh_interval: TimeSpan,
}

impl Default for FileDiscovery {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            refresh_interval: TimeSpan(Duration::from_secs(300)),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasicAuth {
    pub username: String,
    pub password: Secret,
    pub password_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authorization {
    pub r#type: String,
    pub credentials: Secret,
    pub credentials_file: Option<PathBuf>,
}

impl Default for Authorization {
    fn default() -> Self {
        Self {
            r#type: "Bearer".to_owned(),
            credentials: Secret::default(),
            credentials_file: None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
}

impl PrometheusReceiverConfig {
    /// Refuses what cannot work, by its key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let jobs = &self.config.scrape_configs;
        if jobs.is_empty() {
            let problem = "there is no job; without one nothing is scraped";
            return Err(ConfigError::setting("config.scrape_configs", problem));
        }
        for (index, job) in jobs.iter().enumerate() {
            let key = |name: &str| format!("config.scrape_configs[{index}].{name}");
            if job.job_name.is_empty() {
                return Err(ConfigError::setting(key("job_name"), "is missing"));
            }
            if jobs[..index].iter().any(|other| other.job_name == job.job_name) {
                let problem = format!("{:?} is the name of another job too", job.job_name);
                return Err(ConfigError::setting(key("job_name"), problem));
            }
            self.times(job)
                .map_err(|problem| ConfigError::setting(key("scrape_timeout"), problem))?;
            job.validate_access()
                .map_err(|(name, problem)| ConfigError::setting(key(name), problem))?;
            let lists = [
                ("relabel_configs", &job.relabel_configs),
                ("metric_relabel_configs", &job.metric_relabel_configs),
            ];
            for (name, list) in lists {
                Relabel::new(list)
                    .map_err(|(at, problem)| ConfigError::setting(key(&format!("{name}[{at}]")), problem))?;
            }
        }
        Ok(())
    }

    /// Interval and timeout of a job.
    pub(super) fn times(&self, job: &ScrapeConfig) -> Result<(Duration, Duration), String> {
        let global = &self.config.global;
        let interval = job.scrape_interval.unwrap_or(global.scrape_interval).0;
        let timeout = match job.scrape_timeout {
            Some(timeout) => timeout.0,
            // The default gives way to a short interval.
            None => global.scrape_timeout.0.min(interval),
        };
        if interval.is_zero() || timeout.is_zero() {
            return Err("interval and timeout must be greater than zero".to_owned());
        }
        if timeout > interval {
            return Err(format!("{timeout:?} is longer than the interval of {interval:?}"));
        }
        Ok((interval, timeout))
    }
}

impl ScrapeConfig {
    fn validate_access(&self) -> Result<(), (&'static str, &'static str)> {
        let ways = [
            self.basic_auth.is_some(),
            self.authorization.is_some(),
            self.bearer_token.is_some(),
            self.bearer_token_file.is_some(),
        ];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            return Err((
                "authorization",
                "only one of basic_auth, authorization and bearer_token can be sent",
            ));
        }
        if !self.metrics_path.starts_with('/') {
            return Err(("metrics_path", "must begin with a slash"));
        }
        if self.tls_config.cert_file.is_some() != self.tls_config.key_file.is_some() {
            return Err(("tls_config", "cert_file and key_file belong together"));
        }
        let negligent = self
            .file_sd_configs
            .iter()
            .any(|files| files.refresh_interval.0.is_zero());
        if negligent {
            return Err(("file_sd_configs", "refresh_interval must be greater than zero"));
        }
        Ok(())
    }
}
