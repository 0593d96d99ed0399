//! What stands before requests of a listener: TLS, and the question whether whoever sends may. Owns both, with what they
//! refused, and what is kept of whoever sends. A request is admitted by its headers, before anything of its body is read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::http::HeaderMap;
use cupola_export::Sample;
use cupola_export::auth::{AuthSettings, Denied, Identity, ServerAuth};
use cupola_export::tls::{self, ServerTls, ServerTlsSettings, Stream, TlsError};
use cupola_telemetry::Client;
use tokio::net::TcpStream;

use super::refusal::Refusal;
use crate::auth::{Authenticators, NoAuthenticator};

/// The guard of one listener. Without settings it lets everybody in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    tls: Option<Arc<ServerTls>>,
    auth: Option<Arc<dyn ServerAuth>>,
    /// Headers are kept with the data.
    include_metadata: bool,
    denied: Arc<AtomicU64>,
    /// Not told whether they may, because too many were being asked about.
    busy: Arc<AtomicU64>,
}

/// A guard that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Auth(#[from] NoAuthenticator),
}

impl Guard {
    pub(crate) fn new(
        tls: Option<&ServerTlsSettings>,
        auth: Option<&AuthSettings>,
        include_metadata: bool,
        authenticators: &Authenticators,
    ) -> Result<Guard, GuardError> {
        let tls = match tls {
            Some(settings) => Some(Arc::new(ServerTls::new(settings, tls::HTTP)?)),
            None => None,
        };
        Ok(Guard {
            tls,
            auth: authenticators.server(auth)?,
            include_metadata,
            denied: Arc::default(),
            busy: Arc::default(),
        })
    }

    /// The connection as it is spoken over; `None` if there is none for want of a handshake.
    pub(crate) async fn open(&self, stream: TcpStream, peer: SocketAddr) -> Option<Stream> {
        match &self.tls {
            Some(tls) => tls.accept(stream, peer).await,
            None => Some(Stream::Plain(stream)),
        }
    }

    /// Who sends a request with these headers, from the address `peer`, if it is taken.
    pub(crate) async fn admit(
        &self,
        peer: &Arc<Client>,
        headers: &HeaderMap,
    ) -> Result<Arc<Client>, Refusal> {
        let identity = self.identity(headers).await?;
        if identity.is_empty() && !self.include_metadata {
            return Ok(peer.clone());
        }
        let kept = headers.iter().filter(|_| self.include_metadata);
        // What is no text could not be sent on either.
        let texts = kept.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let client = (**peer).clone().with_metadata(texts);
        Ok(Arc::new(client.with_identity(identity)))
    }

    async fn identity(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        let Some(auth) = &self.auth else {
            return Ok(Identity::new());
        };
        auth.authenticate(headers).await.map_err(|denied| match denied {
            Denied::Unknown { challenge } => {
                self.denied.fetch_add(1, Ordering::Relaxed);
                Refusal::Unauthenticated { challenge }
            }
            Denied::Busy => {
                self.busy.fetch_add(1, Ordering::Relaxed);
                Refusal::Busy
            }
        })
    }

    /// Adds what is counted.
    pub(crate) fn collect(&self, transport: &'static str, samples: &mut Vec<Sample>) {
        let start = samples.len();
        if let Some(tls) = &self.tls {
            tls.collect(samples);
        }
        if self.auth.is_some() {
            for (name, help, count) in [
                (
                    "cupola_receiver_requests_unauthenticated_total",
                    "Requests refused for want of right credentials.",
                    &self.denied,
                ),
                (
                    "cupola_receiver_requests_auth_busy_total",
                    "Requests refused for now because too many credentials were being checked.",
                    &self.busy,
                ),
            ] {
                samples.push(Sample::count(name, help, count.load(Ordering::Relaxed)));
            }
        }
        for sample in &mut samples[start..] {
            sample.labels.push(("transport", transport.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use cupola_config::ComponentId;

    use super::*;

    /// Is too busy to say who may.
    #[derive(Debug)]
    struct Busy;

    #[async_trait]
    impl ServerAuth for Busy {
        async fn authenticate(&self, _: &HeaderMap) -> Result<Identity, Denied> {
            Err(Denied::Busy)
        }
    }

    #[tokio::test]
    async fn requests_that_nobody_has_time_to_check_are_counted_by_themselves() {
        let id: ComponentId = "basicauth".parse().unwrap();
        let mut authenticators = Authenticators::default();
        authenticators.add_server(id.clone(), Arc::new(Busy));
        let settings = AuthSettings {
            authenticator: id,
            request_params: Vec::new(),
        };
        let guard = Guard::new(None, Some(&settings), false, &authenticators).unwrap();
        let admitted = guard.admit(&Arc::default(), &HeaderMap::new()).await;
        assert!(matches!(admitted, Err(Refusal::Busy)));
        let mut samples = Vec::new();
        guard.collect("http", &mut samples);
        let count = |name| samples.iter().find(|sample| sample.name == name).unwrap().value;
        assert_eq!(count("cupola_receiver_requests_auth_busy_total"), 1.0);
        assert_eq!(count("cupola_receiver_requests_unauthenticated_total"), 0.0);
    }
}
