//! Who may send, and who we are to whom we send to: the two sides of an authenticator, and what clients have of it.
//!
//! The Collector calls them extensions: a component says `auth: {authenticator: NAME}`. Owns the client's side. Refuses to
//! know how a server finds out whether credentials are right: that is of whoever listens.

mod basic;
mod bearer;
mod headers;
mod oauth2;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cupola_config::ComponentId;
use cupola_telemetry::{Batch, Client, TenantId};
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;

pub use basic::{BasicClient, ClientCredentials};
pub use bearer::{BearerClient, BearerSettings, Tokens};
pub use headers::{HeaderAction, HeaderSetting, HeadersSetter, HeadersSetterSettings};
pub use oauth2::{OAuth2Client, OAuth2Settings};

use crate::{Sample, SendError};

/// `auth` of a component.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// The extension.
    pub authenticator: ComponentId,
    /// Of servers over HTTP. Read and of no effect: credentials are in headers.
    #[serde(default)]
    pub request_params: Vec<String>,
}

/// Credentials that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no credentials: {reason}")]
pub struct NoCredentials {
    pub reason: String,
    /// There are none for the data of this batch, and never will be.
    pub lasting: bool,
}

impl NoCredentials {
    /// There may be another time.
    pub fn now(reason: String) -> NoCredentials {
        NoCredentials {
            reason,
            lasting: false,
        }
    }

    /// What is known of the sender of a batch gives none.
    pub fn of_batch(reason: String) -> NoCredentials {
        NoCredentials {
            reason,
            lasting: true,
        }
    }
}

impl From<NoCredentials> for SendError {
    fn from(problem: NoCredentials) -> SendError {
        match problem.lasting {
            // Others must not wait for it.
            true => SendError::permanent(problem.to_string()),
            false => SendError::retryable(problem.to_string()),
        }
    }
}

/// Whose data a request carries, for authenticators that go by it.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'b> {
    pub tenant: &'b TenantId,
    /// What is known of who sent the data to us.
    pub client: Option<&'b Client>,
}

impl<'b> From<&'b Batch> for Sender<'b> {
    fn from(batch: &'b Batch) -> Sender<'b> {
        Sender {
            tenant: batch.tenant(),
            client: batch.client().map(|client| &**client),
        }
    }
}

/// Gives requests their credentials.
#[async_trait]
pub trait ClientAuth: fmt::Debug + Send + Sync {
    /// Adds them to the headers of a request.
    async fn authorize(&self, sender: Sender<'_>, headers: &mut HeaderMap) -> Result<(), NoCredentials>;

    /// The destination did not know us by these headers. Whether others are to be had, so that asking again makes sense.
    async fn refused(&self, _headers: &HeaderMap) -> bool {
        false
    }

    fn collect(&self, _samples: &mut Vec<Sample>) {}
}

/// What an authenticator found out of whoever makes a request: attributes by the Collector's names, such as `username`.
pub type Identity = Vec<(String, String)>;

/// What a listener asks whether a request may be made.
#[async_trait]
pub trait ServerAuth: fmt::Debug + Send + Sync {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Identity, Denied>;

    fn collect(&self, _samples: &mut Vec<Sample>) {}
}

/// Why a request may not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It has no credentials, or wrong ones; `WWW-Authenticate` says what is wanted.
    Unknown { challenge: HeaderValue },
    /// Too many are being checked; it may come again.
    Busy,
}

/// The credentials of an exporter: none, or those of an authenticator.
#[derive(Clone, Debug, Default)]
pub struct Credentials(Option<Arc<dyn ClientAuth>>);

impl Credentials {
    pub fn of(auth: Arc<dyn ClientAuth>) -> Credentials {
        Credentials(Some(auth))
    }

    /// Sends a request with its headers, to which credentials are added. If it `is_refused` for them, and others are to be
    /// had, it is sent once more with those.
    pub(crate) async fn send<A, E, Sending>(
        &self,
        sender: Sender<'_>,
        headers: HeaderMap,
        send: impl Fn(HeaderMap) -> Sending,
        is_refused: impl Fn(&A) -> bool,
    ) -> Result<A, E>
    where
        E: From<NoCredentials>,
        Sending: Future<Output = Result<A, E>>,
    {
        let Some(auth) = &self.0 else {
            return send(headers).await;
        };
        let mut authorized = headers.clone();
        auth.authorize(sender, &mut authorized).await?;
        let answer = send(authorized.clone()).await?;
        if !is_refused(&answer) || !auth.refused(&authorized).await {
            return Ok(answer);
        }
        let mut renewed = headers;
        auth.authorize(sender, &mut renewed).await?;
        send(renewed).await
    }
}

/// A value of a header that no log shows.
pub(crate) fn sensitive(text: &str) -> Result<HeaderValue, NoCredentials> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| NoCredentials::now("they have characters that a header cannot have".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
