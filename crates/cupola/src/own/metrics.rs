//! The vitals: what receivers, store and memory are measured by, read when asked. One list feeds both `/metrics` and the
//! own store, so that the two agree; what the API counts about itself stands in `/metrics` only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cupola_api::{Connections, MetricsSource, PrometheusText};
use cupola_pipeline::graph::Pipelines;
use cupola_query::{QueryEngine, QueryStatus};
use cupola_store::Store;
use cupola_telemetry::memory::MemoryBudget;
use serde_json::Value as Json;

use super::layer::Counts;
use super::now_unix_nano;
use crate::reload::ReloadCounts;
use crate::watch::MemoryState;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
}

pub(crate) type Labels = Vec<(&'static str, String)>;

/// One metric with all its series.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) unit: &'static str,
    pub(crate) kind: Kind,
    pub(crate) values: Vec<(Labels, f64)>,
}

/// Where measurements are read. Parts that start late are set when they have.
pub(crate) struct Vitals {
    started: Instant,
    started_unix_nano: u64,
    store: OnceLock<Store>,
    pipelines: OnceLock<Arc<Pipelines>>,
    queries: OnceLock<QueryEngine>,
    health: OnceLock<Connections>,
    memory: Arc<MemoryState>,
    memory_limit: u64,
    budgets: Vec<(&'static str, MemoryBudget)>,
    own: Option<Arc<Counts>>,
    reloads: Arc<ReloadCounts>,
}

impl Vitals {
    pub(crate) fn new(
        memory_limit: u64,
        memory: Arc<MemoryState>,
        budgets: Vec<(&'static str, MemoryBudget)>,
        own: Option<Arc<Counts>>,
    ) -> Self {
        Vitals {
            started: Instant::now(),
            started_unix_nano: now_unix_nano(),
            store: OnceLock::new(),
            pipelines: OnceLock::new(),
            queries: OnceLock::new(),
            health: OnceLock::new(),
            memory,
            memory_limit,
            budgets,
            own,
            reloads: Arc::default(),
        }
    }

    /// Where it is counted how often the configuration was read again.
    pub(crate) fn reloads(&self) -> Arc<ReloadCounts> {
        self.reloads.clone()
    }

    pub(crate) fn set_store(&self, store: Store) {
        let _ = self.store.set(store);
    }

    pub(crate) fn set_pipelines(&self, pipelines: Arc<Pipelines>) {
        let _ = self.pipelines.set(pipelines);
    }

    pub(crate) fn set_queries(&self, engine: QueryEngine) {
        let _ = self.queries.set(engine);
    }

    pub(crate) fn set_health(&self, connections: Connections) {
        let _ = self.health.set(connections);
    }

    pub(crate) fn started_unix_nano(&self) -> u64 {
        self.started_unix_nano
    }

    /// Reads everything now.
    pub(crate) fn measure(&self) -> Vec<Family> {
        let mut families = vec![
            labelled(
                "cupola_build_info",
                "The version that runs.",
                Kind::Gauge,
                vec![(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
            ),
            plain(
                "cupola_uptime_seconds",
                "Time since the start.",
                Kind::Gauge,
                self.started.elapsed().as_secs_f64(),
            ),
        ];
        self.measure_reloads(&mut families);
        self.measure_memory(&mut families);
        if let Some(pipelines) = self.pipelines.get() {
            measure_pipelines(pipelines, &mut families);
        }
        if let Some(store) = self.store.get() {
            measure_store(store, &mut families);
        }
        if let Some(engine) = self.queries.get() {
            measure_queries(&engine.status(), &mut families);
        }
        if let Some(health) = self.health.get() {
            families.extend([
                plain(
                    "cupola_health_connections",
                    "Connections to the health checks.",
                    Kind::Gauge,
                    health.open() as f64,
                ),
                plain(
                    "cupola_health_refused_connections",
                    "Connections to the health checks closed because there were too many.",
                    Kind::Counter,
                    health.refused() as f64,
                ),
            ]);
        }
        if let Some(own) = &self.own {
            families.push(plain(
                "cupola_own_telemetry_dropped_items",
                "Own logs, spans and points that were dropped because there were too many or the store refused them.",
                Kind::Counter,
                own.dropped.load(Ordering::Relaxed) as f64,
            ));
        }
        families
    }

    fn measure_reloads(&self, families: &mut Vec<Family>) {
        let result = |name: &str, count: &AtomicU64| {
            (
                vec![("result", name.to_owned())],
                count.load(Ordering::Relaxed) as f64,
            )
        };
        let is_refused = self.reloads.last_refused.load(Ordering::Relaxed);
        families.extend([
            labelled(
                "cupola_config_reloads",
                "How often the configuration was read again, and whether what runs was changed to it.",
                Kind::Counter,
                vec![
                    result("applied", &self.reloads.applied),
                    result("refused", &self.reloads.refused),
                ],
            ),
            plain(
                "cupola_config_last_reload_successful",
                "1 if what runs is what the files said when they were last read, 0 if they were refused.",
                Kind::Gauge,
                f64::from(u8::from(!is_refused)),
            ),
        ]);
    }

    fn measure_memory(&self, families: &mut Vec<Family>) {
        let state = &self.memory;
        let resident = state.resident.load(Ordering::Relaxed) as f64;
        let refusing = f64::from(u8::from(state.refusing.load(Ordering::Relaxed)));
        let closed = state.closed.load(Ordering::Relaxed) as f64;
        families.extend([
            plain(
                "cupola_memory_resident_bytes",
                "Resident memory of the process.",
                Kind::Gauge,
                resident,
            ),
            plain(
                "cupola_memory_limit_bytes",
                "The ceiling on it.",
                Kind::Gauge,
                self.memory_limit as f64,
            ),
            plain(
                "cupola_memory_refusing",
                "1 while ingest is refused to stay under it.",
                Kind::Gauge,
                refusing,
            ),
            plain(
                "cupola_memory_refusals",
                "How often ingest was closed to stay under it.",
                Kind::Counter,
                closed,
            ),
        ]);
        let read = |value: fn(&MemoryBudget) -> f64| {
            self.budgets
                .iter()
                .map(|(name, budget)| (vec![("budget", (*name).to_owned())], value(budget)))
                .collect()
        };
        families.extend([
            labelled(
                "cupola_memory_budget_used_bytes",
                "Memory that a budget has given out.",
                Kind::Gauge,
                read(|budget| budget.used() as f64),
            ),
            labelled(
                "cupola_memory_budget_ceiling_bytes",
                "Most that a budget gives out.",
                Kind::Gauge,
                read(|budget| budget.ceiling() as f64),
            ),
            labelled(
                "cupola_memory_budget_refused",
                "Reservations that a budget refused.",
                Kind::Counter,
                read(|budget| budget.refused() as f64),
            ),
        ]);
    }
}

impl MetricsSource for Vitals {
    fn collect(&self, out: &mut PrometheusText) {
        for family in self.measure() {
            let mut written = match family.kind {
                Kind::Counter => out.counter(&family.name, &family.help),
                Kind::Gauge => out.gauge(&family.name, &family.help),
            };
            for (labels, value) in &family.values {
                let labels: Vec<(&str, &str)> =
                    labels.iter().map(|(key, value)| (*key, value.as_str())).collect();
                written.sample(&labels, *value);
            }
        }
    }
}

fn plain(name: &str, help: &str, kind: Kind, value: f64) -> Family {
    labelled(name, help, kind, vec![(Vec::new(), value)])
}

fn labelled(name: &str, help: &str, kind: Kind, values: Vec<(Labels, f64)>) -> Family {
    let unit = match name {
        name if name.ends_with("_bytes") => "By",
        name if name.ends_with("_seconds") => "s",
        name if name.ends_with("_nanos") => "ns",
        _ => "1",
    };
    Family {
        name: name.to_owned(),
        help: help.to_owned(),
        unit,
        kind,
        values,
    }
}

/// Samples of one name stand together, as the text format wants them.
fn measure_pipelines(pipelines: &Pipelines, families: &mut Vec<Family>) {
    let mut samples = Vec::new();
    pipelines.collect(&mut samples);
    let mut places: HashMap<&'static str, usize> = HashMap::new();
    for sample in samples {
        let value = (sample.labels, sample.value);
        match places.get(sample.name).and_then(|place| families.get_mut(*place)) {
            Some(family) => family.values.push(value),
            None => {
                places.insert(sample.name, families.len());
                let kind = if sample.gauge { Kind::Gauge } else { Kind::Counter };
                families.push(labelled(sample.name, sample.help, kind, vec![value]));
            }
        }
    }
}

fn measure_queries(status: &QueryStatus, families: &mut Vec<Family>) {
    let counters = &status.counters;
    let gauges = [
        ("running", "Statements that run.", status.running),
        ("running_limit", "Most that run at one time.", status.running_max),
        (
            "waiting",
            "Statements that wait for others to end.",
            status.waiting,
        ),
        (
            "waiting_limit",
            "Most that may; one more is refused.",
            status.waiting_max,
        ),
        (
            "spill_bytes",
            "Rows on the disk for want of memory.",
            status.spill_bytes,
        ),
        ("spill_limit_bytes", "Most there may be.", status.spill_bytes_max),
        (
            "metadata_cache_bytes",
            "Parsed file metadata held.",
            status.metadata_cache_bytes,
        ),
        (
            "metadata_cache_limit_bytes",
            "Most that is.",
            status.metadata_cache_bytes_max,
        ),
    ];
    let counts = [
        ("statements", "Statements begun.", counters.statements),
        (
            "failed",
            "Statements that failed, and were neither cancelled, refused nor limited.",
            counters.failed,
        ),
        ("cancelled", "Statements that were cancelled.", counters.cancelled),
        (
            "refused",
            "Statements refused because too many were waiting.",
            counters.refused,
        ),
        (
            "slow",
            "Statements that took long enough to be logged.",
            counters.slow,
        ),
        ("spills", "How often rows were put on the disk.", counters.spills),
        ("spilled_bytes", "Bytes of such rows.", counters.spilled_bytes),
        (
            "scanned_rows",
            "Rows read, after filters of the scans.",
            counters.rows_scanned,
        ),
        (
            "scanned_bytes",
            "Bytes read from segments.",
            counters.bytes_scanned,
        ),
    ];
    let named = |name: &str| format!("cupola_query_{name}");
    families.extend(gauges.map(|(name, help, value)| plain(&named(name), help, Kind::Gauge, value as f64)));
    families.extend(counts.map(|(name, help, value)| plain(&named(name), help, Kind::Counter, value as f64)));
    let limits = [
        ("time", counters.time_limit),
        ("rows", counters.row_limit),
        ("bytes", counters.byte_limit),
        ("memory", counters.memory_limit),
    ];
    families.push(labelled(
        "cupola_query_limited",
        "Statements that ran into a limit.",
        Kind::Counter,
        limits
            .map(|(limit, count)| (vec![("limit", limit.to_owned())], count as f64))
            .into(),
    ));
}

/// The store's status is a flat record of numbers; each becomes a metric of its name.
fn measure_store(store: &Store, families: &mut Vec<Family>) {
    let Ok(Json::Object(status)) = serde_json::to_value(store.status()) else {
        return;
    };
    for (name, value) in &status {
        match value {
            Json::Object(counters) if name == "counters" => {
                for (name, value) in counters {
                    push_number(families, name, value, Kind::Counter);
                }
            }
            value => push_number(families, name, value, Kind::Gauge),
        }
    }
}

fn push_number(families: &mut Vec<Family>, name: &str, value: &Json, kind: Kind) {
    let number = match value {
        Json::Bool(flag) => f64::from(u8::from(*flag)),
        value => match value.as_f64() {
            Some(number) => number,
            None => return,
        },
    };
    let help = format!("Store: {}.", name.replace('_', " "));
    families.push(plain(&format!("cupola_store_{name}"), &help, kind, number));
}
