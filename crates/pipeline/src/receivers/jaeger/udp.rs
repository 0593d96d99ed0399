//! Thrift over UDP: packets that each call `agent.emitBatch`, held in a queue while workers convert them and hand them over.
//!
//! No sender is told what becomes of a packet. One that finds no place in the queue or no memory, is too large or cannot be
//! read is dropped and counted with the reason; what the sink cannot take now is offered again for a bounded time, while the
//! queue holds what comes after it. Everything belongs to the default tenant.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cupola_config::Endpoint;
use cupola_export::{Sample, SendError, Sink};
use cupola_telemetry::memory::{MemoryBudget, Reservation};
use cupola_telemetry::{Batch, Client, Signal, TenantId};
use serde::Deserialize;
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::thrift::{self, Protocol};
use crate::processors::ConfigError;
use crate::receivers::http::intake::{Intake, Room};
use crate::receivers::http::refusal::Refusal;
use crate::receivers::http::server::StartError;
use crate::receivers::http::stats::count;
use crate::receivers::udp::{dropped_by_system, set_buffer};

/// A small packet may name many spans: what they unfold to is bounded as it is for a body of this size.
const BODY_BYTES: usize = 1 << 20;
/// UDP has no larger packets.
const PACKET_BYTES_MAX: usize = 65_535;
/// After a failed receive.
const PAUSE: Duration = Duration::from_millis(100);
/// First wait before a batch is offered again; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest that a batch is offered.
const RETRY_TIME_MAX: Duration = Duration::from_secs(30);
/// Time that what was received has to be taken at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Where packets are received.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JaegerUdpConfig {
    /// The protocol's usual port on loopback, unless given.
    pub endpoint: Option<Endpoint>,
    /// Packets that wait for a worker; more are dropped.
    pub queue_size: usize,
    /// Largest packet in bytes; larger ones are dropped.
    pub max_packet_size: usize,
    /// Packets that are converted and handed over at the same time.
    pub workers: usize,
    /// Bytes that the system is asked to keep of packets not yet received; 0 leaves it to the system.
    pub socket_buffer_size: usize,
}

impl Default for JaegerUdpConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            queue_size: 1000,
            max_packet_size: 65_000,
            workers: 10,
            socket_buffer_size: 0,
        }
    }
}

impl JaegerUdpConfig {
    const QUEUE_PACKETS_MAX: usize = 1 << 20;
    const WORKERS_MAX: usize = 1024;

    pub(super) fn endpoint(&self, port: u16) -> Endpoint {
        self.endpoint.unwrap_or(Endpoint::loopback(port))
    }

    pub(super) fn validate(&self, protocol: &str) -> Result<(), ConfigError> {
        let bounded = [
            ("queue_size", self.queue_size, Self::QUEUE_PACKETS_MAX),
            ("workers", self.workers, Self::WORKERS_MAX),
            ("max_packet_size", self.max_packet_size, usize::MAX),
        ];
        for (key, value, most) in bounded {
            let problem = match value {
                0 => "must be greater than zero".to_owned(),
                value if value > most => format!("must be at most {most}"),
                _ => continue,
            };
            return Err(ConfigError::setting(
                format!("protocols.{protocol}.{key}"),
                problem,
            ));
        }
        Ok(())
    }
}

/// A packet, who sent it, and its memory.
type Packet = (Bytes, SocketAddr, Reservation);

/// Packets lost, by reason.
#[derive(Debug, Default)]
struct Lost {
    /// No place in the queue.
    queue: AtomicU64,
    memory: AtomicU64,
    size: AtomicU64,
    invalid: AtomicU64,
    /// The sink took them neither in time nor at the end.
    not_taken: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    protocol: Protocol,
    transport: &'static str,
    packet_bytes_max: usize,
    /// For packets that wait: a part, so that there is always some left for converting them.
    waiting: MemoryBudget,
    intake: Intake,
    packets: AtomicU64,
    lost: Lost,
    stop: CancellationToken,
    abort: CancellationToken,
}

/// A socket that is being received from, and its workers. Dropping it stops it without waiting.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) addr: SocketAddr,
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

impl Agent {
    pub(super) async fn start(
        config: &JaegerUdpConfig,
        (name, port, protocol): (&'static str, u16, Protocol),
        sink: Arc<dyn Sink>,
        memory: &MemoryBudget,
    ) -> Result<Agent, StartError> {
        let endpoint = config.endpoint(port).0;
        let failed = |source| StartError::Listen {
            endpoint,
            receiver: "jaeger",
            source,
        };
        let socket = UdpSocket::bind(endpoint).await.map_err(failed)?;
        let addr = socket.local_addr().map_err(failed)?;
        if config.socket_buffer_size > 0 {
            set_buffer(&socket, config.socket_buffer_size).map_err(|error| {
                let key = format!("protocols.{name}.socket_buffer_size");
                ConfigError::setting(key, format!("cannot be set: {error}"))
            })?;
        }
        // The Collector's names.
        let transport = match protocol {
            Protocol::Compact => "udp_thrift_compact",
            Protocol::Binary => "udp_thrift_binary",
        };
        let packet_bytes_max = config.max_packet_size.min(PACKET_BYTES_MAX);
        let limits = (BODY_BYTES, Duration::ZERO);
        let shared = Arc::new(Shared {
            protocol,
            transport,
            packet_bytes_max,
            waiting: memory.child(memory.ceiling() / 2),
            intake: Intake::new(Signal::Traces, transport, limits, sink, memory.clone()),
            packets: AtomicU64::new(0),
            lost: Lost::default(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
        });
        let tasks = TaskTracker::new();
        let (queue, packets) = mpsc::channel(config.queue_size);
        let packets = Arc::new(Mutex::new(packets));
        for _ in 0..config.workers {
            tasks.spawn(shared.clone().work(packets.clone()));
        }
        tasks.spawn(shared.clone().receive(socket, queue));
        tracing::info!(%addr, receiver = "jaeger", protocol = name, "receiver listening");
        Ok(Agent { addr, shared, tasks })
    }

    /// Receives nothing more and hands over what was received, for a bounded time.
    pub(super) async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(transport = self.shared.transport, "packets are lost at shutdown");
            self.shared.abort.cancel();
            self.tasks.wait().await;
        }
    }

    /// Adds what is counted.
    pub(super) fn collect(&self, samples: &mut Vec<Sample>) {
        let shared = &self.shared;
        shared.intake.collect(samples);
        let sample = |name, help, value| Sample::count(name, help, value).with("transport", shared.transport);
        let packets = shared.packets.load(Ordering::Relaxed);
        samples.push(sample(
            "cupola_receiver_packets_total",
            "Packets received.",
            packets,
        ));
        let lost = &shared.lost;
        for (reason, counter) in [
            ("queue", &lost.queue),
            ("memory", &lost.memory),
            ("size", &lost.size),
            ("invalid", &lost.invalid),
            ("not_taken", &lost.not_taken),
        ] {
            let name = "cupola_receiver_packets_dropped_total";
            let value = counter.load(Ordering::Relaxed);
            samples.push(sample(name, "Packets received and lost.", value).with("reason", reason));
        }
        if let Some(dropped) = dropped_by_system(self.addr.port()) {
            let name = "cupola_receiver_packets_dropped_by_system_total";
            let help = "Packets that the system dropped because nobody took them in time.";
            samples.push(sample(name, help, dropped));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.abort.cancel();
    }
}

impl Shared {
    /// Receives until the end, and then what is in the system's buffer still.
    async fn receive(self: Arc<Shared>, socket: UdpSocket, queue: mpsc::Sender<Packet>) {
        // A byte more tells a packet that is too large from one that just fits.
        let mut buffer = vec![0; self.packet_bytes_max + 1];
        loop {
            let received = tokio::select! {
                received = socket.recv_from(&mut buffer) => received,
                () = self.stop.cancelled() => break,
            };
            match received {
                Ok((length, from)) => self.received(&buffer[..length], from, &queue),
                Err(error) => {
                    tracing::warn!(%error, transport = self.transport, "cannot receive");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        // As many as the queue may hold; whoever sends on does not keep this from ending.
        for _ in 0..queue.max_capacity() {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => self.received(&buffer[..length], from, &queue),
                Err(_) => return,
            }
        }
    }

    fn received(&self, packet: &[u8], from: SocketAddr, queue: &mpsc::Sender<Packet>) {
        count(&self.packets, 1);
        count(&self.intake.stats.requests, 1);
        count(&self.intake.stats.wire_bytes, packet.len() as u64);
        if packet.len() > self.packet_bytes_max {
            count(&self.intake.stats.requests_too_large, 1);
            return count(&self.lost.size, 1);
        }
        // A place first: copying what is dropped anyway would help nobody.
        let Ok(place) = queue.try_reserve() else {
            return count(&self.lost.queue, 1);
        };
        match self.waiting.try_reserve(packet.len()) {
            Some(memory) => place.send((Bytes::copy_from_slice(packet), from, memory)),
            None => {
                count(&self.intake.stats.requests_over_memory, 1);
                count(&self.lost.memory, 1);
            }
        }
    }

    /// Takes one packet after the other until there will be none.
    async fn work(self: Arc<Shared>, packets: Arc<Mutex<mpsc::Receiver<Packet>>>) {
        loop {
            // One worker waits for a packet, the others for their turn.
            let next = packets.lock().await.recv().await;
            let Some((packet, from, _memory)) = next else {
                return;
            };
            let taken = tokio::select! {
                biased;
                () = self.abort.cancelled() => Err(&self.lost.not_taken),
                taken = self.take(packet, from) => taken,
            };
            if let Err(reason) = taken {
                count(reason, 1);
            }
        }
    }

    /// Converts a packet and hands it over; otherwise where it is counted as lost.
    async fn take(&self, packet: Bytes, from: SocketAddr) -> Result<(), &AtomicU64> {
        let protocol = self.protocol;
        let convert = move |packet: Bytes, tenant, room: &mut Room<'_>| {
            thrift::convert_call(&packet, protocol, tenant, room)
        };
        let memory = self.intake.memory.reservation();
        let tenant = TenantId::default_tenant();
        let converted = self.intake.convert(packet, tenant, None, memory, convert).await;
        let ((batches, outcome), _memory) = converted.map_err(|refusal| {
            self.intake.count_refusal(&refusal);
            tracing::debug!(transport = self.transport, %from, reason = %refusal, "packet dropped");
            match refusal {
                Refusal::OverMemory => &self.lost.memory,
                _ => &self.lost.invalid,
            }
        })?;
        count(&self.intake.stats.failed_items, outcome.refused);
        let client = Arc::new(Client::at(from.ip()));
        for batch in batches {
            self.offer(batch.with_client(Some(client.clone()))).await?;
        }
        Ok(())
    }

    /// Offers a batch until it is taken or refused for good, or time is up.
    async fn offer(&self, batch: Batch) -> Result<(), &AtomicU64> {
        let until = Instant::now() + RETRY_TIME_MAX;
        let mut wait = RETRY_FIRST;
        let items = batch.items() as u64;
        if items == 0 {
            return Ok(());
        }
        count(&self.intake.stats.payload_bytes, batch.payload().len() as u64);
        let answer = loop {
            let answer = self.intake.hand_over(batch.clone()).await;
            let Err(SendError::Retryable { retry_after, .. }) = &answer else {
                break answer;
            };
            let next = Instant::now() + retry_after.unwrap_or(wait).max(wait);
            wait = wait.saturating_mul(2);
            if next >= until {
                break answer;
            }
            tokio::time::sleep_until(next).await;
        };
        match self.intake.counted(items, answer) {
            Ok(_) => Ok(()),
            Err(refusal) => {
                tracing::error!(transport = self.transport, items, reason = %refusal, "spans lost");
                Err(&self.lost.not_taken)
            }
        }
    }
}
