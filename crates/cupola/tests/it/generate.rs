//! `cupola generate`: every protocol, compression and kind of file carries all of what was asked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cupola_peers::certificates::Authority;
use cupola_telemetry::{Batch, Signal, TenantId};

use crate::support::{Server, run, succeed};

const COMMON: [&str; 8] = [
    "-n",
    "600",
    "--batch",
    "250",
    "--services",
    "4",
    "--signals",
    "logs",
];

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_over_every_protocol_and_compression() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let cases = [
        ("grpc", &server.otlp_grpc, "zstd"),
        ("grpc", &server.otlp_grpc, "none"),
        ("http/protobuf", &server.otlp_http, "zstd"),
        ("http/json", &server.otlp_http, "none"),
        ("http/json", &server.otlp_http, "gzip"),
        ("http/json", &server.otlp_http, "zstd"),
    ];
    for (number, (protocol, endpoint, compression)) in cases.into_iter().enumerate() {
        let tenant = format!("tenant-{number}");
        let how = [
            "generate",
            "--endpoint",
            endpoint,
            "--protocol",
            protocol,
            "--compression",
            compression,
            "--tenants",
            &tenant,
        ];
        let arguments = [&how[..], &COMMON].concat();
        succeed(&arguments).await;
        let found = server.count(&tenant, "SELECT count(*) FROM logs").await;
        assert_eq!(found, 600, "{protocol} {compression}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secured_receiver_is_tried_and_what_is_missing_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let authority = Authority::new("ours");
    authority.issue(&["localhost"]).write(directory.path(), "server");
    let (certificate, key) = authority.issue(&["client"]).write(directory.path(), "client");
    cupola_peers::certificates::write(&directory.path().join("ca.pem"), authority.pem());
    std::fs::write(path("token"), "letmein\n").unwrap();
    let tls = format!(
        "{{cert_file: '{}', key_file: '{}', client_ca_file: '{}'}}",
        path("server.pem"),
        path("server.key"),
        path("ca.pem")
    );
    let listener =
        format!("{{endpoint: '127.0.0.1:0', tls: {tls}, auth: {{authenticator: bearertokenauth}}}}");
    let config = format!(
        "extensions: {{bearertokenauth: {{token: letmein}}}}\nreceivers: {{otlp: {{protocols: {{grpc: {listener}, http: {listener}}}}}}}\n\
         exporters: {{store: }}\nservice: {{extensions: [bearertokenauth], pipelines: {{logs: {{receivers: [otlp], exporters: [store]}}}}}}\n"
    );
    let file = path("cupola.yaml");
    std::fs::write(&file, config).unwrap();
    let server = Server::start_with(&directory.path().join("data"), &["--config", &file]).await;
    let (ca, cert, key) = (
        path("ca.pem"),
        certificate.to_str().unwrap().to_owned(),
        key.to_str().unwrap().to_owned(),
    );
    for (protocol, url) in [("grpc", &server.otlp_grpc), ("http/protobuf", &server.otlp_http)] {
        let port = url.rsplit_once(':').unwrap().1;
        let (secure, by_address) = (
            format!("https://localhost:{port}"),
            format!("https://127.0.0.1:{port}"),
        );
        let send = async |endpoint: &str, more: &[&str]| {
            let how = ["generate", "--endpoint", endpoint, "--protocol", protocol];
            run(&[&how[..], &COMMON, more].concat()).await
        };
        let trusted = ["--ca-file", &ca];
        let known = [&trusted[..], &["--cert-file", &cert, "--key-file", &key]].concat();
        let wrong = [&known[..], &["--header", "authorization=Bearer wrong"]].concat();
        for (endpoint, more, hint) in [
            (&secure, &[][..], "--ca-file"),
            (&by_address, &trusted[..], "another name"),
            (&secure, &trusted[..], "--cert-file"),
            (&secure, &known[..], "--token-file"),
            (&secure, &wrong[..], "--header"),
        ] {
            let output = send(endpoint, more).await;
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{protocol} {more:?}: {told}");
            assert!(told.contains(hint), "{protocol} {more:?}: {told}");
        }
        for right in [
            ["--header", "Authorization=Bearer letmein"],
            ["--token-file", &path("token")],
        ] {
            let output = send(&secure, &[&known[..], &right].concat()).await;
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    assert_eq!(
        server.count("default", "SELECT count(*) FROM logs").await,
        4 * 600
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_none_is_refused_without_its_value() {
    for wrong in ["Authorization: Bearer hunter2", "=hunter2", " =hunter2"] {
        let output = run(&["generate", "--endpoint", "http://127.0.0.1:9", "--header", wrong]).await;
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("NAME=VALUE") && !told.contains("hunter2"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_hold_the_same_as_requests_and_as_lines() {
    let requests = written("otlp", "pb", read_requests).await;
    assert_eq!(written("json", "jsonl", read_lines).await, requests);
}

/// What files of a format hold, as JSON.
async fn written(format: &str, extension: &str, read: fn(&Path) -> Vec<Batch>) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let output = ["generate", "--output", directory.path().to_str().unwrap()];
    let how = ["--format", format, "--start", "2026-01-01T00:00:00Z"];
    succeed(&[&output[..], &how, &COMMON].concat()).await;
    let mut batches = Vec::new();
    for path in files(&directory.path().join("default")) {
        assert_eq!(path.extension().unwrap(), extension);
        batches.extend(read(&path));
    }
    let items: usize = batches.iter().map(Batch::items).sum();
    assert_eq!((batches.len(), items), (3, 600), "{format}");
    batches.iter().map(Batch::to_json).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn made_at_a_rate_items_are_of_the_moments_in_which_they_are_made() {
    let directory = tempfile::tempdir().unwrap();
    let output = [
        "generate",
        "--output",
        directory.path().to_str().unwrap(),
        "--format",
        "otlp",
    ];
    let rate = ["--rate", "5000", "--start", "2026-01-01T00:00:00Z"];
    succeed(&[&output[..], &COMMON, &rate].concat()).await;
    let mut times = BTreeSet::new();
    for path in files(&directory.path().join("default")) {
        for batch in read_requests(&path) {
            for resource in batch.logs().resources() {
                for scope in resource.scopes() {
                    times.extend(scope.records().map(|record| record.time_unix_nano));
                }
            }
        }
    }
    let start = 1_767_225_600_000_000_000;
    let (first, last) = (*times.first().unwrap(), *times.last().unwrap());
    // 600 items at 5000 in a second, and what their requests take; not the hour that is covered otherwise.
    assert!(
        first >= start && last - start <= 10_000_000_000,
        "{first} to {last}"
    );
    assert!(last - first >= 60_000_000, "{}", last - first);
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn read_requests(path: &Path) -> Vec<Batch> {
    let bytes = std::fs::read(path).unwrap();
    vec![Batch::decode_protobuf(Signal::Logs, TenantId::default_tenant(), bytes.into()).unwrap()]
}

fn read_lines(path: &Path) -> Vec<Batch> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| Batch::decode_json(Signal::Logs, TenantId::default_tenant(), line.as_bytes()).unwrap())
        .collect()
}
