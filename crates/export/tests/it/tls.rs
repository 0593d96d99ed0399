//! `https://` endpoints: whom the sink trusts, and how it shows who it is.

use std::net::SocketAddr;
use std::sync::Arc;

use cupola_export::otlp::OtlpSink;
use cupola_export::tls::TlsSettings;
use cupola_export::{Accepted, SendError, Sink};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use crate::support::{PROTOCOLS, Server, logs};

const CA: &[u8] = include_bytes!("../fixtures/tls/ca.pem");
const SERVER: &[u8] = include_bytes!("../fixtures/tls/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("../fixtures/tls/server.key.pem");
const CLIENT: &[u8] = include_bytes!("../fixtures/tls/client.pem");
const CLIENT_KEY: &[u8] = include_bytes!("../fixtures/tls/client.key.pem");

/// Speaks TLS in front of `plain`.
pub(crate) async fn start_tls(plain: SocketAddr, wants_client_certificate: bool) -> SocketAddr {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if wants_client_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(CA).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let certificate = CertificateDer::from_pem_slice(SERVER).unwrap();
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY).unwrap();
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that is not convinced hangs up; that is for the test to see.
                let Ok(mut secure) = acceptor.accept(stream).await else {
                    return;
                };
                let mut plain = TcpStream::connect(plain).await.unwrap();
                let _ = copy_bidirectional(&mut secure, &mut plain).await;
            });
        }
    });
    address
}

async fn send(server: &Server, address: SocketAddr, tls: TlsSettings) -> Vec<Result<Accepted, SendError>> {
    let mut results = Vec::new();
    for protocol in PROTOCOLS {
        let mut config = server.config(protocol);
        config.endpoint = format!("https://localhost:{}", address.port());
        config.tls = tls.clone();
        config.retry.enabled = false;
        results.push(OtlpSink::new(config).unwrap().send(logs(1, 1, 3, 0)).await);
    }
    results
}

fn text(pem: &[u8]) -> String {
    String::from_utf8(pem.to_vec()).unwrap()
}

fn trusting() -> TlsSettings {
    TlsSettings {
        ca_pem: Some(text(CA)),
        ..TlsSettings::default()
    }
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_is_accepted() {
    let server = Server::start([]).await;
    let address = start_tls(server.address, false).await;
    assert!(
        send(&server, address, trusting())
            .await
            .iter()
            .all(|result| *result == Ok(Accepted::all()))
    );
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_not() {
    let server = Server::start([]).await;
    let address = start_tls(server.address, false).await;
    let results = send(&server, address, TlsSettings::default()).await;
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Err(SendError::Retryable { .. }))),
        "{results:?}"
    );
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn the_sink_shows_its_own_certificate_when_it_has_one() {
    let server = Server::start([]).await;
    let address = start_tls(server.address, true).await;
    let results = send(&server, address, trusting()).await;
    assert!(results.iter().all(Result::is_err), "{results:?}");
    assert!(server.requests().is_empty());

    let known = TlsSettings {
        cert_pem: Some(text(CLIENT)),
        key_pem: Some(text(CLIENT_KEY).as_str().into()),
        ..trusting()
    };
    let results = send(&server, address, known).await;
    assert!(
        results.iter().all(|result| *result == Ok(Accepted::all())),
        "{results:?}"
    );
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_taken_if_the_settings_name_it_or_take_any() {
    let server = Server::start([]).await;
    let address = start_tls(server.address, false).await;
    let elsewhere = |tls: TlsSettings| {
        let server = &server;
        async move {
            let mut results = Vec::new();
            for protocol in PROTOCOLS {
                let mut config = server.config(protocol);
                // The certificate is made out for `localhost`.
                config.endpoint = format!("https://127.0.0.1:{}", address.port());
                config.tls = tls.clone();
                config.retry.enabled = false;
                results.push(OtlpSink::new(config).unwrap().send(logs(1, 1, 3, 0)).await);
            }
            results
        }
    };
    let results = elsewhere(trusting()).await;
    assert!(results.iter().all(Result::is_err), "{results:?}");
    assert!(server.requests().is_empty());
    let named = TlsSettings {
        server_name_override: "localhost".to_owned(),
        ..trusting()
    };
    let results = elsewhere(named).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let any = TlsSettings {
        insecure_skip_verify: true,
        ..TlsSettings::default()
    };
    let results = elsewhere(any).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(server.requests().len(), 6);
}
