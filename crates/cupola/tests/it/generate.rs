//! `cupola generate`: every protocol, compression and kind of file carries all of what was asked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cupola_telemetry::{Batch, Signal, TenantId};

use crate::support::{Server, succeed};

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
