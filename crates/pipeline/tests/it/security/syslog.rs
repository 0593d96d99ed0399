//! Syslog over TLS: messages arrive through OpenSSL's client and through rustls', strangers do not, and nobody is held up by
//! a handshake that does not end.

use std::process::{Command, Stdio};
use std::sync::Arc;

use cupola_export::tls::{ClientTls, TlsSettings};
use cupola_peers::{found, peer_or_skip};
use cupola_pipeline::graph::Pipelines;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Secured, address, count, start};
use crate::graph::bench_components::{Bench, bodies};

/// A receiver of messages that follow counts of octets; `more` stands behind what `tls` and `tcp` have anyway.
fn receiver(secured: &Secured, more_tls: &str, more_tcp: &str) -> String {
    let tls = secured.server().replace('}', &format!("{more_tls}}}"));
    format!(
        "receivers: {{syslog: {{tcp: {{listen_address: '127.0.0.1:0', tls: {tls}{more_tcp}}}, protocol: rfc5424, \
         enable_octet_counting: true}}}}\nexporters: {{keep: }}\n\
         service: {{pipelines: {{logs: {{receivers: [syslog], exporters: [keep]}}}}}}\n"
    )
}

/// A message with its count.
fn counted(text: &str) -> String {
    let message = format!("<14>1 2003-08-24T05:14:15Z h a - - - {text}");
    format!("{} {message}", message.len())
}

/// The texts of so many records, when they are there.
async fn arrived(bench: &Bench, least: usize) -> Vec<String> {
    loop {
        let bodies = bodies(&bench.arrived("keep"));
        if bodies.len() >= least {
            let text = |body: &String| body.rsplit_once("- - - ").map(|(_, text)| text.to_owned());
            return bodies.iter().filter_map(text).collect();
        }
        tokio::task::yield_now().await;
    }
}

async fn until(pipelines: &Pipelines, name: &str, least: f64) {
    while count(pipelines, name) < least {
        tokio::task::yield_now().await;
    }
}

async fn connect(pipelines: &Pipelines, tls: &ClientTls) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address(pipelines, "syslog", "tcp")).await?;
    let connector = TlsConnector::from(Arc::new(tls.config()));
    connector.connect("localhost".try_into().unwrap(), stream).await
}

/// Whether the message was taken over a connection of its own.
async fn send(pipelines: &Pipelines, tls: &ClientTls, text: &str) -> std::io::Result<()> {
    let mut stream = connect(pipelines, tls).await?;
    stream.write_all(counted(text).as_bytes()).await?;
    stream.shutdown().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_sends_messages_with_counts_of_octets() {
    let openssl = peer_or_skip!(found("openssl", &["/usr/bin"]).ok_or("there is no openssl".to_owned()));
    let (secured, bench) = (Secured::new(), Bench::default());
    let pipelines = start(&bench, &receiver(&secured, "", "")).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = Command::new(&openssl)
            .args([
                "s_client",
                "-quiet",
                "-no_ign_eof",
                "-verify_return_error",
                version,
            ])
            .args(["-servername", "localhost", "-verify_hostname", "localhost"])
            .args(["-connect", &address(&pipelines, "syslog", "tcp").to_string()])
            .arg("-CAfile")
            .arg(secured.path("ca.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let messages: String = (0..1000)
            .map(|number| counted(&format!("{version}\n{number}")))
            .collect();
        let mut stdin = client.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, messages.as_bytes()).unwrap();
        drop(stdin);
        assert!(tokio::task::block_in_place(|| client.wait()).unwrap().success());
    }
    let expected: Vec<String> = ["-tls1_2", "-tls1_3"]
        .iter()
        .flat_map(|version| (0..1000).map(move |number| format!("{version}\n{number}")))
        .collect();
    assert_eq!(arrived(&bench, expected.len()).await, expected);
    assert_eq!(count(&pipelines, "cupola_tls_handshakes_failed_total"), 0.0);
    pipelines.shutdown().await;
}

#[tokio::test]
async fn whoever_shows_no_certificate_of_the_authority_is_refused_and_counted() {
    let (secured, bench) = (Secured::new(), Bench::default());
    let mutual = format!(", client_ca_file: {}", secured.path("ca.pem").display());
    let pipelines = start(&bench, &receiver(&secured, &mutual, "")).await;
    let stranger = cupola_peers::certificates::Authority::new("another authority").issue(&["agent"]);
    let known = secured.authority.issue(&["agent"]);
    let tls = |certificate: Option<&cupola_peers::certificates::Certificate>| {
        let settings = TlsSettings {
            ca_pem: Some(secured.authority.pem().to_owned()),
            cert_pem: certificate.map(|certificate| certificate.chain.clone()),
            key_pem: certificate.map(|certificate| certificate.key.as_str().into()),
            ..TlsSettings::default()
        };
        ClientTls::new(&settings).unwrap()
    };
    for (refused, wrong) in [None, Some(&stranger)].into_iter().enumerate() {
        // With TLS 1.3 a client learns of it when it reads.
        if let Ok(mut stream) = connect(&pipelines, &tls(wrong)).await {
            let _ = stream.write_all(counted("not known").as_bytes()).await;
            assert!(stream.read(&mut [0]).await.is_err());
        }
        until(
            &pipelines,
            "cupola_tls_handshakes_failed_total",
            refused as f64 + 1.0,
        )
        .await;
    }
    // In the clear there is nothing to be had either.
    let mut plain = TcpStream::connect(address(&pipelines, "syslog", "tcp"))
        .await
        .unwrap();
    plain.write_all(counted("in the clear").as_bytes()).await.unwrap();
    until(&pipelines, "cupola_tls_handshakes_failed_total", 3.0).await;
    send(&pipelines, &tls(Some(&known)), "known").await.unwrap();
    assert_eq!(arrived(&bench, 1).await, ["known"]);
    pipelines.shutdown().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_holds_up_nobody_and_not_the_end() {
    let (secured, bench) = (Secured::new(), Bench::default());
    let pipelines = start(&bench, &receiver(&secured, "", "")).await;
    let mut silent = Vec::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(address(&pipelines, "syslog", "tcp"))
            .await
            .unwrap();
        // Some say nothing at all; there are places for the others and not for all.
        if number % 2 == 0 {
            stream.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
        }
        silent.push(stream);
    }
    send(&pipelines, &secured.tls(), "meanwhile").await.unwrap();
    assert_eq!(arrived(&bench, 1).await, ["meanwhile"]);
    assert_eq!(
        count(&pipelines, "cupola_tls_handshakes_failed_total"),
        0.0,
        "it did not wait for others to be let go"
    );
    pipelines.shutdown().await;
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_gives_its_place_back() {
    let (secured, bench) = (Secured::new(), Bench::default());
    let pipelines = start(&bench, &receiver(&secured, "", ", max_connections: 1")).await;
    let mut silent = TcpStream::connect(address(&pipelines, "syslog", "tcp"))
        .await
        .unwrap();
    until(&pipelines, "cupola_receiver_connections_total", 1.0).await;
    // Time passes as soon as everybody waits for it.
    tokio::time::pause();
    let _ = silent.read_to_end(&mut Vec::new()).await;
    tokio::time::resume();
    assert_eq!(count(&pipelines, "cupola_tls_handshakes_failed_total"), 1.0);
    send(&pipelines, &secured.tls(), "after it").await.unwrap();
    assert_eq!(arrived(&bench, 1).await, ["after it"]);
    pipelines.shutdown().await;
}

#[tokio::test]
async fn a_changed_certificate_is_used_by_the_next_connection() {
    let (secured, bench) = (Secured::new(), Bench::default());
    let pipelines = start(&bench, &receiver(&secured, ", reload_interval: 10ms", "")).await;
    let mut open = connect(&pipelines, &secured.tls()).await.unwrap();
    let shown = |stream: &TlsStream<TcpStream>| {
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        chain[0].to_vec()
    };
    let before = shown(&open);
    secured
        .authority
        .issue(&["localhost"])
        .write(secured.folder.path(), "server");
    loop {
        let stream = connect(&pipelines, &secured.tls()).await.unwrap();
        if shown(&stream) != before {
            break;
        }
    }
    // What is open goes on.
    open.write_all(counted("over the old one").as_bytes())
        .await
        .unwrap();
    open.shutdown().await.unwrap();
    assert_eq!(arrived(&bench, 1).await, ["over the old one"]);
    // One that is none changes nothing.
    std::fs::write(secured.path("server.pem"), "nothing").unwrap();
    until(&pipelines, "cupola_credential_reload_failures_total", 1.0).await;
    send(&pipelines, &secured.tls(), "over the new one")
        .await
        .unwrap();
    assert_eq!(arrived(&bench, 2).await[1..], ["over the new one"]);
    pipelines.shutdown().await;
}
