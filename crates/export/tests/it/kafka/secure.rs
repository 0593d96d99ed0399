//! TLS and SASL with a real broker: who is let in, whom we trust, and that neither is skipped.

use std::path::PathBuf;
use std::time::Duration;

use cupola_config::Secret;
use cupola_config::units::TimeSpan;
use cupola_export::kafka::connection::{Auth, PlainText, Sasl};
use cupola_export::kafka::{KafkaConfig, KafkaSink};
use cupola_export::tls::TlsSettings;
use cupola_export::{Accepted, SendError, Sink};
use cupola_peers::kafka::{PASSWORD, Secure, Settings, USER};
use cupola_peers::peer_or_skip;

use crate::support::logs;

const CA: &str = include_str!("../../fixtures/tls/ca.pem");
const SERVER: &str = include_str!("../../fixtures/tls/server.pem");
const SERVER_KEY: &str = include_str!("../../fixtures/tls/server.key.pem");
const CLIENT: &str = include_str!("../../fixtures/tls/client.pem");
const CLIENT_KEY: &str = include_str!("../../fixtures/tls/client.key.pem");

fn fixture(name: &str) -> Option<PathBuf> {
    Some(
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/tls")
            .join(name),
    )
}

fn config(broker: String, tls: Option<TlsSettings>, auth: Auth) -> KafkaConfig {
    let mut config = KafkaConfig {
        brokers: vec![broker],
        tls,
        auth,
        timeout: TimeSpan(Duration::from_secs(60)),
        ..KafkaConfig::default()
    };
    config.logs.topic = "secure".to_owned();
    config
}

fn sasl(mechanism: &str, password: &str) -> Auth {
    Auth {
        sasl: Some(Sasl {
            username: USER.to_owned(),
            password: Secret::new(password),
            mechanism: mechanism.to_owned(),
            ..Sasl::default()
        }),
        ..Auth::default()
    }
}

fn authority() -> Option<TlsSettings> {
    Some(TlsSettings {
        ca_file: fixture("ca.pem"),
        ..TlsSettings::default()
    })
}

async fn is_taken(config: KafkaConfig) {
    let about = format!("{:?} {:?} {:?}", config.brokers, config.tls, config.auth);
    config.validate().unwrap();
    let answer = KafkaSink::new(config).unwrap().send(logs(1, 1, 1, 0)).await;
    assert_eq!(answer, Ok(Accepted::all()), "{about}");
}

/// The broker is not reached, which may change, so that the batch is kept.
async fn is_not_taken(mut config: KafkaConfig) {
    config.timeout = TimeSpan(Duration::from_secs(3));
    let about = format!("{:?} {:?} {:?}", config.brokers, config.tls, config.auth);
    let answer = KafkaSink::new(config).unwrap().send(logs(1, 1, 1, 0)).await;
    assert!(
        matches!(answer, Err(SendError::Retryable { .. })),
        "{about}: {answer:?}"
    );
}

#[tokio::test]
async fn tls_and_sasl_let_in_who_may_and_nobody_else() {
    let peer = peer_or_skip!(cupola_peers::kafka::start_with(&Settings {
        message_bytes_max: 0,
        secure: Some(Secure {
            authority: CA,
            certificate: SERVER,
            key: SERVER_KEY,
        }),
    }));
    let nobody = Auth::default;
    is_taken(config(peer.tls(), authority(), nobody())).await;
    let pem = TlsSettings {
        ca_pem: Some(CA.to_owned()),
        ..TlsSettings::default()
    };
    is_taken(config(peer.tls(), Some(pem.clone()), nobody())).await;
    let older = Auth {
        tls: authority(),
        ..nobody()
    };
    is_taken(config(peer.tls(), None, older)).await;
    // The system does not know the authority, and the certificate is not for an address.
    is_not_taken(config(peer.tls(), Some(TlsSettings::default()), nobody())).await;
    let by_address = peer.tls().replace("localhost", "127.0.0.1");
    is_not_taken(config(by_address.clone(), authority(), nobody())).await;
    let trusting = TlsSettings {
        insecure_skip_verify: true,
        ..TlsSettings::default()
    };
    is_taken(config(by_address, Some(trusting), nobody())).await;
    is_not_taken(config(peer.tls(), None, nobody())).await;

    is_not_taken(config(peer.mutual_tls(), authority(), nobody())).await;
    let certificate = TlsSettings {
        cert_file: fixture("client.pem"),
        key_file: fixture("client.key.pem"),
        ..authority().unwrap()
    };
    is_taken(config(peer.mutual_tls(), Some(certificate), nobody())).await;
    let certificate = TlsSettings {
        cert_pem: Some(CLIENT.to_owned()),
        key_pem: Some(Secret::new(CLIENT_KEY)),
        ..pem
    };
    is_taken(config(peer.mutual_tls(), Some(certificate), nobody())).await;

    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        is_taken(config(peer.sasl_tls(), authority(), sasl(mechanism, PASSWORD))).await;
        is_taken(config(peer.sasl(), None, sasl(mechanism, PASSWORD))).await;
        is_not_taken(config(peer.sasl_tls(), authority(), sasl(mechanism, "wrong"))).await;
    }
    // As in the Collector, TLS is not off where an authority is named: a password does not go out in the clear.
    let insecure_with_authority = Some(TlsSettings {
        insecure: true,
        ..authority().unwrap()
    });
    let known = || sasl("PLAIN", PASSWORD);
    is_taken(config(peer.sasl_tls(), insecure_with_authority.clone(), known())).await;
    is_not_taken(config(peer.sasl(), insecure_with_authority, known())).await;
    let plain_text = Auth {
        plain_text: Some(PlainText {
            username: USER.to_owned(),
            password: Secret::new(PASSWORD),
        }),
        ..nobody()
    };
    let insecure = TlsSettings {
        insecure: true,
        ..TlsSettings::default()
    };
    is_taken(config(peer.sasl(), Some(insecure), plain_text)).await;
    is_not_taken(config(peer.sasl(), None, nobody())).await;
}
