//! How much OTLP one processor receives. A measurement, not a test:
//!
//! ```text
//! cargo test --release -p cupola-pipeline --test it -- --ignored --nocapture throughput
//! ```
//!
//! The receiver runs on threads of its own, whose processor time is read from `/proc`; what clients cost is
//! not in it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use cupola_export::otlp::{Compression, OtlpConfig, OtlpSink, Protocol};
use cupola_export::{Accepted, SendError, Sink};
use cupola_pipeline::receivers::otlp::OtlpReceiver;
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal, TenantId};
use prost::Message;

use crate::payloads::realistic_logs;
use crate::support::config;

const THREAD: &str = "receiver";
const SENDERS: usize = 4;

/// Takes everything and keeps nothing.
struct Discard;

#[async_trait]
impl Sink for Discard {
    async fn send(&self, _: Batch) -> Result<Accepted, SendError> {
        Ok(Accepted::all())
    }
}

/// Seconds of processor time of the receiver's threads.
fn receiver_seconds() -> f64 {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        let Some((name, rest)) = stat.split_once(") ") else {
            continue;
        };
        if name.ends_with(THREAD) {
            let fields: Vec<&str> = rest.split(' ').collect();
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    // USER_HZ is 100 on every Linux.
    ticks as f64 / 100.0
}

#[test]
#[ignore = "a measurement"]
fn throughput() {
    let receiver = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(THREAD)
        .enable_all()
        .build()
        .unwrap();
    let running = receiver
        .block_on(OtlpReceiver::start(
            config(),
            Arc::new(Discard),
            MemoryBudget::unlimited(),
        ))
        .unwrap();
    let clients = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (grpc, http) = (running.grpc_addr.unwrap(), running.http_addr.unwrap());
    for records in [500, 8000] {
        let payload = Bytes::from(realistic_logs(records).encode_to_vec());
        let batch = Batch::decode_protobuf(Signal::Logs, TenantId::default_tenant(), payload).unwrap();
        println!("{records} records, {} bytes a request", batch.payload().len());
        for (protocol, address) in [(Protocol::Grpc, grpc), (Protocol::HttpProtobuf, http)] {
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                clients.block_on(measure(protocol, address, compression, &batch));
            }
        }
    }
}

async fn measure(protocol: Protocol, address: SocketAddr, compression: Compression, batch: &Batch) {
    let mut config = OtlpConfig::new(protocol, format!("http://{address}"));
    config.compression = compression;
    let (started, before) = (Instant::now(), receiver_seconds());
    let senders = (0..SENDERS).map(|_| {
        let (sink, batch) = (OtlpSink::new(config.clone()).unwrap(), batch.clone());
        tokio::spawn(async move {
            let mut sent = 0;
            while started.elapsed() < Duration::from_secs(3) {
                assert_eq!(sink.send(batch.clone()).await, Ok(Accepted::all()));
                sent += 1;
            }
            sent
        })
    });
    let senders: Vec<_> = senders.collect();
    let mut requests = 0;
    for sender in senders {
        requests += sender.await.unwrap();
    }
    let spent = receiver_seconds() - before;
    let megabytes = (requests * batch.payload().len()) as f64 / 1e6;
    let records = (requests * batch.items()) as f64 / 1e6;
    println!(
        "{:<14} {:<5} {:>7.0} MB and {:>5.2} M records per CPU-second, {:>5.0} MB/s",
        protocol.as_str(),
        format!("{compression:?}"),
        megabytes / spent,
        records / spent,
        megabytes / started.elapsed().as_secs_f64(),
    );
}
