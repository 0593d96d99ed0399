//! Settings that every receiver on HTTP has, by the Collector's names.

use std::time::Duration;

use cupola_config::Endpoint;
use cupola_config::units::{ByteSize, TimeSpan};
use cupola_export::auth::AuthSettings;
use cupola_export::tls::ServerTlsSettings;
use serde::Deserialize;

use super::guard::{Guard, GuardError};
use crate::auth::Authenticators;
use crate::processors::ConfigError;

/// Where requests come in, from whom, and what bounds them. CORS is not part of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpServerConfig {
    /// The receiver's usual port on loopback, unless given.
    pub endpoint: Option<Endpoint>,
    /// Largest body, before and after decompression.
    pub max_request_body_size: ByteSize,
    /// Time a client has to send a whole body.
    pub read_timeout: TimeSpan,
    /// Headers are kept with the data, for components that ask for them. The tenant always is.
    pub include_metadata: bool,
    pub tls: Option<ServerTlsSettings>,
    /// Who may send; anybody without it.
    pub auth: Option<AuthSettings>,
}

impl Default for HttpServerConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            max_request_body_size: ByteSize(20 * 1024 * 1024),
            read_timeout: TimeSpan(Duration::from_secs(60)),
            include_metadata: false,
            tls: None,
            auth: None,
        }
    }
}

impl HttpServerConfig {
    pub(crate) fn validate(&self, prefix: &str) -> Result<(), ConfigError> {
        if self.max_request_body_size.0 == 0 {
            let key = format!("{prefix}max_request_body_size");
            return Err(ConfigError::setting(key, "must be greater than zero"));
        }
        if self.read_timeout.0.is_zero() {
            let key = format!("{prefix}read_timeout");
            return Err(ConfigError::setting(
                key,
                "must be greater than zero: a client could hold memory for ever",
            ));
        }
        if let Some(tls) = &self.tls {
            tls.validate()
                .map_err(|error| ConfigError::setting(format!("{prefix}tls.{}", error.key), error.problem))?;
        }
        Ok(())
    }

    pub(crate) fn guard(&self, authenticators: &Authenticators) -> Result<Guard, GuardError> {
        Guard::new(
            self.tls.as_ref(),
            self.auth.as_ref(),
            self.include_metadata,
            authenticators,
        )
    }

    pub(crate) fn endpoint(&self, port: u16) -> Endpoint {
        self.endpoint.unwrap_or(Endpoint::loopback(port))
    }

    pub(crate) fn limits(&self) -> (usize, Duration) {
        let bytes = usize::try_from(self.max_request_body_size.0).unwrap_or(usize::MAX);
        (bytes, self.read_timeout.0)
    }
}
