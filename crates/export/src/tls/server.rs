//! The server's side. Owns the handshake, which is bounded in time and number and takes place on the connection's own
//! task, so that accepting never waits for one. A peer that does not finish it is let go.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::settings::ServerTlsSettings;
use super::{Stream, TlsError, material};
use crate::Sample;
use crate::reloading::{Files, LOOK_EVERY, Reloading};

/// Longest that a handshake may take, waiting for a place among the others included.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Handshakes of one listener at the same time. Each may hold some tens of KiB that no budget counts.
pub const HANDSHAKES_MAX: usize = 256;

/// TLS of one listener.
#[derive(Debug)]
pub struct ServerTls {
    config: Reloading<Arc<ServerConfig>>,
    places: Semaphore,
    failed: AtomicU64,
    overdue: AtomicU64,
}

impl ServerTls {
    /// Reads the files; `protocols` are offered by ALPN. Must be called on a tokio runtime if there are files.
    pub fn new(settings: &ServerTlsSettings, protocols: &[&[u8]]) -> Result<ServerTls, TlsError> {
        settings.validate()?;
        let mut paths = material::files(&settings.common());
        paths.extend(settings.client_ca_file.clone());
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|name| name.to_vec()).collect();
        // Read once more for the error with its key, which the reloading does not keep.
        config(settings, &protocols, &Files::read(&paths))?;
        let every = settings.reload_interval.map_or(LOOK_EVERY, |every| every.0);
        let of = settings.clone();
        let reloading = Reloading::new("tls", paths, every, move |files| {
            config(&of, &protocols, files)
                .map(Arc::new)
                .map_err(|error| error.to_string())
        });
        Ok(ServerTls {
            config: reloading.map_err(|problem| TlsError::new("cert_file", problem))?,
            places: Semaphore::new(HANDSHAKES_MAX),
            failed: AtomicU64::new(0),
            overdue: AtomicU64::new(0),
        })
    }

    /// Shakes hands with whoever has connected; `None` if that came to nothing, which has been counted.
    pub async fn accept(&self, stream: TcpStream, peer: SocketAddr) -> Option<Stream> {
        let shaking = async {
            // Whoever connects and says nothing takes no place. `readable` would not do: tokio takes what was accepted just
            // now for readable.
            stream.peek(&mut [0]).await.ok()?;
            let _place = self.places.acquire().await.ok()?;
            let acceptor = TlsAcceptor::from((*self.config.current()).clone());
            match acceptor.accept(stream).await {
                Ok(stream) => Some(Stream::Server(Box::new(stream))),
                Err(error) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%peer, %error, "handshake failed");
                    None
                }
            }
        };
        match tokio::time::timeout(HANDSHAKE_TIME_MAX, shaking).await {
            Ok(stream) => stream,
            Err(_) => {
                self.overdue.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%peer, "handshake not finished in time");
                None
            }
        }
    }

    /// Handshakes that failed, and those that were not finished in time.
    pub fn refused(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.failed), count(&self.overdue))
    }

    /// How often certificates were taken into use anew, and how often changed ones could not be.
    pub fn reloads(&self) -> (u64, u64) {
        self.config.counts()
    }

    /// Adds what is counted.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        const NAME: &str = "cupola_tls_handshakes_failed_total";
        const HELP: &str = "Connections that were ended because their TLS handshake failed or took too long.";
        let (failed, overdue) = self.refused();
        samples.push(Sample::count(NAME, HELP, failed).with("reason", "failed"));
        samples.push(Sample::count(NAME, HELP, overdue).with("reason", "overdue"));
        self.config.collect(samples);
    }
}

fn config(
    settings: &ServerTlsSettings,
    protocols: &[Vec<u8>],
    files: &Files,
) -> Result<ServerConfig, TlsError> {
    let common = settings.common();
    let provider = material::provider(&common)?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&material::versions(&common)?)
        .map_err(|error| TlsError::new("cipher_suites", error.to_string()))?;
    let builder = match &settings.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = client_authorities(settings, file, files)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| TlsError::new("client_ca_file", error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let own = material::identity(&common, &provider, files)?;
    let own = own.ok_or_else(|| TlsError::new("cert_file", "a server needs a certificate"))?;
    let mut config = builder.with_cert_resolver(Arc::new(Own(own)));
    config.alpn_protocols = protocols.to_vec();
    Ok(config)
}

fn client_authorities(
    settings: &ServerTlsSettings,
    file: &Path,
    files: &Files,
) -> Result<RootCertStore, TlsError> {
    const KEY: &str = "client_ca_file";
    let mut roots = RootCertStore::empty();
    let pem = files.get(file).map_err(|problem| TlsError::new(KEY, problem))?;
    material::add_authorities(&mut roots, KEY, pem)?;
    if settings.include_system_ca_certs_pool {
        material::add_system(&mut roots)?;
    }
    Ok(roots)
}

/// The one certificate that a listener has.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}
