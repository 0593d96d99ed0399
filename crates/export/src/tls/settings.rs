//! The Collector's `tls` of servers and of clients.
//! <https://github.com/open-telemetry/opentelemetry-collector/blob/main/config/configtls/README.md>

use std::path::PathBuf;

use cupola_config::units::TimeSpan;
use cupola_config::{Passed, Secret};
use serde::Deserialize;

use super::TlsError;
use super::material::{Common, check};

/// `tls` of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// No TLS at all, where the endpoint is not a URL, which says it by itself, and no authority is named.
    pub insecure: bool,
    /// Takes any certificate.
    pub insecure_skip_verify: bool,
    /// The name that the certificate has to be made out for, instead of the host of the endpoint.
    pub server_name_override: String,
    /// Authorities to trust instead of those that browsers trust.
    pub ca_file: Option<PathBuf>,
    pub ca_pem: Option<String>,
    /// Trusts the authorities of the system besides.
    pub include_system_ca_certs_pool: bool,
    /// For mutual TLS.
    pub cert_file: Option<PathBuf>,
    pub cert_pem: Option<String>,
    pub key_file: Option<PathBuf>,
    pub key_pem: Option<Secret>,
    pub min_version: Option<TlsVersion>,
    pub max_version: Option<TlsVersion>,
    /// Of TLS 1.2, by the names of Go.
    pub cipher_suites: Vec<String>,
    pub curve_preferences: Vec<String>,
    /// How often files are looked at; 10 s unless set.
    pub reload_interval: Option<TimeSpan>,
    /// Read and of no effect: rustls has no suites that are insecure.
    pub include_insecure_cipher_suites: bool,
    /// Only switched off.
    pub tpm: Tpm,
}

/// `tls` of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerTlsSettings {
    pub cert_file: Option<PathBuf>,
    pub cert_pem: Option<String>,
    pub key_file: Option<PathBuf>,
    pub key_pem: Option<Secret>,
    /// Clients must show a certificate of one of these authorities.
    pub client_ca_file: Option<PathBuf>,
    /// Read and of no effect: the file is looked at in any case.
    pub client_ca_file_reload: bool,
    /// Read and of no effect: of a server it is `client_ca_file` that counts, as in the Collector.
    pub ca_file: Option<PathBuf>,
    pub ca_pem: Option<String>,
    /// Trusts clients of the authorities of the system besides.
    pub include_system_ca_certs_pool: bool,
    pub min_version: Option<TlsVersion>,
    pub max_version: Option<TlsVersion>,
    /// Of TLS 1.2, by the names of Go.
    pub cipher_suites: Vec<String>,
    pub curve_preferences: Vec<String>,
    /// How often files are looked at; 10 s unless set.
    pub reload_interval: Option<TimeSpan>,
    /// Read and of no effect: rustls has no suites that are insecure.
    pub include_insecure_cipher_suites: bool,
    /// Only switched off.
    pub tpm: Tpm,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum TlsVersion {
    #[serde(rename = "1.0")]
    V10,
    #[serde(rename = "1.1")]
    V11,
    #[serde(rename = "1.2")]
    V12,
    #[serde(rename = "1.3")]
    V13,
}

/// Keys kept by a TPM, which Cupola has no way to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tpm {
    pub enabled: bool,
    pub path: Passed,
    pub owner_auth: Passed,
    pub auth: Passed,
}

impl TlsSettings {
    /// Refuses what cannot work, without a look at files.
    pub fn validate(&self) -> Result<(), TlsError> {
        if self.ca_file.is_some() && self.ca_pem.is_some() {
            return Err(TlsError::new("ca_pem", "`ca_file` is given too; leave one out"));
        }
        if !self.server_name_override.is_empty() {
            super::client::server_name(&self.server_name_override)?;
        }
        check(&self.common())
    }

    /// Whether an endpoint that is no URL is spoken to in the clear. As in the Collector, not if an authority is named.
    pub fn is_off(&self) -> bool {
        self.insecure && self.ca_file.is_none() && self.ca_pem.is_none()
    }

    pub(super) fn common(&self) -> Common<'_> {
        Common {
            cert: (self.cert_file.as_deref(), self.cert_pem.as_deref()),
            key: (self.key_file.as_deref(), self.key_pem.as_ref()),
            min: self.min_version,
            max: self.max_version,
            suites: &self.cipher_suites,
            curves: &self.curve_preferences,
            tpm: self.tpm.enabled,
        }
    }
}

impl ServerTlsSettings {
    /// Refuses what cannot work, without a look at files.
    pub fn validate(&self) -> Result<(), TlsError> {
        if self.cert_file.is_none() && self.cert_pem.is_none() {
            return Err(TlsError::new(
                "cert_file",
                "a server needs a certificate; set `cert_file` and `key_file`",
            ));
        }
        check(&self.common())
    }

    pub(super) fn common(&self) -> Common<'_> {
        Common {
            cert: (self.cert_file.as_deref(), self.cert_pem.as_deref()),
            key: (self.key_file.as_deref(), self.key_pem.as_ref()),
            min: self.min_version,
            max: self.max_version,
            suites: &self.cipher_suites,
            curves: &self.curve_preferences,
            tpm: self.tpm.enabled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Result<TlsSettings, String> {
        let read: TlsSettings = cupola_config::yaml::from_str(text).map_err(|error| error.to_string())?;
        read.validate().map_err(|error| error.to_string())?;
        Ok(read)
    }

    #[test]
    fn versions_may_be_written_as_numbers() {
        let read = client("min_version: 1.2\nmax_version: '1.3'\n").unwrap();
        assert_eq!(
            (read.min_version, read.max_version),
            (Some(TlsVersion::V12), Some(TlsVersion::V13))
        );
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        for (text, key) in [
            ("ca_file: a\nca_pem: b", "ca_pem"),
            ("cert_file: a", "key_file"),
            ("key_pem: a", "cert_file"),
            ("cert_file: a\ncert_pem: b\nkey_file: c", "cert_pem"),
            ("min_version: 1.3\nmax_version: 1.2", "min_version"),
            ("max_version: 1.1", "max_version"),
            ("cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]", "cipher_suites"),
            ("curve_preferences: [P521]", "curve_preferences"),
            ("tpm: {enabled: true}", "tpm"),
            ("server_name_override: 'a b'", "server_name_override"),
        ] {
            let problem = client(text).unwrap_err();
            assert!(problem.contains(&format!("`tls.{key}`")), "{text}: {problem}");
        }
        let lenient = "min_version: 1.0\ncipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n\
                       curve_preferences: [P521, X25519]\ntpm: {enabled: false}\n";
        client(lenient).unwrap();
        let server: ServerTlsSettings = cupola_config::yaml::from_str("client_ca_file: a\n").unwrap();
        assert_eq!(server.validate().unwrap_err().key, "cert_file");
    }
}
