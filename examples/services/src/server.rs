//! What the services have in common: serving, asking each other, and saying what went wrong.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cupola_sdk::Cupola;
use cupola_sdk::http::{ClientLayer, SendTraced as _};
use reqwest::RequestBuilder;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqlitePool};
use tokio::net::TcpListener;

use crate::{Failure, Listen, lifeline};

/// Serves routes until the process is to end. The address is the first line of the output.
pub(crate) async fn serve(listen: Listen, routes: Router) -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, listen.port)).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "listening");
    say(&format!("http://{address}"))?;
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(lifeline::ended(listen.tied))
        .await?;
    Ok(())
}

/// Tells whoever started the process.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// A database that several processes share.
pub(crate) async fn database(directory: &Path, name: &str) -> Result<SqlitePool, Failure> {
    let options = SqliteConnectOptions::new()
        .filename(directory.join(name))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        // They are spans.
        .disable_statement_logging();
    Ok(SqlitePool::connect_with(options).await?)
}

/// Why a request was not answered as hoped.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Problem {
        Problem {
            status,
            message: message.into(),
        }
    }
}

impl From<Failure> for Problem {
    fn from(error: Failure) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Problem {
        match error {
            sqlx::Error::RowNotFound => Problem::new(StatusCode::NOT_FOUND, "there is no such thing"),
            error => Problem::from(Failure::from(error)),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        match self.status.is_server_error() {
            true => tracing::error!(error = &self as &dyn std::error::Error, "request failed"),
            false => tracing::warn!(reason = self.message, "request refused"),
        }
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

/// Another service.
#[derive(Clone)]
pub(crate) struct Peer {
    http: reqwest::Client,
    telemetry: ClientLayer,
    base: String,
}

impl Peer {
    pub(crate) fn new(cupola: &Cupola, base: String) -> Result<Peer, Failure> {
        Ok(Peer {
            // All of it is on this machine, which no proxy reaches.
            http: reqwest::Client::builder().no_proxy().build()?,
            telemetry: ClientLayer::new(cupola.sdk()),
            base,
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Json<Value>, Problem> {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> Result<Json<Value>, Problem> {
        let request = self.http.post(format!("{}{path}", self.base));
        self.send(request.json(body)).await
    }

    /// Sends with the context of now in the headers. What the other refuses is refused here too.
    async fn send(&self, request: RequestBuilder) -> Result<Json<Value>, Problem> {
        let failed = |error: reqwest::Error| Problem::new(StatusCode::BAD_GATEWAY, error.to_string());
        let answer = request.send_traced(&self.telemetry).await.map_err(failed)?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if status.is_success() {
            return Ok(Json(body));
        }
        let reason = body["error"].as_str().unwrap_or("no reason was given");
        Err(Problem::new(status, reason))
    }
}
