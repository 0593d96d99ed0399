//! The receiver of syslog: RFC 3164 and RFC 5424 over TCP, with TLS or without, and UDP, with the framings of RFC 6587.
//!
//! A connection is read no faster than the sink takes what it sends: a sink that refuses for now holds its senders back.
//! TCP acknowledges bytes and not messages, so that what was read and not yet handed over is lost with the process; what
//! was sent over UDP, also when nobody took it in time. Both are why a program that can should send OTLP.
//!
//! A message that does not follow the protocol is handed on as it came, unless `on_error` says otherwise. Everything belongs
//! to the default tenant.

mod config;
mod framing;
mod tcp;
mod udp;
mod work;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cupola_export::tls::ServerTls;
use cupola_export::{Sample, Sink};
use cupola_telemetry::memory::MemoryBudget;
use parking_lot::Mutex;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{AsyncConfig, SyslogReceiverConfig, TcpConfig, UdpConfig};

use super::http::server::StartError;
use super::text::Templates;
use super::text::delivery::Delivery;
use crate::operators::{self, OperatorStats, Variables};
use crate::processors::ConfigError;
use work::Work;

/// Starts receivers of syslog.
#[derive(Debug)]
pub struct SyslogReceiver;

impl SyslogReceiver {
    /// Listens until [`RunningSyslog::shutdown`]. Messages are held within `memory`; `variables` is the environment, for
    /// `env("NAME")` in expressions.
    pub async fn start(
        config: SyslogReceiverConfig,
        sink: Arc<dyn Sink>,
        memory: MemoryBudget,
        variables: &Variables,
    ) -> Result<RunningSyslog, StartError> {
        let setting = |(key, problem): (String, String)| ConfigError::setting(key, problem);
        if let Some(problem) = config.problems().into_iter().next() {
            return Err(setting(problem).into());
        }
        let needed = config.memory_needed();
        if memory.ceiling() < needed {
            let problem = format!(
                "a message needs {needed} bytes of memory, and there are {}",
                memory.ceiling()
            );
            let key = if config.tcp.is_some() {
                "tcp.max_log_size"
            } else {
                "udp"
            };
            return Err(ConfigError::setting(key, problem).into());
        }
        let operator_stats: Arc<OperatorStats> = Arc::default();
        let operators = ("operators", &config.operators[..]);
        let compiled = operators::compile_syslog(
            &config.protocol(),
            config.on_error,
            operators,
            variables,
            &operator_stats,
        );
        let compiled =
            compiled.map_err(|problems| setting(problems.into_iter().next().unwrap_or_default()))?;
        let mut problems = Vec::new();
        let work = Work {
            operators: Arc::new(Mutex::new(compiled)),
            attributes: Arc::new(Templates::compile(
                "attributes",
                &config.attributes,
                variables,
                &mut problems,
            )),
            resource: Arc::new(Templates::compile(
                "resource",
                &config.resource,
                variables,
                &mut problems,
            )),
            delivery: Delivery::new(
                sink,
                config.retry_on_failure,
                if config.tcp.is_some() { "tcp" } else { "udp" },
            ),
            waiting: memory.child(memory.ceiling() / 2),
            memory,
            stats: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let tls = match config.tcp.as_ref().and_then(|tcp| tcp.tls.as_ref()) {
            // Syslog has no name to be offered by ALPN.
            Some(settings) => Some(Arc::new(ServerTls::new(settings, &[]).map_err(|error| {
                ConfigError::setting(format!("tcp.tls.{}", error.key), error.problem)
            })?)),
            None => None,
        };
        let addr = listen(config, tls.clone(), &work).await?;
        work.tasks.spawn(work.clone().flush_in_time());
        Ok(RunningSyslog {
            addr,
            tls,
            work,
            operators: operator_stats,
        })
    }
}

async fn listen(
    config: SyslogReceiverConfig,
    tls: Option<Arc<ServerTls>>,
    work: &Work,
) -> Result<SocketAddr, StartError> {
    let failed = |endpoint: SocketAddr| {
        move |source| StartError::Listen {
            endpoint,
            receiver: "syslog",
            source,
        }
    };
    let addr = if let Some(tcp) = config.tcp.clone() {
        let endpoint = tcp.listen_address.0;
        let listener = TcpListener::bind(endpoint).await.map_err(failed(endpoint))?;
        let addr = listener.local_addr().map_err(failed(endpoint))?;
        work.tasks.spawn(tcp::accept(
            listener,
            Arc::new(config),
            Arc::new(tcp),
            tls,
            work.clone(),
        ));
        addr
    } else if let Some(udp) = config.udp {
        let endpoint = udp.listen_address.0;
        let socket = UdpSocket::bind(endpoint).await.map_err(failed(endpoint))?;
        let addr = socket.local_addr().map_err(failed(endpoint))?;
        work.tasks
            .spawn(udp::receive(Arc::new(socket), Arc::new(udp), work.clone()));
        addr
    } else {
        return Err(ConfigError::setting("", "has neither `tcp` nor `udp`").into());
    };
    tracing::info!(%addr, receiver = "syslog", "receiver listening");
    Ok(addr)
}

/// A receiver of syslog that runs. Dropping it stops it without waiting for what is under way.
#[derive(Debug)]
pub struct RunningSyslog {
    pub addr: SocketAddr,
    tls: Option<Arc<ServerTls>>,
    work: Work,
    operators: Arc<OperatorStats>,
}

impl RunningSyslog {
    /// Reads nothing more and hands over what was read, for a bounded time.
    pub async fn shutdown(&self) {
        self.work.stop.cancel();
        self.work.tasks.close();
        self.work.tasks.wait().await;
        // Only now: what was still on its way may have been held too.
        self.work.flush(true).await;
    }

    /// `tcp` or `udp`, and where it listens.
    pub fn listens(&self) -> (&'static str, SocketAddr) {
        (self.work.delivery.transport(), self.addr)
    }

    /// Adds what is counted.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        self.work.delivery.collect(&self.operators, samples);
        let (stats, transport) = (&self.work.stats, self.work.delivery.transport());
        let mut add =
            |name, help, value| samples.push(Sample::count(name, help, value).with("transport", transport));
        let over_memory = stats.over_memory.load(Ordering::Relaxed);
        add(
            "cupola_receiver_syslog_over_memory_total",
            "Looks for memory that found none: senders wait.",
            over_memory,
        );
        if transport == "tcp" {
            let connections = stats.connections.load(Ordering::Relaxed);
            add(
                "cupola_receiver_connections_total",
                "Connections accepted.",
                connections,
            );
            let over_memory = stats.connections_over_memory.load(Ordering::Relaxed);
            let help = "Connections closed for want of memory for a message that was not complete.";
            add("cupola_receiver_connections_over_memory_total", help, over_memory);
            if let Some(tls) = &self.tls {
                let start = samples.len();
                tls.collect(samples);
                for sample in &mut samples[start..] {
                    sample.labels.push(("transport", transport.to_owned()));
                }
            }
            return;
        }
        add(
            "cupola_receiver_packets_total",
            "Packets received.",
            stats.packets.load(Ordering::Relaxed),
        );
        let dropped = stats.packets_dropped.load(Ordering::Relaxed);
        add(
            "cupola_receiver_packets_dropped_total",
            "Packets received and lost.",
            dropped,
        );
        if let Some(dropped) = super::udp::dropped_by_system(self.addr.port()) {
            let help = "Packets that the system dropped because nobody took them in time.";
            add("cupola_receiver_packets_dropped_by_system_total", help, dropped);
        }
    }
}

impl Drop for RunningSyslog {
    fn drop(&mut self) {
        self.work.stop.cancel();
    }
}
