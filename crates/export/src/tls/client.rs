//! The client's side: whom it believes, and how it shows who it is.
//!
//! One rustls configuration serves for the life of an exporter. What changes with its files, the authorities and the own
//! certificate, stands behind the two questions that rustls asks in each handshake; so clients that keep a configuration
//! for ever, as reqwest does, see the change too. Connections that are open go on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tonic::codegen::Service;

use super::settings::TlsSettings;
use super::{Stream, TlsError, material};
use crate::Sample;
use crate::reloading::{Files, LOOK_EVERY, Reloading};

/// How much of a server's identity is checked. Signatures are in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Anybody will do.
    Unchecked,
    /// Signed by a trusted authority, for whatever name.
    Authority,
    /// And made out for the host.
    Full,
}

/// TLS of one client.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    peers: Arc<Reloading<Peers>>,
    name: Option<ServerName<'static>>,
}

/// What is read from files.
struct Peers {
    /// Whom to believe.
    trusted: Arc<WebPkiServerVerifier>,
    /// Who we are.
    own: Option<Arc<CertifiedKey>>,
}

impl ClientTls {
    /// Reads the files. Must be called on a tokio runtime if there are any.
    pub fn new(settings: &TlsSettings) -> Result<ClientTls, TlsError> {
        let identity = match settings.insecure_skip_verify {
            true => Identity::Unchecked,
            false => Identity::Full,
        };
        ClientTls::checking(settings, identity)
    }

    /// With a given amount of trust.
    pub fn checking(settings: &TlsSettings, identity: Identity) -> Result<ClientTls, TlsError> {
        settings.validate()?;
        let common = settings.common();
        let provider = material::provider(&common)?;
        let versions = material::versions(&common)?;
        let name = match settings.server_name_override.as_str() {
            "" => None,
            name => Some(server_name(name)?),
        };
        // Read once more for the error with its key, which the reloading does not keep.
        let mut paths = material::files(&common);
        paths.extend(settings.ca_file.clone());
        peers(settings, &provider, &Files::read(&paths))?;
        let (of, with) = (settings.clone(), provider.clone());
        let every = settings.reload_interval.map_or(LOOK_EVERY, |every| every.0);
        let peers = Reloading::new("tls", paths, every, move |files| {
            peers(&of, &with, files).map_err(|error| error.to_string())
        });
        let peers = Arc::new(peers.map_err(|problem| TlsError::new("ca_file", problem))?);
        let verifier = Verifier {
            provider: provider.clone(),
            peers: peers.clone(),
            name: name.clone(),
            identity,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| TlsError::new("cipher_suites", error.to_string()))?;
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(Own(peers.clone())));
        // A session that is resumed is not checked again, so that it would outlive what it was believed for.
        config.resumption = Resumption::disabled();
        Ok(ClientTls {
            config: Arc::new(config),
            peers,
            name,
        })
    }

    /// For clients that bring their own handshake. They set the protocols by themselves.
    pub fn config(&self) -> ClientConfig {
        (*self.config).clone()
    }

    /// Makes connections that speak HTTP/2, to a host of a URL.
    pub fn connector(&self) -> Connector {
        let mut config = self.config();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Connector {
            tls: TlsConnector::from(Arc::new(config)),
            name: self.name.clone(),
        }
    }

    /// Adds what is counted.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        self.peers.collect(samples);
    }
}

fn peers(settings: &TlsSettings, provider: &Arc<CryptoProvider>, files: &Files) -> Result<Peers, TlsError> {
    let mut roots = RootCertStore::empty();
    match material::pem(
        "ca_file",
        settings.ca_file.as_deref(),
        settings.ca_pem.as_deref(),
        files,
    )? {
        Some(pem) => material::add_authorities(&mut roots, "ca_file", pem)?,
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    if settings.include_system_ca_certs_pool {
        material::add_system(&mut roots)?;
    }
    let trusted = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| TlsError::new("ca_file", error.to_string()))?;
    Ok(Peers {
        trusted,
        own: material::identity(&settings.common(), provider, files)?,
    })
}

pub(super) fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        TlsError::new(
            "server_name_override",
            format!("`{name}` is no name of a host and no address"),
        )
    })
}

/// Says which certificate we show.
#[derive(Debug)]
struct Own(Arc<Reloading<Peers>>);

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.current().own.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.current().own.is_some()
    }
}

/// Says whom we believe.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    peers: Arc<Reloading<Peers>>,
    name: Option<ServerName<'static>>,
    identity: Identity,
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
        if self.identity == Identity::Unchecked {
            return Ok(ServerCertVerified::assertion());
        }
        let name = self.name.as_ref().unwrap_or(name);
        let trusted = self.peers.current().trusted.clone();
        match trusted.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.identity == Identity::Authority => Ok(ServerCertVerified::assertion()),
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

/// Makes connections with TLS to the hosts of URLs, for gRPC.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    name: Option<ServerName<'static>>,
}

type Connecting = Pin<Box<dyn Future<Output = std::io::Result<TokioIo<Stream>>> + Send>>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = std::io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let Connector { tls, name } = self.clone();
        Box::pin(async move {
            const PORT: u16 = 443;
            let unusable = |problem: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, problem);
            let host = uri.host().ok_or_else(|| unusable("the endpoint has no host"))?;
            // Addresses of version 6 stand in brackets.
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let name = match name {
                Some(name) => name,
                None => ServerName::try_from(host.to_owned())
                    .map_err(|_| unusable("the host of the endpoint is no name that certificates have"))?,
            };
            let tcp = TcpStream::connect((host, uri.port_u16().unwrap_or(PORT))).await?;
            tcp.set_nodelay(true)?;
            Ok(TokioIo::new(Stream::Client(Box::new(
                tls.connect(name, tcp).await?,
            ))))
        })
    }
}
