//! Settings of the `postgres` exporter. Parsing validates: a configuration that passes makes a sink.

use std::time::Duration;

use cupola_config::Secret;
use cupola_config::units::TimeSpan;
use serde::Deserialize;

use crate::tls::{TlsError, TlsSettings};

/// One PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database?sslmode=require`, or `host=… user=…`. A secret, for its password.
    #[serde(alias = "dsn")]
    pub endpoint: Secret,
    /// Instead of an endpoint.
    pub host: String,
    pub port: u16,
    pub user: String,
    /// Also beside an endpoint that has none.
    pub password: Secret,
    pub database: String,
    pub application_name: String,
    /// As libpq has it. Also in the endpoint, which counts more.
    pub sslmode: SslMode,
    /// Whom to believe is what `sslmode` says.
    pub tls: TlsSettings,
    /// Connections at most.
    pub pool_size: usize,
    /// Where the tables are.
    pub schema: String,
    pub logs_table: String,
    pub traces_table: String,
    pub metrics_table: String,
    /// Remembers which batches were taken, so that one sent again is not stored twice.
    pub batches_table: String,
    /// Makes tables, columns and indexes that are missing.
    pub create_schema: bool,
    /// Without it a batch that was stored while its answer got lost is stored twice.
    pub deduplicate: bool,
    pub partition: Partition,
    /// Drops partitions whose rows are all older.
    pub retention: Option<TimeSpan>,
    /// Of one batch, waiting for a connection included.
    pub timeout: TimeSpan,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            endpoint: Secret::default(),
            host: String::new(),
            port: 5432,
            user: "postgres".to_owned(),
            password: Secret::default(),
            database: String::new(),
            application_name: "cupola".to_owned(),
            sslmode: SslMode::Prefer,
            tls: TlsSettings::default(),
            pool_size: 4,
            schema: "public".to_owned(),
            logs_table: "otel_logs".to_owned(),
            traces_table: "otel_spans".to_owned(),
            metrics_table: "otel_points".to_owned(),
            batches_table: "otel_batches".to_owned(),
            create_schema: true,
            deduplicate: true,
            partition: Partition::None,
            retention: None,
            timeout: TimeSpan(Duration::from_secs(30)),
        }
    }
}

/// How much encryption, and whom to believe. <https://www.postgresql.org/docs/current/libpq-ssl.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    Disable,
    Allow,
    /// Encrypted if the server can; nobody's identity is checked.
    #[default]
    Prefer,
    /// Encrypted; the authority is checked if `tls.ca_file` names one.
    Require,
    /// Signed by a trusted authority.
    VerifyCa,
    /// And made out for the host.
    VerifyFull,
}

impl SslMode {
    pub(super) fn parse(text: &str) -> Option<SslMode> {
        Some(match text {
            "disable" => SslMode::Disable,
            "allow" => SslMode::Allow,
            "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            _ => return None,
        })
    }
}

/// How much time one partition holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Partition {
    #[default]
    None,
    Hour,
    Day,
    Month,
}

/// A setting no sink can be made of.
#[derive(Debug, thiserror::Error)]
pub enum PostgresConfigError {
    #[error("`{key}`: {problem}")]
    Setting { key: &'static str, problem: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl PostgresConfigError {
    pub(super) fn setting(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Setting {
            key,
            problem: problem.into(),
        }
    }
}

/// PostgreSQL cuts longer names off, and partitions append to theirs.
const NAME_BYTES_MAX: usize = 63;
const PARTITION_SUFFIX_BYTES: usize = "_p2026010100".len();

impl PostgresConfig {
    /// Refuses what cannot work, without a look at files or the network.
    pub fn validate(&self) -> Result<(), PostgresConfigError> {
        let wrong = PostgresConfigError::setting;
        if self.endpoint.is_empty() == self.host.is_empty() {
            return Err(wrong("endpoint", "set either `endpoint` or `host`"));
        }
        if self.pool_size == 0 {
            return Err(wrong("pool_size", "at least one connection is needed"));
        }
        if self.timeout.0.is_zero() {
            return Err(wrong("timeout", "must be longer than zero"));
        }
        if self.tls.insecure || self.tls.insecure_skip_verify {
            return Err(wrong(
                "tls",
                "say with `sslmode` whether there is TLS and whom to believe",
            ));
        }
        self.tls.validate()?;
        match (self.retention, self.partition) {
            (Some(_), Partition::None) => {
                return Err(wrong("retention", "needs `partition`: hour, day or month"));
            }
            (Some(span), _) if span.0 < Duration::from_secs(3_600) => {
                return Err(wrong("retention", "must be an hour at least"));
            }
            _ => {}
        }
        let tables = [
            &self.logs_table,
            &self.traces_table,
            &self.metrics_table,
            &self.batches_table,
        ];
        for (key, name) in [
            ("logs_table", 0),
            ("traces_table", 1),
            ("metrics_table", 2),
            ("batches_table", 3),
        ]
        .map(|(key, index)| (key, tables[index]))
        {
            check_name(key, name, NAME_BYTES_MAX - PARTITION_SUFFIX_BYTES)?;
            if tables.iter().filter(|other| **other == name).count() > 1 {
                return Err(PostgresConfigError::setting(
                    key,
                    format!("another table is `{name}` already"),
                ));
            }
        }
        check_name("schema", &self.schema, NAME_BYTES_MAX)
    }
}

fn check_name(key: &'static str, name: &str, bytes_max: usize) -> Result<(), PostgresConfigError> {
    if name.is_empty() || name.len() > bytes_max || name.contains('\0') {
        return Err(PostgresConfigError::setting(
            key,
            format!("a name has 1 to {bytes_max} bytes, `{name}` has {}", name.len()),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<PostgresConfig, String> {
        let config: PostgresConfig = serde_json::from_str(json).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn settings_are_read_and_those_that_cannot_work_are_refused_by_name() {
        let config = read(
            r#"{"dsn":"postgres://a:hunter2@b/c","partition":"day","retention":"30d","sslmode":"verify-full"}"#,
        )
        .unwrap();
        assert_eq!(config.partition, Partition::Day);
        assert_eq!(config.sslmode, SslMode::VerifyFull);
        assert!(!format!("{config:?}").contains("hunter2"));
        for (json, key) in [
            ("{}", "`endpoint`"),
            (r#"{"host":"a","endpoint":"b"}"#, "`endpoint`"),
            (r#"{"host":"a","pool_size":0}"#, "`pool_size`"),
            (r#"{"host":"a","retention":"1d"}"#, "`retention`"),
            (
                r#"{"host":"a","partition":"day","retention":"1m"}"#,
                "`retention`",
            ),
            (r#"{"host":"a","logs_table":""}"#, "`logs_table`"),
            (
                r#"{"host":"a","logs_table":"x","traces_table":"x"}"#,
                "`logs_table`",
            ),
            (r#"{"host":"a","tls":{"cert_file":"x"}}"#, "`tls.key_file`"),
            (r#"{"host":"a","tls":{"insecure":true}}"#, "`tls`"),
            (r#"{"host":"a","tabel":"x"}"#, "`tabel`"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(key), "{json}: {error}");
        }
    }
}
