//! The server: every part started in the right order, and stopped in the reverse one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use cupola_api::{ApiServer, HealthServer, OtlpPorts, RunningApi, RunningHealth, RunningPages, StartError};
use cupola_config::Problems;
use cupola_pipeline::graph::context::MemoryProbe;
use cupola_pipeline::graph::{Context, Extensions, Pipelines, Plan, StartError as PipelineError};
use cupola_pipeline::ottl::SystemEnv;
use cupola_query::{QueryConfig, QueryEngine};
use cupola_store::Store;
use cupola_telemetry::memory::MemoryBudget;
use tokio_util::sync::CancellationToken;

use crate::components::registry;
use crate::config::memory::{self, MemoryPlan};
use crate::config::{PIPELINE_DIRECTORY, Settings};
use crate::diagnostics::Diagnostics;
use crate::failure::Failure;
use crate::health::PipelineHealth;
use crate::kept::Kept;
use crate::own::{OwnTelemetry, Recorder, Vitals};
use crate::readiness::ReadinessWatch;
use crate::reload::{ReloadCounts, Reloader, Sources};
use crate::watch::{self, MemoryState};

/// Everything that runs.
pub(crate) struct Server {
    pub(crate) addresses: Addresses,
    kept: Kept,
    api: RunningApi,
    metrics: Vec<RunningPages>,
    pipelines: Arc<Pipelines>,
    health: Option<RunningHealth>,
    diagnostics: Diagnostics,
    readiness: Option<ReadinessWatch>,
    recorder: Option<Recorder>,
    reloads: Arc<ReloadCounts>,
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
    pub(crate) zpages: Option<SocketAddr>,
    pub(crate) pprof: Option<SocketAddr>,
    /// Pages of own metrics.
    pub(crate) metrics: Vec<SocketAddr>,
}

/// Budgets made from the plan.
pub(crate) struct Budgets {
    ingest: MemoryBudget,
    pub(crate) store: MemoryBudget,
    pub(crate) query: MemoryBudget,
}

impl Server {
    /// Starts everything. Health answers first, so that a long recovery shows as "alive, not ready".
    pub(crate) async fn start(settings: &Settings, own: OwnTelemetry) -> Result<Server, Failure> {
        let health = match &settings.health {
            Some(config) => Some(
                HealthServer::start(config.clone())
                    .await
                    .map_err(|error| start_failed(&error, settings))?,
            ),
            None => None,
        };
        if let Some(health) = &health {
            health.readiness.set_not_ready("opening the store");
        }
        let plan = match settings.opens_store {
            true => settings.memory,
            false => settings.memory.without_store(),
        };
        let budgets = budgets(&plan);
        let memory = Arc::new(MemoryState::default());
        let vitals = Arc::new(Vitals::new(
            settings.memory.limit,
            memory.clone(),
            budgets.named(settings.opens_store),
            own.collected.as_ref().map(|collected| collected.counts.clone()),
        ));
        let reloads = vitals.reloads();
        if let Some(health) = &health {
            vitals.set_health(health.connections.clone());
        }
        let diagnostics = Diagnostics::start(settings, own.samples, &vitals).await?;
        let kept = Kept::open(settings, budgets.store.clone()).await?;
        let store = kept.store().cloned();
        if let Some(store) = &store {
            vitals.set_store(store.clone());
        }
        match start_around(settings, store.as_ref(), &budgets, &vitals).await {
            Ok((api, metrics, pipelines)) => {
                let recorder = match (&store, &settings.own_tenant, own.collected) {
                    (Some(store), Some(tenant), Some(collected)) => {
                        let given = &settings.own_resource;
                        Some(Recorder::start(
                            store.clone(),
                            (tenant.clone(), given),
                            collected,
                            vitals,
                        ))
                    }
                    _ => None,
                };
                diagnostics.set_pipelines(pipelines.clone());
                if let Some(health) = &health {
                    health.set_source(Arc::new(PipelineHealth {
                        pipelines: pipelines.clone(),
                        extensions: settings.extensions.clone(),
                    }));
                }
                let stop = CancellationToken::new();
                tokio::spawn(watch::watch(
                    settings.memory.limit,
                    budgets.ingest,
                    memory,
                    stop.clone(),
                ));
                let readiness = health
                    .as_ref()
                    .map(|health| ReadinessWatch::start(health.readiness.clone(), store));
                let addresses = Addresses {
                    api: api.addr,
                    otlp_grpc: otlp_address(&pipelines, "grpc"),
                    otlp_http: otlp_address(&pipelines, "http"),
                    postgres: api.postgres_addr,
                    flight_sql: api.flight_addr,
                    health: health.as_ref().map(|health| health.addr),
                    zpages: diagnostics.zpages(),
                    pprof: diagnostics.pprof(),
                    metrics: metrics.iter().map(|page| page.addr).collect(),
                };
                Ok(Server {
                    addresses,
                    kept,
                    api,
                    metrics,
                    pipelines,
                    health,
                    diagnostics,
                    readiness,
                    recorder,
                    reloads,
                    stop,
                })
            }
            Err(failure) => {
                // The reason why it did not start matters more than a store that did not close.
                let _ = kept.close().await;
                Err(failure)
            }
        }
    }

    /// Lets the configuration be read again: on request, on a signal, and when its files change.
    pub(crate) fn reloader(&self, sources: Sources, settings: &Settings) -> Arc<Reloader> {
        let reloader = Reloader::new(
            sources,
            settings,
            self.kept.store().cloned(),
            self.pipelines.clone(),
            self.reloads.clone(),
        );
        self.api.set_control(reloader.clone());
        reloader
    }

    /// Stops receiving, lets answers end, stores own telemetry, flushes. Nothing acknowledged is lost in any case.
    pub(crate) async fn shutdown(self) -> Result<(), Failure> {
        if let Some(readiness) = self.readiness {
            readiness.end("shutting down").await;
        }
        self.pipelines.shutdown().await;
        for page in self.metrics {
            page.shutdown().await;
        }
        self.api.shutdown().await;
        if let Some(recorder) = self.recorder {
            recorder.shutdown().await;
        }
        self.stop.cancel();
        let closed = self.kept.close().await;
        if let Some(health) = self.health {
            health.shutdown().await;
        }
        self.diagnostics.shutdown().await;
        closed.map_err(|error| {
            Failure::new("the last flush failed")
                .caused_by(&error)
                .hint("nothing acknowledged is lost: the write-ahead log is read at the next start")
        })
    }
}

impl Budgets {
    /// Those that are drawn on, for metrics.
    fn named(&self, with_store: bool) -> Vec<(&'static str, MemoryBudget)> {
        let mut named = vec![("ingest", self.ingest.clone())];
        if with_store {
            named.extend([("store", self.store.clone()), ("query", self.query.clone())]);
        }
        named
    }
}

pub(crate) fn budgets(plan: &MemoryPlan) -> Budgets {
    let bytes = |part: u64| usize::try_from(part).unwrap_or(usize::MAX);
    let shared = MemoryBudget::new(bytes(plan.shared));
    Budgets {
        ingest: MemoryBudget::new(bytes(plan.ingest)),
        store: shared.child(bytes(plan.store)),
        query: shared.child(bytes(plan.query)),
    }
}

async fn start_around(
    settings: &Settings,
    store: Option<&Store>,
    budgets: &Budgets,
    vitals: &Arc<Vitals>,
) -> Result<(RunningApi, Vec<RunningPages>, Arc<Pipelines>), Failure> {
    let api = match store {
        Some(store) => {
            let engine = QueryEngine::new(store.clone(), query_config(settings), budgets.query.clone())
                .map_err(|error| Failure::from_error(&error))?;
            vitals.set_queries(engine.clone());
            ApiServer::start(settings.api.clone(), engine, store.clone(), vitals.clone()).await
        }
        None => ApiServer::start_without_store(settings.api.clone(), vitals.clone()).await,
    };
    let api = api.map_err(|error| start_failed(&error, settings))?;
    let mut metrics = Vec::new();
    for listen in &settings.own_metrics {
        let page = api.serve_metrics(*listen, &settings.api.allowed_hosts).await;
        metrics.push(page.map_err(|error| start_failed(&error, settings))?);
    }
    let plan = plan(settings, store)?;
    let started = Pipelines::start(plan, context(settings, budgets)).await;
    let pipelines = Arc::new(started.map_err(|error| pipelines_failed(&error, settings))?);
    vitals.set_pipelines(pipelines.clone());
    let port = |protocol| otlp_address(&pipelines, protocol).map(|address| address.port());
    api.announce_otlp(OtlpPorts {
        grpc_port: port("grpc"),
        http_port: port("http"),
    });
    Ok((api, metrics, pipelines))
}

/// The pipelines of settings, with this store if there is one.
pub(crate) fn plan(settings: &Settings, store: Option<&Store>) -> Result<Plan, Failure> {
    let mut problems = Problems::new();
    Plan::read(&settings.tree, &registry(store.cloned()), &mut problems)
        // They were read when the settings were, so that this does not happen.
        .ok_or_else(|| {
            Failure::usage(format!(
                "the pipelines cannot be read: {} errors",
                problems.errors()
            ))
        })
}

fn context(settings: &Settings, budgets: &Budgets) -> Context {
    // What components hold back leaves room for requests.
    let held = budgets.ingest.child(budgets.ingest.ceiling() / 2);
    Context {
        ingest: budgets.ingest.clone(),
        held,
        memory: Arc::new(Probe),
        env: Arc::new(SystemEnv),
        extensions: Arc::new(Extensions {
            storage: settings.storage.clone(),
        }),
        variables: Arc::new(variables()),
        directory: settings.directory.join(PIPELINE_DIRECTORY),
        ..Context::unbounded(&settings.directory)
    }
}

/// Those that are text.
fn variables() -> BTreeMap<String, String> {
    let texts = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.collect()
}

struct Probe;

impl MemoryProbe for Probe {
    fn resident(&self) -> u64 {
        memory::resident()
    }

    fn total(&self) -> u64 {
        memory::available()
    }
}

/// Where OTLP is taken: by the receiver without a name if there is one.
fn otlp_address(pipelines: &Pipelines, protocol: &str) -> Option<SocketAddr> {
    let addresses = pipelines.addresses();
    let of = |(id, spoken, address): (cupola_config::ComponentId, &str, SocketAddr)| {
        (id.kind() == "otlp" && spoken == protocol).then_some((!id.name().is_empty(), address))
    };
    addresses
        .into_iter()
        .filter_map(of)
        .min_by_key(|(named, _)| *named)
        .map(|(_, address)| address)
}

pub(crate) fn query_config(settings: &Settings) -> QueryConfig {
    let mut config = settings.query.config(&settings.directory);
    let cache = usize::try_from(settings.memory.query / 8).unwrap_or(usize::MAX);
    config.metadata_cache_bytes_max = config.metadata_cache_bytes_max.min(cache);
    config
}

pub(crate) fn start_failed(error: &StartError, settings: &Settings) -> Failure {
    match error {
        StartError::Bind { addr, source, .. } => {
            bind_hints(Failure::from_error(error), *addr, source, settings)
        }
        StartError::Setup { .. } => Failure::from_error(error),
    }
}

/// A component that could not be started, with what can be done about it.
pub(crate) fn pipelines_failed(error: &PipelineError, settings: &Settings) -> Failure {
    let failure = Failure::from_error(error);
    match &error.source.listening {
        Some(listening) => bind_hints(failure, listening.0, &listening.1, settings),
        None => failure,
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
                true => format!("stop it, or choose another port with {flag}127.0.0.1:PORT"),
                false => "stop it, or take any free ports with --free-ports".to_owned(),
            }),
        std::io::ErrorKind::PermissionDenied => failure.hint(format!(
            "ports below 1024 need a privilege; choose a higher one with {}",
            flag.trim_end()
        )),
        std::io::ErrorKind::AddrNotAvailable => failure.hint(format!(
            "this machine does not have that address; choose another with {}",
            flag.trim_end()
        )),
        _ => failure,
    }
}

/// By what an address is given, up to the address itself.
fn flag_of(address: SocketAddr, settings: &Settings) -> &'static str {
    let otlp = |protocol: &str| {
        let listens = settings
            .plan
            .receivers
            .values()
            .flat_map(|receiver| receiver.settings.listens());
        listens
            .filter(|(spoken, _)| *spoken == protocol)
            .map(|(_, address)| address)
            .next()
    };
    let flags = [
        (otlp("grpc"), "--otlp-grpc "),
        (otlp("http"), "--otlp-http "),
        (Some(settings.api.listen), "--api "),
        (settings.api.postgres_listen, "--postgres "),
        (settings.api.flight_listen, "--flight-sql "),
        (settings.health.as_ref().map(|health| health.listen), "--health "),
        (
            settings.zpages.as_ref().map(|pages| pages.listen),
            "extensions.zpages.endpoint: ",
        ),
        (
            settings.pprof.as_ref().map(|pprof| pprof.listen),
            "extensions.pprof.endpoint: ",
        ),
        (
            settings
                .own_metrics
                .iter()
                .find(|page| **page == address)
                .copied(),
            "service.telemetry.metrics: ",
        ),
    ];
    flags
        .into_iter()
        .find(|(of, _)| *of == Some(address))
        .map_or("a flag ", |(_, flag)| flag)
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
