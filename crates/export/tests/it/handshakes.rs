//! Both ends of TLS with certificates that change, are wrong, or belong to nobody; and peers that mean no good.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cupola_config::units::TimeSpan;
use cupola_export::tls::{
    self, ClientTls, HANDSHAKES_MAX, ServerTls, ServerTlsSettings, TlsSettings, TlsVersion,
};
use cupola_peers::certificates::{Authority, write};
use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::codegen::Service;

/// Tests wait for what changes and never for this.
const SOON: Option<TimeSpan> = Some(TimeSpan(Duration::from_millis(1)));

/// Sends back what it gets, over TLS; each connection is a task.
struct Echo {
    address: SocketAddr,
    tls: Arc<ServerTls>,
}

async fn echo(settings: &ServerTlsSettings) -> Echo {
    let tls = Arc::new(ServerTls::new(settings, tls::HTTP).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tls.clone();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let tls = accepting.clone();
            tokio::spawn(async move {
                if let Some(mut stream) = tls.accept(stream, peer).await {
                    let mut bytes = [0; 64];
                    while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                        stream.write_all(&bytes[..length]).await.unwrap();
                    }
                }
            });
        }
    });
    Echo { address, tls }
}

/// A connection over which a byte went both ways.
async fn connect(echo: &Echo, settings: &TlsSettings) -> std::io::Result<tls::Stream> {
    connect_with(echo, &ClientTls::new(settings).unwrap()).await
}

async fn connect_with(echo: &Echo, client: &ClientTls) -> std::io::Result<tls::Stream> {
    let uri: Uri = format!("https://localhost:{}", echo.address.port())
        .parse()
        .unwrap();
    let mut stream = client.connector().call(uri).await?.into_inner();
    ping(&mut stream).await?;
    Ok(stream)
}

async fn ping(stream: &mut tls::Stream) -> std::io::Result<()> {
    stream.write_all(b"!").await?;
    let mut answer = [0];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, *b"!");
    Ok(())
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

fn server(folder: &Path) -> ServerTlsSettings {
    ServerTlsSettings {
        cert_file: Some(folder.join("server.pem")),
        key_file: Some(folder.join("server.key")),
        reload_interval: SOON,
        ..ServerTlsSettings::default()
    }
}

fn trusting(authority: &Authority) -> TlsSettings {
    TlsSettings {
        ca_pem: Some(authority.pem().to_owned()),
        ..TlsSettings::default()
    }
}

#[tokio::test]
async fn a_new_certificate_of_a_server_is_used_and_connections_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    old.issue(&["localhost"]).write(folder.path(), "server");
    let echo = echo(&server(folder.path())).await;
    let mut open = connect(&echo, &trusting(&old)).await.unwrap();
    assert!(connect(&echo, &trusting(&new)).await.is_err());
    new.issue(&["localhost"]).write(folder.path(), "server");
    // Between the two files the pair does not fit, which may or may not be seen.
    until(|| echo.tls.reloads().0 > 0).await;
    assert!(connect(&echo, &trusting(&new)).await.is_ok());
    assert!(connect(&echo, &trusting(&old)).await.is_err());
    ping(&mut open).await.unwrap();
}

#[tokio::test]
async fn certificates_that_cannot_be_used_leave_the_old_one_in_charge_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    authority.issue(&["localhost"]).write(folder.path(), "server");
    let settings = server(folder.path());
    let echo = echo(&settings).await;
    let certificate = settings.cert_file.unwrap();
    let stranger = authority.issue(&["localhost"]).chain;
    for (number, broken) in ["", "no PEM", stranger.as_str()].into_iter().enumerate() {
        write(&certificate, broken);
        until(|| echo.tls.reloads().1 == number as u64 + 1).await;
        assert!(connect(&echo, &trusting(&authority)).await.is_ok(), "{broken:?}");
    }
    assert_eq!(echo.tls.reloads().0, 0);
    let mut samples = Vec::new();
    echo.tls.collect(&mut samples);
    let failures = samples
        .iter()
        .find(|sample| sample.name == "cupola_credential_reload_failures_total")
        .unwrap();
    assert_eq!(failures.value, 3.0);
}

#[tokio::test]
async fn clients_without_a_certificate_of_the_right_authority_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
    authority.issue(&["localhost"]).write(folder.path(), "server");
    let client_ca_file = folder.path().join("clients.pem");
    write(&client_ca_file, clients.pem());
    let settings = ServerTlsSettings {
        client_ca_file: Some(client_ca_file.clone()),
        ..server(folder.path())
    };
    let echo = echo(&settings).await;
    let as_client = |of: &Authority| {
        let certificate = of.issue(&["agent"]);
        TlsSettings {
            cert_pem: Some(certificate.chain),
            key_pem: Some(certificate.key.as_str().into()),
            ..trusting(&authority)
        }
    };
    let mut open = connect(&echo, &as_client(&clients)).await.unwrap();
    assert!(connect(&echo, &trusting(&authority)).await.is_err());
    assert!(connect(&echo, &as_client(&authority)).await.is_err());
    until(|| echo.tls.refused().0 == 2).await;
    // Another authority of clients: those of the old one are refused from now on.
    write(&client_ca_file, authority.pem());
    until(|| echo.tls.reloads().0 > 0).await;
    assert!(connect(&echo, &as_client(&authority)).await.is_ok());
    assert!(connect(&echo, &as_client(&clients)).await.is_err());
    ping(&mut open).await.unwrap();
}

#[tokio::test]
async fn a_client_uses_new_files_from_the_next_connection_on() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let clients = Authority::new("clients");
    let with = |authority: &Authority| {
        let certificate = authority.issue(&["localhost"]);
        let client_ca_file = folder.path().join("clients.pem");
        write(&client_ca_file, clients.pem());
        ServerTlsSettings {
            cert_pem: Some(certificate.chain),
            key_pem: Some(certificate.key.as_str().into()),
            client_ca_file: Some(client_ca_file),
            ..ServerTlsSettings::default()
        }
    };
    let (first, second) = (echo(&with(&old)).await, echo(&with(&new)).await);
    let ca_file = folder.path().join("ca.pem");
    write(&ca_file, old.pem());
    // Of an authority that no server trusts.
    let (cert_file, key_file) = old.issue(&["agent"]).write(folder.path(), "client");
    let client = ClientTls::new(&TlsSettings {
        ca_file: Some(ca_file.clone()),
        cert_file: Some(cert_file),
        key_file: Some(key_file),
        reload_interval: SOON,
        ..TlsSettings::default()
    })
    .unwrap();
    let reloads = || {
        let mut samples = Vec::new();
        client.collect(&mut samples);
        samples[0].value
    };
    assert!(connect_with(&first, &client).await.is_err());
    clients.issue(&["agent"]).write(folder.path(), "client");
    while connect_with(&first, &client).await.is_err() {}
    assert!(connect_with(&second, &client).await.is_err());
    let before = reloads();
    write(&ca_file, new.pem());
    until(|| reloads() > before).await;
    assert!(connect_with(&second, &client).await.is_ok());
    assert!(connect_with(&first, &client).await.is_err());
}

#[tokio::test]
async fn versions_outside_the_bounds_are_not_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    authority.issue(&["localhost"]).write(folder.path(), "server");
    let modern = echo(&ServerTlsSettings {
        min_version: Some(TlsVersion::V13),
        ..server(folder.path())
    })
    .await;
    let old = TlsSettings {
        max_version: Some(TlsVersion::V12),
        ..trusting(&authority)
    };
    assert!(connect(&modern, &old).await.is_err());
    assert!(connect(&modern, &trusting(&authority)).await.is_ok());
    let chosen = echo(&ServerTlsSettings {
        max_version: Some(TlsVersion::V12),
        cipher_suites: vec!["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256".to_owned()],
        ..server(folder.path())
    })
    .await;
    let stream = connect(&chosen, &trusting(&authority)).await.unwrap();
    let tls::Stream::Client(stream) = stream else {
        panic!("{stream:?}");
    };
    let (_, connection) = stream.get_ref();
    let suite = connection.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(
        format!("{suite:?}"),
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
    );
    assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn the_system_is_trusted_if_it_is_asked_for() {
    let authority = Authority::new("authority");
    let settings = TlsSettings {
        include_system_ca_certs_pool: true,
        ..trusting(&authority)
    };
    let folder = tempfile::tempdir().unwrap();
    authority.issue(&["localhost"]).write(folder.path(), "server");
    let echo = echo(&server(folder.path())).await;
    let client = match ClientTls::new(&settings) {
        Ok(client) => client,
        Err(error) => {
            assert_eq!(error.key, "include_system_ca_certs_pool");
            return eprintln!("skipped: {error}");
        }
    };
    assert!(
        connect_with(&echo, &client).await.is_ok(),
        "beside it, the file counts"
    );
}

/// As many as there are places say nothing, or something else, and others still get theirs when these are let go.
#[tokio::test]
async fn peers_that_never_finish_a_handshake_are_let_go_and_hold_nobody_up_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    authority.issue(&["localhost"]).write(folder.path(), "server");
    let echo = echo(&server(folder.path())).await;
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES_MAX {
        let mut stream = TcpStream::connect(echo.address).await.unwrap();
        // The head of a record that does not come.
        stream.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
        silent.push(stream);
    }
    let mut garbage = TcpStream::connect(echo.address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    // Time passes as soon as everybody waits for it.
    tokio::time::pause();
    let mut bytes = Vec::new();
    for mut stream in silent {
        // Closed by the server, after an alert or without one.
        let _ = stream.read_to_end(&mut bytes).await;
    }
    let _ = garbage.read_to_end(&mut bytes).await;
    tokio::time::resume();
    let (failed, overdue) = echo.tls.refused();
    assert!(overdue >= HANDSHAKES_MAX as u64, "{failed} {overdue}");
    assert!(connect(&echo, &trusting(&authority)).await.is_ok());
}

/// Nobody has to be let go first: who says nothing has no place.
#[tokio::test]
async fn peers_that_say_nothing_take_no_place() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("authority");
    authority.issue(&["localhost"]).write(folder.path(), "server");
    let echo = echo(&server(folder.path())).await;
    let mut silent = Vec::new();
    for _ in 0..=HANDSHAKES_MAX {
        silent.push(TcpStream::connect(echo.address).await.unwrap());
    }
    assert!(connect(&echo, &trusting(&authority)).await.is_ok());
    assert_eq!(echo.tls.refused(), (0, 0));
}

#[tokio::test]
async fn a_key_that_is_not_of_the_certificate_is_told_at_the_start_by_its_key() {
    let authority = Authority::new("authority");
    let (one, other) = (authority.issue(&["localhost"]), authority.issue(&["localhost"]));
    let settings = ServerTlsSettings {
        cert_pem: Some(one.chain),
        key_pem: Some(other.key.as_str().into()),
        ..ServerTlsSettings::default()
    };
    let error = ServerTls::new(&settings, tls::HTTP).unwrap_err();
    assert_eq!(error.key, "key_file");
    let missing = ServerTlsSettings {
        cert_file: Some("/nowhere/server.pem".into()),
        key_pem: Some(other.key.as_str().into()),
        ..ServerTlsSettings::default()
    };
    let error = ServerTls::new(&missing, tls::HTTP).unwrap_err();
    assert!(error.problem.contains("/nowhere/server.pem"), "{error}");
}
