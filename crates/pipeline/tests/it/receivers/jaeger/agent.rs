//! The ports of agents: packets arrive field for field, everything lost is counted, and the end loses nothing received.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cupola_export::{Sample, SendError, Sink};
use cupola_pipeline::receivers::jaeger::{JaegerReceiver, JaegerReceiverConfig, RunningJaeger};
use cupola_telemetry::memory::MemoryBudget;
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio::sync::{Notify, OnceCell};

use super::super::zipkin::spans;
use super::super::{programs, sink};
use super::clients_spans_arrived;
use super::thrift::{ONEWAY, Protocol, Value, batch, call};
use crate::clients::programs::{Program, run, step};
use crate::support::Capture;

const COMPACT: &str = "udp_thrift_compact";
const BINARY: &str = "udp_thrift_binary";

struct Agent {
    running: RunningJaeger,
    sink: Arc<Capture>,
}

impl Agent {
    async fn start(options: &str) -> Agent {
        Agent::start_within(options, sink().1).await
    }

    async fn start_within(options: &str, memory: MemoryBudget) -> Agent {
        let one = format!("{{endpoint: '127.0.0.1:0'{options}}}");
        let config = format!("protocols: {{thrift_compact: {one}, thrift_binary: {one}}}");
        let config = cupola_config::yaml::from_str::<JaegerReceiverConfig>(&config).unwrap();
        let (sink, _) = sink();
        let taken: Arc<dyn Sink> = sink.clone();
        let running = JaegerReceiver::start(config, taken, memory).await.unwrap();
        Agent { running, sink }
    }

    fn addr(&self, protocol: Protocol) -> SocketAddr {
        match protocol {
            Protocol::Compact => self.running.thrift_compact_addr.unwrap(),
            Protocol::Binary | Protocol::OldBinary => self.running.thrift_binary_addr.unwrap(),
        }
    }

    async fn send(&self, protocol: Protocol, packet: &[u8]) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(packet, self.addr(protocol)).await.unwrap();
    }

    fn counted(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let mut samples = Vec::new();
        self.running.collect(&mut samples);
        let has = |sample: &Sample| {
            let label = |key: &str, value: &str| sample.labels.iter().any(|(k, v)| *k == key && v == value);
            labels.iter().all(|(key, value)| label(key, value))
        };
        let of_name = samples.iter().filter(|sample| sample.name == name && has(sample));
        of_name.map(|sample| sample.value).sum()
    }

    fn dropped(&self, transport: &str, reason: &str) -> f64 {
        let labels = [("transport", transport), ("reason", reason)];
        self.counted("cupola_receiver_packets_dropped_total", &labels)
    }

    async fn until(&self, what: &str, mut done: impl FnMut(&Agent) -> bool) {
        let waited = async {
            while !done(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waited).await;
        waited.unwrap_or_else(|_| panic!("waited for: {what}"));
    }

    async fn until_taken(&self) {
        self.until("a batch", |agent| !agent.sink.batches().is_empty())
            .await;
    }

    async fn until_packets(&self, transport: &str, packets: f64) {
        let of = [("transport", transport)];
        self.until("packets", |agent| {
            agent.counted("cupola_receiver_packets_total", &of) >= packets
        })
        .await;
    }
}

#[tokio::test]
async fn packets_of_both_protocols_arrive_field_for_field() {
    let agent = Agent::start("").await;
    for protocol in [Protocol::Compact, Protocol::Binary, Protocol::OldBinary] {
        // Clients send either kind of message.
        for kind in [ONEWAY, 1] {
            agent
                .send(protocol, &call(protocol, "emitBatch", kind, batch()))
                .await;
            agent.until_taken().await;
            let batches = agent.sink.drain();
            let found = spans(&batches[0]);
            let expected = json!({
                "resource": {"service.name": "cart", "host.name": "a", "region": "north"}, "scope": ["", ""],
                "ids": ["0102030405060708090a0b0c0d0e0f10", "fffffffffffffffe", "0707070707070707"], "state": "",
                "name": "pay", "kind": 3, "start": 1_700_000_000_000_000_000u64, "end": 1_700_000_000_000_250_000u64,
                "attributes": {"plain": "ü", "ratio": 0.5, "ok": true, "no": false, "items": -3, "raw": "Bytes([1, 2])"},
                "events": [[1_700_000_000_000_006_000u64, "retry", {"why": "timeout"}]], "status": null,
            });
            assert_eq!(found[0], expected, "{protocol:?}");
            assert_eq!(
                (found.len(), &found[15]["ids"][1]),
                (16, &json!("000000000000000f"))
            );
            assert!(batches[0].client().unwrap().address().unwrap().is_loopback());
        }
    }
    for (transport, packets) in [(COMPACT, 2.0), (BINARY, 4.0)] {
        let of = [("transport", transport)];
        assert_eq!(
            agent.counted("otelcol_receiver_accepted_spans", &of),
            packets * 16.0
        );
        let nameless = agent.counted("otelcol_receiver_failed_spans", &of);
        assert_eq!(nameless, packets);
    }
    agent.running.shutdown().await;
}

#[tokio::test]
async fn packets_that_cannot_be_read_are_counted_and_harm_no_other() {
    let agent = Agent::start(", max_packet_size: 2000").await;
    for (protocol, other, transport) in [
        (Protocol::Compact, Protocol::Binary, COMPACT),
        (Protocol::Binary, Protocol::Compact, BINARY),
    ] {
        let good = call(protocol, "emitBatch", ONEWAY, batch());
        let numbers = Value::Struct(vec![(2, Value::List(vec![Value::I32(1)]))]);
        let bad = [
            Vec::new(),
            b"nonsense".to_vec(),
            good[..good.len() / 2].to_vec(),
            call(other, "emitBatch", ONEWAY, batch()),
            call(protocol, "emitZipkinBatch", ONEWAY, batch()),
            call(protocol, "emitBatch", 2, batch()),
            call(protocol, "emitBatch", ONEWAY, numbers),
        ];
        for packet in &bad {
            agent.send(protocol, packet).await;
        }
        agent.send(protocol, &vec![0; 2001]).await;
        agent.send(protocol, &good).await;
        agent.until_taken().await;
        let all = bad.len() as f64;
        agent
            .until("the bad ones", |agent| agent.dropped(transport, "invalid") == all)
            .await;
        assert_eq!(agent.dropped(transport, "size"), 1.0);
        assert_eq!(agent.sink.drain().len(), 1);
    }
    agent.running.shutdown().await;
}

#[tokio::test]
async fn what_finds_no_place_or_no_memory_is_counted_and_the_rest_handed_over_at_the_end() {
    let packet = call(Protocol::Compact, "emitBatch", ONEWAY, batch());
    let agent = Agent::start(", workers: 1, queue_size: 3, socket_buffer_size: 100000").await;
    let gate = Arc::new(Notify::new());
    *agent.sink.gate.lock() = Some(gate.clone());
    agent.send(Protocol::Compact, &packet).await;
    agent.sink.entered.notified().await;
    // The worker has one; three find a place.
    for sent in 2..=6 {
        agent.send(Protocol::Compact, &packet).await;
        agent.until_packets(COMPACT, f64::from(sent)).await;
    }
    assert_eq!(agent.dropped(COMPACT, "queue"), 2.0);
    *agent.sink.gate.lock() = None;
    gate.notify_one();
    agent.running.shutdown().await;
    assert_eq!(agent.sink.drain().len(), 4);

    // Of 64 KiB half are for packets that wait.
    let agent = Agent::start_within("", MemoryBudget::new(64 << 10)).await;
    agent.send(Protocol::Binary, &vec![0; 40_000]).await;
    agent
        .until("one without memory", |agent| {
            agent.dropped(BINARY, "memory") == 1.0
        })
        .await;
    agent.running.shutdown().await;
}

#[tokio::test]
async fn what_the_sink_cannot_take_now_is_offered_again() {
    let agent = Agent::start("").await;
    let packet = call(Protocol::Compact, "emitBatch", ONEWAY, batch());
    let soon = || {
        Err(SendError::Retryable {
            reason: "busy".to_owned(),
            retry_after: Some(Duration::from_millis(1)),
        })
    };
    agent.sink.answer(soon());
    agent.sink.answer(soon());
    agent.send(Protocol::Compact, &packet).await;
    agent.until_taken().await;
    agent.sink.drain();
    agent.sink.answer(Err(SendError::permanent("no")));
    agent.send(Protocol::Compact, &packet).await;
    agent
        .until("one lost", |agent| agent.dropped(COMPACT, "not_taken") == 1.0)
        .await;
    // What is on its way at the end is offered again too.
    agent.sink.answer(soon());
    agent.send(Protocol::Compact, &packet).await;
    agent.until_packets(COMPACT, 3.0).await;
    agent.running.shutdown().await;
    assert_eq!(agent.sink.drain().len(), 1);
    // All came through, or failed for good.
    assert_eq!(agent.counted("otelcol_receiver_refused_spans", &[]), 0.0);
    let again = UdpSocket::bind(agent.addr(Protocol::Compact)).await;
    assert!(again.is_ok(), "the port is free again");
}

/// Which takes as long as whatever is received has at the end.
#[tokio::test]
async fn a_sink_that_never_answers_does_not_keep_it_from_ending() {
    let agent = Agent::start(", workers: 1").await;
    *agent.sink.gate.lock() = Some(Arc::new(Notify::new()));
    let packet = call(Protocol::Compact, "emitBatch", ONEWAY, batch());
    agent.send(Protocol::Compact, &packet).await;
    agent.sink.entered.notified().await;
    agent.send(Protocol::Compact, &packet).await;
    agent.until_packets(COMPACT, 2.0).await;
    let ended = tokio::time::timeout(Duration::from_secs(60), agent.running.shutdown()).await;
    assert!(ended.is_ok());
    assert_eq!(agent.dropped(COMPACT, "not_taken"), 2.0);
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = taken.local_addr().unwrap();
    let config = format!("protocols: {{thrift_compact: {{endpoint: '{at}'}}}}");
    let config = cupola_config::yaml::from_str::<JaegerReceiverConfig>(&config).unwrap();
    let (sink, memory) = sink();
    let error = JaegerReceiver::start(config, sink, memory).await.unwrap_err();
    assert!(error.to_string().contains("cannot listen"), "{error}");
}

/// The client for Python, which speaks the compact protocol.
static PYTHON: Program = Program {
    name: "jaeger-agent",
    lock: "requirements.txt",
    installed: OnceCell::const_new(),
};

async fn install(folder: PathBuf) -> Result<(), String> {
    step(Command::new("python3").args(["-m", "venv"]).arg(&folder)).await?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"]);
    pip.args(["--disable-pip-version-check", "-r"]);
    step(pip.arg(PYTHON.sources().join("requirements.txt"))).await
}

#[tokio::test]
async fn the_python_client_is_understood_over_udp() {
    let agent = Agent::start("").await;
    let folder = match PYTHON.install(install).await {
        Ok(folder) => folder,
        Err(reason) => return println!("skipped: the Jaeger client cannot be installed: {reason}"),
    };
    let port = agent.addr(Protocol::Compact).port().to_string();
    let mut client = Command::new(folder.join("bin/python"));
    run(client.arg(PYTHON.sources().join("client.py")).arg(port)).await;
    agent.running.shutdown().await;
    clients_spans_arrived(&agent.sink);
}

#[tokio::test]
async fn the_node_client_is_understood_over_udp() {
    let agent = Agent::start("").await;
    let port = agent.addr(Protocol::Binary).port().to_string();
    if !programs::client("jaeger.mjs", &[&port]).await {
        return;
    }
    agent.running.shutdown().await;
    clients_spans_arrived(&agent.sink);
}
