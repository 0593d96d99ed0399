//! The server: every part started in the right order, and stopped in the reverse one.

use std::net::SocketAddr;
use std::sync::Arc;

use cupola_api::{ApiServer, HealthServer, OtlpPorts, RunningApi, RunningHealth, StartError};
use cupola_export::Sink;
use cupola_pipeline::receivers::otlp::{
    CorsConfig, GrpcConfig, HttpConfig, OtlpReceiver, OtlpReceiverConfig, ReceiverError, RunningReceiver,
};
use cupola_query::{QueryConfig, QueryEngine};
use cupola_store::{RecoveryReport, Store, StoreError};
use cupola_telemetry::memory::MemoryBudget;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, field};

use crate::config::{OtlpSettings, Settings};
use crate::failure::Failure;
use crate::own::{Recorder, Vitals};
use crate::readiness::ReadinessWatch;
use crate::sink::StoreSink;
use crate::watch::{self, MemoryState};

/// Everything that runs.
pub(crate) struct Server {
    pub(crate) addresses: Addresses,
    store: Store,
    api: RunningApi,
    receiver: RunningReceiver,
    health: Option<RunningHealth>,
    readiness: Option<ReadinessWatch>,
    recorder: Option<Recorder>,
    stop: CancellationToken,
}

/// Where a server listens, with the ports that the system chose.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    pub(crate) api: SocketAddr,
    pub(crate) otlp_grpc: Option<SocketAddr>,
    pub(crate) otlp_http: Option<SocketAddr>,
    pub(crate) postgres: Option<SocketAddr>,
    pub(crate) flight_sql: Option<SocketAddr>,
    pub(crate) health: Option<SocketAddr>,
}

/// Budgets made from the plan.
pub(crate) struct Budgets {
    ingest: MemoryBudget,
    pub(crate) store: MemoryBudget,
    pub(crate) query: MemoryBudget,
}

impl Server {
    /// Starts everything. Health answers first, so that a long recovery shows as "alive, not ready".
    pub(crate) async fn start(
        settings: &Settings,
        own: Option<crate::own::Collected>,
    ) -> Result<Server, Failure> {
        let health = match settings.health {
            Some(address) => Some(
                HealthServer::start(address)
                    .await
                    .map_err(|error| start_failed(&error, settings))?,
            ),
            None => None,
        };
        if let Some(health) = &health {
            health.readiness.set_not_ready("opening the store");
        }
        let budgets = budgets(settings);
        let memory = Arc::new(MemoryState::default());
        let vitals = Arc::new(Vitals::new(
            settings.memory.limit,
            memory.clone(),
            vec![
                ("ingest", budgets.ingest.clone()),
                ("store", budgets.store.clone()),
                ("query", budgets.query.clone()),
            ],
            own.as_ref().map(|collected| collected.counts.clone()),
        ));
        if let Some(health) = &health {
            vitals.set_health(health.connections.clone());
        }
        let (store, recovery) = recover(settings, budgets.store.clone()).await?;
        report_recovery(&recovery);
        vitals.set_store(store.clone());
        match start_around(settings, &store, &budgets, &vitals).await {
            Ok((api, receiver)) => {
                let recorder = match (&settings.own_tenant, own) {
                    (Some(tenant), Some(collected)) => {
                        Some(Recorder::start(store.clone(), tenant.clone(), collected, vitals))
                    }
                    _ => None,
                };
                let stop = CancellationToken::new();
                tokio::spawn(watch::watch(
                    settings.memory.limit,
                    budgets.ingest,
                    memory,
                    stop.clone(),
                ));
                let readiness = health
                    .as_ref()
                    .map(|health| ReadinessWatch::start(health.readiness.clone(), store.clone()));
                let addresses = Addresses {
                    api: api.addr,
                    otlp_grpc: receiver.grpc_addr,
                    otlp_http: receiver.http_addr,
                    postgres: api.postgres_addr,
                    flight_sql: api.flight_addr,
                    health: health.as_ref().map(|health| health.addr),
                };
                Ok(Server {
                    addresses,
                    store,
                    api,
                    receiver,
                    health,
                    readiness,
                    recorder,
                    stop,
                })
            }
            Err(failure) => {
                // The reason why it did not start matters more than a store that did not close.
                let _ = store.shutdown().await;
                Err(failure)
            }
        }
    }

    /// Stops receiving, lets answers end, stores own telemetry, flushes. Nothing acknowledged is lost in any case.
    pub(crate) async fn shutdown(self) -> Result<(), Failure> {
        if let Some(readiness) = self.readiness {
            readiness.end("shutting down").await;
        }
        self.receiver.shutdown().await;
        self.api.shutdown().await;
        if let Some(recorder) = self.recorder {
            recorder.shutdown().await;
        }
        self.stop.cancel();
        let closed = self.store.shutdown().await;
        if let Some(health) = self.health {
            health.shutdown().await;
        }
        closed.map_err(|error| {
            Failure::new("the last flush failed")
                .caused_by(&error)
                .hint("nothing acknowledged is lost: the write-ahead log is read at the next start")
        })
    }
}

pub(crate) fn budgets(settings: &Settings) -> Budgets {
    let bytes = |part: u64| usize::try_from(part).unwrap_or(usize::MAX);
    let plan = &settings.memory;
    let shared = MemoryBudget::new(bytes(plan.shared));
    Budgets {
        ingest: MemoryBudget::new(bytes(plan.ingest)),
        store: shared.child(bytes(plan.store)),
        query: shared.child(bytes(plan.query)),
    }
}

async fn start_around(
    settings: &Settings,
    store: &Store,
    budgets: &Budgets,
    vitals: &Arc<Vitals>,
) -> Result<(RunningApi, RunningReceiver), Failure> {
    let engine = QueryEngine::new(store.clone(), query_config(settings), budgets.query.clone())
        .map_err(|error| Failure::from_error(&error))?;
    vitals.set_queries(engine.clone());
    let api = ApiServer::start(settings.api.clone(), engine, store.clone(), vitals.clone())
        .await
        .map_err(|error| start_failed(&error, settings))?;
    let sink: Arc<dyn Sink> = Arc::new(StoreSink::new(store.clone()));
    let receiver = OtlpReceiver::start(receiver_config(&settings.otlp), sink, budgets.ingest.clone())
        .await
        .map_err(|error| receiver_failed(&error, settings))?;
    vitals.set_receiver(receiver.stats().clone());
    api.announce_otlp(OtlpPorts {
        grpc_port: receiver.grpc_addr.map(|address| address.port()),
        http_port: receiver.http_addr.map(|address| address.port()),
    });
    Ok((api, receiver))
}

pub(crate) fn query_config(settings: &Settings) -> QueryConfig {
    let mut config = settings.query.config(&settings.directory);
    let cache = usize::try_from(settings.memory.query / 8).unwrap_or(usize::MAX);
    config.metadata_cache_bytes_max = config.metadata_cache_bytes_max.min(cache);
    config
}

/// Whether the receivers' settings make sense together.
pub(crate) fn check_receivers(settings: &Settings) -> Result<(), Failure> {
    receiver_config(&settings.otlp)
        .validate()
        .map_err(|error| Failure::usage(error.to_string()))
}

fn receiver_config(settings: &OtlpSettings) -> OtlpReceiverConfig {
    let mut config = OtlpReceiverConfig {
        grpc: None,
        http: None,
        ..OtlpReceiverConfig::default()
    };
    if let Some(endpoint) = settings.grpc {
        let default = GrpcConfig::default();
        let message_bytes_max = settings
            .grpc_message_bytes_max
            .unwrap_or(default.message_bytes_max);
        config.grpc = Some(GrpcConfig {
            endpoint,
            message_bytes_max,
        });
    }
    if let Some(endpoint) = settings.http {
        let default = HttpConfig::default();
        config.http = Some(HttpConfig {
            endpoint,
            body_bytes_max: settings.http_body_bytes_max.unwrap_or(default.body_bytes_max),
            cors: settings.cors.as_ref().map(|cors| CorsConfig {
                allowed_origins: cors.allowed_origins.clone(),
                allowed_headers: cors.allowed_headers.clone(),
                max_age: cors.max_age.map(std::time::Duration::from_secs),
                allow_credentials: false,
            }),
        });
    }
    config
}

/// Opens the store, within a span that says what was recovered.
async fn recover(settings: &Settings, memory: MemoryBudget) -> Result<(Store, RecoveryReport), Failure> {
    let span = tracing::info_span!(
        "store.recovery",
        cupola.batches = field::Empty,
        cupola.items = field::Empty,
        cupola.journal_files = field::Empty,
        cupola.segments = field::Empty,
        error.type = field::Empty,
    );
    let opened = open_store(settings, memory).instrument(span.clone()).await;
    match &opened {
        Ok((_, report)) => {
            span.record("cupola.batches", report.replayed_batches);
            span.record("cupola.items", report.replayed_items);
            span.record("cupola.journal_files", report.journal_files);
            span.record("cupola.segments", report.segments);
        }
        Err(_) => {
            // The fallback of the semantic conventions; what it was is said at the end of the process.
            span.record("error.type", "_OTHER");
        }
    }
    opened
}

/// Opens the store, or says what is in the way.
async fn open_store(settings: &Settings, memory: MemoryBudget) -> Result<(Store, RecoveryReport), Failure> {
    Store::open(settings.store_config(memory))
        .await
        .map_err(|error| store_failed(&error))
}

/// A failure of the store with what can be done about it.
pub(crate) fn store_failed(error: &StoreError) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        StoreError::Locked { .. } => failure.hint("choose another directory with --data-dir"),
        StoreError::OtherObjects { .. } => failure
            .hint("give what `serve` is given: --object-store-url, or --config with store.object_store_url")
            .hint("moved on purpose, with `data` and `manifest`? write the new place into the file FORMAT"),
        StoreError::NewerFormat { .. } => {
            failure.hint("start it with the version that wrote it, or a newer one")
        }
        StoreError::Corrupt { .. } => {
            failure.hint("`cupola doctor --data-dir DIR --repair` repairs what can be")
        }
        StoreError::Io { source, .. } => match source.kind() {
            std::io::ErrorKind::StorageFull => {
                failure.hint("make room on the disk; nothing acknowledged is lost")
            }
            std::io::ErrorKind::PermissionDenied => {
                failure.hint("choose a directory you may write with --data-dir")
            }
            _ => failure,
        },
        _ => failure,
    }
}

fn report_recovery(report: &RecoveryReport) {
    if report.replayed_batches > 0 || report.torn_bytes > 0 {
        tracing::info!(
            batches = report.replayed_batches,
            items = report.replayed_items,
            torn_bytes = report.torn_bytes,
            "recovered what the last run had not flushed"
        );
    }
    for damaged in &report.damaged {
        tracing::error!(
            file = damaged.file,
            offset = damaged.offset,
            bytes = damaged.bytes,
            reason = damaged.reason,
            "a record of the write-ahead log is damaged and was skipped"
        );
    }
}

fn start_failed(error: &StartError, settings: &Settings) -> Failure {
    match error {
        StartError::Bind { addr, source, .. } => {
            bind_hints(Failure::from_error(error), *addr, source, settings)
        }
        StartError::Setup { .. } => Failure::from_error(error),
    }
}

fn receiver_failed(error: &ReceiverError, settings: &Settings) -> Failure {
    match error {
        ReceiverError::Listen {
            endpoint,
            transport,
            source,
        } => {
            let failure =
                Failure::new(format!("cannot listen on {endpoint} for OTLP/{transport}")).caused_by(source);
            bind_hints(failure, *endpoint, source, settings)
        }
        ReceiverError::Config(_) => Failure::from_error(error),
    }
}

fn bind_hints(
    failure: Failure,
    address: SocketAddr,
    source: &std::io::Error,
    settings: &Settings,
) -> Failure {
    let flag = flag_of(address, settings);
    match source.kind() {
        std::io::ErrorKind::AddrInUse => failure
            .hint("another process uses this port: another Cupola, or an OpenTelemetry Collector?")
            .hint(match settings.has_address_flags {
                true => format!("stop it, or choose another port with {flag} 127.0.0.1:PORT"),
                false => "stop it, or take any free ports with --free-ports".to_owned(),
            }),
        std::io::ErrorKind::PermissionDenied => failure.hint(format!(
            "ports below 1024 need a privilege; choose a higher one with {flag}"
        )),
        std::io::ErrorKind::AddrNotAvailable => failure.hint(format!(
            "this machine does not have that address; choose another with {flag}"
        )),
        _ => failure,
    }
}

fn flag_of(address: SocketAddr, settings: &Settings) -> &'static str {
    let flags = [
        (settings.otlp.grpc, "--otlp-grpc"),
        (settings.otlp.http, "--otlp-http"),
        (Some(settings.api.listen), "--api"),
        (settings.api.postgres_listen, "--postgres"),
        (settings.api.flight_listen, "--flight-sql"),
        (settings.health, "--health"),
    ];
    flags
        .into_iter()
        .find(|(of, _)| *of == Some(address))
        .map_or("a flag", |(_, flag)| flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::File;
    use crate::config::{LogFlags, ServeFlags};

    #[test]
    fn a_taken_port_is_hinted_at_with_a_flag_that_the_command_has() {
        let mut settings =
            Settings::resolve(&ServeFlags::default(), &LogFlags::default(), File::default()).unwrap();
        let taken = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        let hint = |settings: &Settings| {
            let failure = bind_hints(Failure::new(""), settings.api.listen, &taken, settings);
            failure.hints().last().cloned().unwrap()
        };
        assert!(hint(&settings).contains("--api 127.0.0.1:PORT"));
        settings.has_address_flags = false;
        assert!(hint(&settings).ends_with("--free-ports"));
    }
}
