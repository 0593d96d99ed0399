//! How a client of Kafka reaches its brokers: where they are, over TLS or not, and who it is to them. What the exporter and
//! the receiver have in common, under the Collector's names. Refuses ways to authenticate, and settings of TLS, that the
//! client does not have. Files of `tls` are read when the client is made, and not again.

use std::path::PathBuf;
use std::time::Duration;

use cupola_config::units::TimeSpan;
use cupola_config::{Passed, Secret, present};
use rdkafka::ClientConfig;
use serde::Deserialize;

use super::SettingError;
use crate::tls::{TlsSettings, TlsVersion};

/// A name and a password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlainText {
    pub username: String,
    pub password: Secret,
}

/// SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sasl {
    pub username: String,
    pub password: Secret,
    pub mechanism: String,
    /// Read and of no effect: the client agrees on it with the broker.
    pub version: i64,
    /// Only of the mechanism AWS_MSK_IAM_OAUTHBEARER, which is refused; passed over beside others, as the Collector does.
    pub aws_msk: Passed,
    pub oauthbearer_token_source: Option<String>,
}

/// Who we are to the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The older form of `sasl` with PLAIN.
    pub plain_text: Option<PlainText>,
    pub sasl: Option<Sasl>,
    /// The older place of `tls`.
    #[serde(deserialize_with = "present")]
    pub tls: Option<TlsSettings>,
    /// Refused, with the reason.
    pub kerberos: Option<Passed>,
}

/// How what is known of brokers and topics is kept fresh.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metadata {
    /// Read and of no effect: only the topics in use are asked for.
    pub full: bool,
    pub refresh_interval: TimeSpan,
    pub retry: MetadataRetry,
}

impl Default for Metadata {
    fn default() -> Self {
        Metadata {
            full: true,
            refresh_interval: TimeSpan(Duration::from_secs(600)),
            retry: MetadataRetry::default(),
        }
    }
}

/// Attempts and pauses of requests other than for messages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetadataRetry {
    /// Read and of no effect: the client goes on until it succeeds.
    pub max: u32,
    pub backoff: TimeSpan,
}

impl Default for MetadataRetry {
    fn default() -> Self {
        MetadataRetry {
            max: 20,
            backoff: TimeSpan(Duration::from_millis(250)),
        }
    }
}

/// The Collector's default `client_id`, which quotas and rules of access may name.
pub const CLIENT_ID: &str = "otel-collector";
/// The Collector's default of `dial_timeout`.
pub const DIAL_TIMEOUT: TimeSpan = TimeSpan(Duration::from_secs(10));
/// The Collector's default of `conn_idle_timeout`.
pub const CONN_IDLE_TIMEOUT: TimeSpan = TimeSpan(Duration::from_secs(540));

/// What both sides are connected by, borrowed from the settings of either.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'c> {
    pub brokers: &'c [String],
    pub client_id: &'c str,
    pub rack_id: &'c str,
    pub resolve_canonical_bootstrap_servers_only: bool,
    pub dial_timeout: TimeSpan,
    pub conn_idle_timeout: TimeSpan,
    pub auth: &'c Auth,
    pub tls: Option<&'c TlsSettings>,
    pub metadata: &'c Metadata,
}

impl<'c> Connection<'c> {
    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), SettingError> {
        if self.brokers.is_empty() || self.brokers.iter().any(|broker| broker.trim().is_empty()) {
            return Err(SettingError::new("brokers", "needs at least one host:port"));
        }
        for (key, span) in [
            ("dial_timeout", self.dial_timeout),
            ("conn_idle_timeout", self.conn_idle_timeout),
        ] {
            if span.0 < Duration::from_secs(1) {
                return Err(SettingError::new(key, "must be at least 1s"));
            }
        }
        if self.tls.is_some() && self.auth.tls.is_some() {
            let problem = "is the older place of `tls` and cannot stand beside it; leave this one out";
            return Err(SettingError::new("auth.tls", problem));
        }
        self.auth.validate()?;
        match self.tls() {
            None => Ok(()),
            Some(tls) => check_tls(tls, if self.tls.is_some() { "tls" } else { "auth.tls" }),
        }
    }

    /// Settings of librdkafka.
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        let lookup = match self.resolve_canonical_bootstrap_servers_only {
            true => "resolve_canonical_bootstrap_servers_only",
            false => "use_all_dns_ips",
        };
        client
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", self.client_id)
            .set("client.rack", self.rack_id)
            .set("client.dns.lookup", lookup)
            .set(
                "socket.connection.setup.timeout.ms",
                bounded_millis(self.dial_timeout, 1_000, LONGEST_MILLIS),
            )
            .set(
                "connections.max.idle.ms",
                bounded_millis(self.conn_idle_timeout, 1_000, LONGEST_MILLIS),
            )
            .set(
                "retry.backoff.ms",
                bounded_millis(self.metadata.retry.backoff, 1, 300_000),
            )
            .set(
                "topic.metadata.refresh.interval.ms",
                bounded_millis(self.metadata.refresh_interval, 1_000, 3_600_000),
            );
        let tls = self.tls().filter(|tls| !tls.is_off());
        let sasl = self.auth.set(&mut client);
        let protocol = match (tls.is_some(), sasl) {
            (false, false) => "plaintext",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if let Some(tls) = tls {
            set_tls(tls, &mut client);
        }
        client
    }

    fn tls(&self) -> Option<&'c TlsSettings> {
        self.tls.or(self.auth.tls.as_ref())
    }
}

/// A span as librdkafka writes it.
pub fn millis(span: TimeSpan) -> String {
    span.0.as_millis().to_string()
}

/// The longest span of librdkafka.
const LONGEST_MILLIS: u128 = i32::MAX as u128;

/// The same, moved to what librdkafka takes.
pub fn bounded_millis(span: TimeSpan, least: u128, most: u128) -> String {
    span.0.as_millis().clamp(least, most).to_string()
}

const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

impl Auth {
    fn validate(&self) -> Result<(), SettingError> {
        if self.kerberos.is_some() {
            let problem = "is not available: use auth.sasl with SCRAM-SHA-512, or certificates in tls";
            return Err(SettingError::new("auth.kerberos", problem));
        }
        if self.sasl.is_some() && self.plain_text.is_some() {
            let problem = "cannot stand beside auth.sasl; leave one out";
            return Err(SettingError::new("auth.plain_text", problem));
        }
        if let Some(sasl) = &self.sasl {
            if !MECHANISMS.contains(&sasl.mechanism.as_str()) {
                let problem = format!(
                    "can be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, and not {:?}",
                    sasl.mechanism
                );
                return Err(SettingError::new("auth.sasl.mechanism", problem));
            }
            if sasl.username.is_empty() {
                return Err(SettingError::new("auth.sasl.username", "is missing"));
            }
            if sasl.password.is_empty() {
                return Err(SettingError::new("auth.sasl.password", "is missing"));
            }
        }
        Ok(())
    }

    /// Whether there is any.
    fn set(&self, client: &mut ClientConfig) -> bool {
        let (mechanism, username, password) = match (&self.sasl, &self.plain_text) {
            (Some(sasl), _) => (sasl.mechanism.as_str(), &sasl.username, &sasl.password),
            (None, Some(plain)) => ("PLAIN", &plain.username, &plain.password),
            (None, None) => return false,
        };
        client
            .set("sasl.mechanisms", mechanism)
            .set("sasl.username", username)
            .set("sasl.password", password.expose());
        true
    }
}

/// Refuses what librdkafka and OpenSSL do not have.
fn check_tls(tls: &TlsSettings, at: &str) -> Result<(), SettingError> {
    let refuse = |key: &str, problem: &str| Err(SettingError::new(format!("{at}.{key}"), problem));
    if let Err(error) = tls.validate() {
        return refuse(error.key, &error.problem);
    }
    if tls.include_system_ca_certs_pool && (tls.ca_file.is_some() || tls.ca_pem.is_some()) {
        let problem = "cannot stand beside a certificate authority; append the system's to the file";
        return refuse("include_system_ca_certs_pool", problem);
    }
    if !tls.server_name_override.is_empty() {
        let problem =
            "is not available: the certificate of a broker has to have the name that it is reached by";
        return refuse("server_name_override", problem);
    }
    if !matches!(tls.min_version, None | Some(TlsVersion::V12)) {
        return refuse("min_version", "can be 1.2 only, which takes 1.2 and 1.3");
    }
    for (key, given) in [
        ("max_version", tls.max_version.is_some()),
        ("cipher_suites", !tls.cipher_suites.is_empty()),
        ("curve_preferences", !tls.curve_preferences.is_empty()),
    ] {
        if given {
            return refuse(
                key,
                "is not available: client and broker agree on it; leave it out",
            );
        }
    }
    Ok(())
}

fn set_tls(tls: &TlsSettings, client: &mut ClientConfig) {
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    match (&tls.ca_file, &tls.ca_pem) {
        (Some(file), _) => client.set("ssl.ca.location", path(file)),
        (None, Some(pem)) => client.set("ssl.ca.pem", pem),
        // OpenSSL is linked statically and does not know where the system keeps its own.
        (None, None) => client.set("ssl.ca.location", "probe"),
    };
    if let Some(file) = &tls.cert_file {
        client.set("ssl.certificate.location", path(file));
    } else if let Some(pem) = &tls.cert_pem {
        client.set("ssl.certificate.pem", pem);
    }
    if let Some(file) = &tls.key_file {
        client.set("ssl.key.location", path(file));
    } else if let Some(pem) = &tls.key_pem {
        client.set("ssl.key.pem", pem.expose());
    }
    if tls.insecure_skip_verify {
        client
            .set("enable.ssl.certificate.verification", "false")
            .set("ssl.endpoint.identification.algorithm", "none");
    }
}
