//! What stands before requests of a listener: TLS, and the question whether whoever sends may. Owns both, with what they
//! refused. A request is admitted by its headers, before anything of its body is read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::http::HeaderMap;
use cupola_export::Sample;
use cupola_export::auth::{AuthSettings, Denied, ServerAuth};
use cupola_export::tls::{self, ServerTls, ServerTlsSettings, Stream, TlsError};
use tokio::net::TcpStream;

use super::refusal::Refusal;
use crate::auth::{Authenticators, NoAuthenticator};

/// The guard of one listener. Without settings it lets everybody in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    tls: Option<Arc<ServerTls>>,
    auth: Option<Arc<dyn ServerAuth>>,
    denied: Arc<AtomicU64>,
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
        authenticators: &Authenticators,
    ) -> Result<Guard, GuardError> {
        let tls = match tls {
            Some(settings) => Some(Arc::new(ServerTls::new(settings, tls::HTTP)?)),
            None => None,
        };
        Ok(Guard {
            tls,
            auth: authenticators.server(auth)?,
            denied: Arc::default(),
        })
    }

    /// The connection as it is spoken over; `None` if there is none for want of a handshake.
    pub(crate) async fn open(&self, stream: TcpStream, peer: SocketAddr) -> Option<Stream> {
        match &self.tls {
            Some(tls) => tls.accept(stream, peer).await,
            None => Some(Stream::Plain(stream)),
        }
    }

    /// Whether a request with these headers is taken.
    pub(crate) async fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(auth) = &self.auth else {
            return Ok(());
        };
        auth.authenticate(headers).await.map_err(|denied| match denied {
            Denied::Unknown { challenge } => {
                self.denied.fetch_add(1, Ordering::Relaxed);
                Refusal::Unauthenticated { challenge }
            }
            Denied::Busy => Refusal::Busy,
        })
    }

    /// Adds what is counted.
    pub(crate) fn collect(&self, transport: &'static str, samples: &mut Vec<Sample>) {
        let start = samples.len();
        if let Some(tls) = &self.tls {
            tls.collect(samples);
        }
        if self.auth.is_some() {
            samples.push(Sample::count(
                "cupola_receiver_requests_unauthenticated_total",
                "Requests refused for want of right credentials.",
                self.denied.load(Ordering::Relaxed),
            ));
        }
        for sample in &mut samples[start..] {
            sample.labels.push(("transport", transport.to_owned()));
        }
    }
}
