//! What goes over the wire: paths, headers, compression, tenants, and settings that are refused.

use cupola_export::otlp::{Compression, OtlpConfig, OtlpConfigError, OtlpSink, Protocol};
use cupola_export::tls::TlsSettings;
use cupola_export::{Accepted, SendError, Sink};
use cupola_telemetry::{Batch, TenantId};

use crate::support::{PROTOCOLS, Server, flat_logs, logs};

#[tokio::test]
async fn every_protocol_and_compression_carries_the_same_records() {
    let batch = logs(2, 2, 50, 10);
    for protocol in PROTOCOLS {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let server = Server::start([]).await;
            let mut config = server.config(protocol);
            config.compression = compression;
            assert_eq!(
                OtlpSink::new(config).unwrap().send(batch.clone()).await,
                Ok(Accepted::all())
            );
            let request = server.requests().remove(0);
            let (kind, path) = match protocol {
                Protocol::Grpc => (
                    "application/grpc",
                    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
                ),
                Protocol::HttpProtobuf => ("application/x-protobuf", "/v1/logs"),
                Protocol::HttpJson => ("application/json", "/v1/logs"),
            };
            assert_eq!(
                (request.header("content-type"), request.path.as_str()),
                (kind, path)
            );
            if compression != Compression::None {
                assert!(
                    request.body.len() < request.plain().len() / 4,
                    "{protocol:?} {compression:?}"
                );
            }
            assert_eq!(
                flat_logs(&[request.batch()]),
                flat_logs(std::slice::from_ref(&batch))
            );
        }
    }
}

#[tokio::test]
async fn headers_and_the_tenant_are_sent() {
    let one = logs(1, 1, 1, 0);
    let tenant = TenantId::parse("team-a").unwrap();
    let batch = Batch::from_canonical(one.signal(), tenant, one.payload().clone(), 1);
    for protocol in PROTOCOLS {
        let server = Server::start([]).await;
        let mut config = server.config(protocol);
        config.headers = vec![("Authorization".to_owned(), "Bearer secret".into())];
        OtlpSink::new(config.clone())
            .unwrap()
            .send(batch.clone())
            .await
            .unwrap();
        config.tenant_header = false;
        OtlpSink::new(config).unwrap().send(batch.clone()).await.unwrap();
        let requests = server.requests();
        assert!(
            requests
                .iter()
                .all(|request| request.header("authorization") == "Bearer secret")
        );
        assert_eq!(requests[0].header("x-scope-orgid"), "team-a");
        assert_eq!(requests[1].header("x-scope-orgid"), "");
    }
}

#[tokio::test]
async fn an_endpoint_may_have_a_path_before_that_of_the_signal() {
    let server = Server::start([]).await;
    let mut config = server.config(Protocol::HttpProtobuf);
    config.endpoint.push_str("/otlp/");
    OtlpSink::new(config)
        .unwrap()
        .send(logs(1, 1, 1, 0))
        .await
        .unwrap();
    assert_eq!(server.requests()[0].path, "/otlp/v1/logs");
}

#[tokio::test]
async fn an_https_endpoint_is_not_spoken_to_in_the_clear() {
    for protocol in PROTOCOLS {
        let server = Server::start([]).await;
        let mut config = server.config(protocol);
        config.endpoint = format!("https://localhost:{}", server.address.port());
        config.retry.enabled = false;
        let result = OtlpSink::new(config).unwrap().send(logs(1, 1, 1, 0)).await;
        assert!(matches!(result, Err(SendError::Retryable { .. })), "{result:?}");
        assert!(server.requests().is_empty());
    }
}

#[tokio::test]
async fn settings_no_sink_can_be_made_of_are_refused() {
    for protocol in PROTOCOLS {
        for endpoint in ["", "localhost:4317", "ftp://localhost", "http://", "not a url"] {
            let made = OtlpSink::new(OtlpConfig::new(protocol, endpoint));
            assert!(
                matches!(made, Err(OtlpConfigError::Endpoint { .. })),
                "{protocol:?} {endpoint:?}: {made:?}"
            );
        }
        let mut config = OtlpConfig::new(protocol, "http://localhost:4317");
        config.headers = vec![("bad name".to_owned(), "x".into())];
        assert!(matches!(
            OtlpSink::new(config),
            Err(OtlpConfigError::Header { .. })
        ));
        let mut config = OtlpConfig::new(protocol, "https://localhost:4317");
        config.tls = TlsSettings {
            ca_pem: Some("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----".to_owned()),
            ..TlsSettings::default()
        };
        let made = OtlpSink::new(config);
        assert!(
            matches!(made, Err(OtlpConfigError::Tls { .. })),
            "{protocol:?}: {made:?}"
        );
    }
    assert!("grpc/web".parse::<Protocol>().is_err());
    assert_eq!("http/json".parse::<Protocol>().unwrap(), Protocol::HttpJson);
    assert!("snappy".parse::<Compression>().is_err());
}
