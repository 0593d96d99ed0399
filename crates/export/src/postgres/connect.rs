//! The way to the server: the endpoint as the client wants it, TLS, the pool. Refuses to read the environment.

use std::path::Path;
use std::sync::Arc;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{self, CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::config::{PostgresConfig, PostgresConfigError, SslMode};

/// Makes the pool; connects when a connection is first wanted.
pub(super) fn pool(config: &PostgresConfig) -> Result<Pool, PostgresConfigError> {
    let (mut client, mode) = client_config(config)?;
    client.ssl_mode(match mode {
        SslMode::Disable => tokio_postgres::config::SslMode::Disable,
        SslMode::Allow | SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
        _ => tokio_postgres::config::SslMode::Require,
    });
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = match mode {
        SslMode::Disable => Manager::from_config(client, NoTls, recycling),
        _ => Manager::from_config(client, MakeRustlsConnect::new(tls(config, mode)?), recycling),
    };
    Pool::builder(manager)
        .max_size(config.pool_size)
        .wait_timeout(Some(config.timeout.0))
        .create_timeout(Some(config.timeout.0))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| PostgresConfigError::setting("pool_size", error.to_string()))
}

/// The endpoint without what only we understand of it.
fn client_config(config: &PostgresConfig) -> Result<(Config, SslMode), PostgresConfigError> {
    let mut mode = config.sslmode;
    let mut client = Config::new();
    if config.host.is_empty() {
        let (text, own_mode) = without_ssl_mode(config.endpoint.expose())?;
        mode = own_mode.unwrap_or(mode);
        // The error may quote the text, and with it the password.
        client = text.parse().map_err(|_| {
            PostgresConfigError::setting(
                "endpoint",
                "is neither postgres://user:password@host:port/database nor `host=… user=…`",
            )
        })?;
    } else {
        client.host(&config.host).port(config.port);
    }
    if client.get_user().is_none() {
        client.user(&config.user);
    }
    if client.get_password().is_none() && !config.password.is_empty() {
        client.password(config.password.expose());
    }
    if client.get_dbname().is_none() && !config.database.is_empty() {
        client.dbname(&config.database);
    }
    if client.get_application_name().is_none() {
        client.application_name(&config.application_name);
    }
    if client.get_connect_timeout().is_none() {
        client.connect_timeout(config.timeout.0);
    }
    Ok((client, mode))
}

/// Takes `sslmode` out of a URL or a list of settings: the client knows three of its six values.
fn without_ssl_mode(endpoint: &str) -> Result<(String, Option<SslMode>), PostgresConfigError> {
    let known = |text: &str| {
        SslMode::parse(text)
            .ok_or_else(|| PostgresConfigError::setting("sslmode", format!("`{text}` is not one of libpq's")))
    };
    let mut mode = None;
    let Some((base, query)) = endpoint.split_once('?').filter(|_| endpoint.contains("://")) else {
        let mut kept = Vec::new();
        for word in endpoint.split(' ') {
            match word.strip_prefix("sslmode=") {
                Some(text) if !endpoint.contains("://") => mode = Some(known(text)?),
                _ => kept.push(word),
            }
        }
        return Ok((kept.join(" "), mode));
    };
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.strip_prefix("sslmode=") {
            Some(text) => mode = Some(known(text)?),
            None => kept.push(pair),
        }
    }
    let text = match kept.is_empty() {
        true => base.to_owned(),
        false => format!("{base}?{}", kept.join("&")),
    };
    Ok((text, mode))
}

fn tls(config: &PostgresConfig, mode: SslMode) -> Result<ClientConfig, PostgresConfigError> {
    let provider = Arc::new(crypto::ring::default_provider());
    let wrong = |key| move |error: String| PostgresConfigError::setting(key, error);
    let mut roots = RootCertStore::empty();
    match &config.tls.ca_file {
        Some(path) => {
            for certificate in certificates("tls.ca_file", path)? {
                roots
                    .add(certificate)
                    .map_err(|error| wrong("tls.ca_file")(error.to_string()))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let trusted = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| wrong("tls.ca_file")(error.to_string()))?;
    let verifier = Verifier {
        provider: provider.clone(),
        trusted,
        check: match (mode, &config.tls.ca_file) {
            (SslMode::VerifyFull, _) => Check::Full,
            (SslMode::VerifyCa, _) | (SslMode::Require, Some(_)) => Check::Authority,
            _ => Check::Nothing,
        },
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("tls")(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let (Some(certificate), Some(key)) = (&config.tls.cert_file, &config.tls.key_file) else {
        return Ok(builder.with_no_client_auth());
    };
    let key = PrivateKeyDer::from_pem_slice(&read("tls.key_file", key)?)
        .map_err(|error| wrong("tls.key_file")(error.to_string()))?;
    builder
        .with_client_auth_cert(certificates("tls.cert_file", certificate)?, key)
        .map_err(|error| wrong("tls.cert_file")(error.to_string()))
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, PostgresConfigError> {
    std::fs::read(path).map_err(|source| PostgresConfigError::File {
        key,
        path: path.to_owned(),
        source,
    })
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, PostgresConfigError> {
    let pem = read(key, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(PostgresConfigError::setting(key, "holds no certificate")),
        Err(error) => Err(PostgresConfigError::setting(key, error.to_string())),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Check {
    Nothing,
    Authority,
    Full,
}

/// libpq's three degrees of disbelief. Signatures are checked in each.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trusted: Arc<WebPkiServerVerifier>,
    check: Check,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.check == Check::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let verified = self
            .trusted
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.check == Check::Authority => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ssl_mode_of_an_endpoint_is_ours_to_read() {
        let read = |text: &str| without_ssl_mode(text).unwrap();
        assert_eq!(
            read("postgres://u:p@h/d?sslmode=verify-full&connect_timeout=3"),
            (
                "postgres://u:p@h/d?connect_timeout=3".to_owned(),
                Some(SslMode::VerifyFull)
            )
        );
        assert_eq!(
            read("postgres://u:p@h/d?sslmode=disable"),
            ("postgres://u:p@h/d".to_owned(), Some(SslMode::Disable))
        );
        assert_eq!(
            read("host=h sslmode=require user=u"),
            ("host=h user=u".to_owned(), Some(SslMode::Require))
        );
        assert!(without_ssl_mode("postgres://h/d?sslmode=maybe").is_err());
    }

    #[test]
    fn an_endpoint_that_cannot_be_read_is_not_shown() {
        let config = PostgresConfig {
            endpoint: cupola_config::Secret::new("postgres://user:hunter2@host:nonsense/db"),
            ..PostgresConfig::default()
        };
        let error = pool(&config).err().unwrap().to_string();
        assert!(
            error.contains("`endpoint`") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
