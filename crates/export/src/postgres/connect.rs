//! The way to the server: the endpoint as the client wants it, TLS, the pool. Refuses to read the environment.

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::{PostgresConfig, PostgresConfigError, SslMode};
use crate::tls::{ClientTls, Identity};

/// Makes the pool, and the TLS of its connections where there may be any; connects when a connection is first wanted.
pub(super) fn pool(config: &PostgresConfig) -> Result<(Pool, Option<ClientTls>), PostgresConfigError> {
    let (mut client, mode) = client_config(config)?;
    client.ssl_mode(match mode {
        SslMode::Disable => tokio_postgres::config::SslMode::Disable,
        SslMode::Allow | SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
        _ => tokio_postgres::config::SslMode::Require,
    });
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let tls = match mode {
        SslMode::Disable => None,
        _ => Some(tls(config, mode)?),
    };
    let manager = match &tls {
        None => Manager::from_config(client, NoTls, recycling),
        Some(tls) => Manager::from_config(client, MakeRustlsConnect::new(tls.config()), recycling),
    };
    let pool = Pool::builder(manager)
        .max_size(config.pool_size)
        .wait_timeout(Some(config.timeout.0))
        .create_timeout(Some(config.timeout.0))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| PostgresConfigError::setting("pool_size", error.to_string()))?;
    Ok((pool, tls))
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

/// libpq's degrees of disbelief. Signatures are checked in each.
fn tls(config: &PostgresConfig, mode: SslMode) -> Result<ClientTls, PostgresConfigError> {
    let names_authority = config.tls.ca_file.is_some() || config.tls.ca_pem.is_some();
    let identity = match mode {
        SslMode::VerifyFull => Identity::Full,
        SslMode::VerifyCa => Identity::Authority,
        SslMode::Require if names_authority => Identity::Authority,
        _ => Identity::Unchecked,
    };
    Ok(ClientTls::checking(&config.tls, identity)?)
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
