//! Asking a server over HTTP: a running one, or one made inside this process over a data directory, so that both give
//! the same answers.

use std::sync::Arc;
use std::time::Duration;

use cupola_api::{ApiConfig, ApiServer, ErrorBody, PrometheusText, RunningApi, TENANT_HEADER};
use cupola_query::QueryEngine;
use cupola_store::{Store, StoreConfig, StoreError};
use cupola_telemetry::TenantId;
use reqwest::{Response, StatusCode};

use crate::cli::{LimitArguments, URL_DEFAULT};
use crate::config::Settings;
use crate::failure::Failure;
use crate::server;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest text of an answer that is no error of ours and is shown all the same.
const ERROR_TEXT_MAX: usize = 300;

/// A server that can be asked.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    tenant: TenantId,
    offline: Option<Offline>,
}

struct Offline {
    store: Store,
    api: RunningApi,
}

impl Client {
    /// A running server.
    pub(crate) fn online(url: &str, tenant: TenantId) -> Result<Self, Failure> {
        let parsed = url::Url::parse(url)
            .ok()
            .filter(|parsed| matches!(parsed.scheme(), "http" | "https"));
        if parsed.is_none() {
            return Err(Failure::usage(format!("`{url}` is not the address of a server"))
                .hint("write for example --url http://127.0.0.1:4300"));
        }
        let mut builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        if parsed.is_some_and(|parsed| is_loopback(&parsed)) {
            // No proxy of another machine reaches this one's loopback.
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| Failure::new("cannot make an HTTP client").caused_by(&error))?;
        Ok(Client {
            http,
            base: url.trim_end_matches('/').to_owned(),
            tenant,
            offline: None,
        })
    }

    /// A data directory that nobody else has open.
    pub(crate) async fn offline(settings: &Settings, tenant: TenantId) -> Result<Self, Failure> {
        crate::commands::require_directory(settings)?;
        let budgets = server::budgets(&settings.memory);
        let store = StoreConfig {
            // Asking changes nothing: the log is left to the server that will open the directory next.
            read_only: true,
            ..settings.store_config(budgets.store)
        };
        let (store, _) = Store::open(store).await.map_err(|error| match error {
            StoreError::Locked { .. } => crate::kept::store_failed(&error).hint(format!(
                "or ask the running server instead, with --url {URL_DEFAULT}"
            )),
            error => crate::kept::store_failed(&error),
        })?;
        let engine = QueryEngine::new(store.clone(), server::query_config(settings), budgets.query)
            .map_err(|error| Failure::from_error(&error))?;
        let config = ApiConfig {
            postgres_listen: None,
            flight_listen: None,
            ..ApiConfig::ephemeral()
        };
        let api = ApiServer::start(
            config,
            engine,
            store.clone(),
            Arc::new(|_: &mut PrometheusText| {}),
        )
        .await
        .map_err(|error| Failure::from_error(&error))?;
        let mut client = Client::online(&format!("http://{}", api.addr), tenant)?;
        client.offline = Some(Offline { store, api });
        Ok(client)
    }

    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Response, Failure> {
        self.send(self.http.get(format!("{}{path}", self.base)).query(query))
            .await
    }

    /// A statement; the answer in the media type asked for. Dropping it, or the answer, cancels the statement.
    pub(crate) async fn sql(
        &self,
        sql: &str,
        accept: &str,
        limits: &LimitArguments,
    ) -> Result<Response, Failure> {
        let timeout = limits.timeout.map(|span| span.0.as_millis());
        let body = serde_json::json!({
            "query": sql,
            "limits": {
                "timeout_ms": timeout.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)),
                "rows_max": limits.rows_max,
                "memory_bytes_max": limits.memory_max.map(|size| size.0),
            },
        });
        self.send(
            self.http
                .post(format!("{}/api/v1/sql", self.base))
                .header("accept", accept)
                .json(&body),
        )
        .await
    }

    /// Closes the data directory, if there is one.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        let Some(offline) = self.offline else {
            return Ok(());
        };
        offline.api.shutdown().await;
        offline
            .store
            .shutdown()
            .await
            .map_err(|error| crate::kept::store_failed(&error))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        let response = request
            .header(TENANT_HEADER, self.tenant.as_str())
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refused(response).await)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if !error.is_connect() {
            return Failure::new(format!("no answer from {}", self.base)).caused_by(error);
        }
        Failure::new(format!("no server answers at {}", self.base))
            .cause(root_cause(error))
            .hint("start one with `cupola serve`, or name another with --url")
            .hint("or ask a data directory that no server is using, with --data-dir DIR")
    }
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// What the server said, in its own words.
async fn refused(response: Response) -> Failure {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    match serde_json::from_str::<ErrorBody>(&text) {
        Ok(body) => {
            let failure = Failure::new(body.error.message);
            match body.error.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        Err(_) => {
            let failure = Failure::new(format!("the server answered {status}"));
            let shown: String = text.chars().take(ERROR_TEXT_MAX).collect();
            let failure = if shown.is_empty() {
                failure
            } else {
                failure.cause(crate::terminal::printable(&shown))
            };
            match status {
                StatusCode::NOT_FOUND => {
                    failure.hint("is this the address of Cupola's API? It is usually port 4300")
                }
                _ => failure,
            }
        }
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
