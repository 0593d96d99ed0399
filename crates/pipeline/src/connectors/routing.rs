//! The routing connector: sends what a condition holds for to the pipelines of its row.
//!
//! Rows are gone through in their order. What a row moves is not seen by the next ones, what it copies is. What no row
//! has moved goes to the default pipelines; if there are none, what no row matched is dropped and counted. A batch is
//! parted where the context of a row asks for it. Acknowledges a batch once all pipelines that got some of it have: if one
//! refuses its part for a while, the sender keeps the whole, and the others get theirs again.
//!
//! Differs from the Collector: a `statement` is `route()` with or without `where`. Of a request those headers are known that
//! its receiver keeps (`include_metadata`), and always the tenant, as `request["X-Scope-OrgID"]`.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/connector/routingconnector>

mod condition;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::{Batch, Signal};
use serde::Deserialize;

use super::activity::Activity;
use super::outputs::{Output, Outputs, one_answer, send_each};
use crate::ottl::{Env, ErrorMode, RunError};
use crate::processors::ConfigError;
use condition::RouteCondition;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutingConfig {
    pub table: Vec<RouteConfig>,
    /// Of what no row matches.
    pub default_pipelines: Vec<String>,
    /// Propagate, if it is not given: an error refuses the batch. Otherwise a condition that fails does not hold.
    pub error_mode: Option<ErrorMode>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// Without it the resource's, unless the condition names another one.
    pub context: Option<RouteContext>,
    /// `attributes["env"] == "prod"`.
    pub condition: Option<String>,
    /// `route() where attributes["env"] == "prod"`.
    pub statement: Option<String>,
    pub pipelines: Vec<String>,
    pub action: RouteAction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteContext {
    Request,
    Resource,
    Span,
    Log,
    Metric,
    DataPoint,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteAction {
    /// Later rows do not see what matched.
    #[default]
    Move,
    /// Later rows see it too.
    Copy,
}

impl RoutingConfig {
    /// Refuses what cannot work in pipelines of `signal`, naming the key.
    pub fn validate(&self, signal: Signal) -> Result<(), ConfigError> {
        if self.table.is_empty() {
            return Err(ConfigError::setting("table", "needs at least one row"));
        }
        self.conditions(signal).map(drop)
    }

    fn conditions(&self, signal: Signal) -> Result<Vec<RouteCondition>, ConfigError> {
        let mode = self.error_mode.unwrap_or(ErrorMode::Propagate);
        let mut conditions = Vec::new();
        for (index, row) in self.table.iter().enumerate() {
            let key = format!("table[{index}]");
            if row.pipelines.is_empty() {
                return Err(ConfigError::setting(
                    format!("{key}.pipelines"),
                    "needs at least one",
                ));
            }
            conditions.push(RouteCondition::compile(&key, row, signal, mode)?);
        }
        Ok(conditions)
    }
}

/// Gives each part of a batch to the pipelines that it belongs to.
pub struct Routing {
    signal: Signal,
    routes: Vec<Route>,
    default: Vec<Output>,
    env: Arc<dyn Env + Send + Sync>,
    activity: Activity,
    stats: RoutingStats,
}

struct Route {
    condition: RouteCondition,
    action: RouteAction,
    outputs: Vec<Output>,
    matched: AtomicU64,
}

#[derive(Default)]
struct RoutingStats {
    /// Items that went to the default pipelines.
    defaulted: AtomicU64,
    /// Items that no row matched and that no pipeline is the default of.
    dropped: AtomicU64,
    /// Conditions that failed on an item.
    errors: AtomicU64,
}

/// A batch on the way to one output.
struct Part {
    output: Output,
    batch: Batch,
}

impl Routing {
    /// A router between pipelines of `signal`.
    pub fn new(
        config: &RoutingConfig,
        signal: Signal,
        outputs: Outputs,
        env: Arc<dyn Env + Send + Sync>,
    ) -> Result<Self, ConfigError> {
        config.validate(signal)?;
        let mut routes = Vec::new();
        for (index, condition) in config.conditions(signal)?.into_iter().enumerate() {
            let row = &config.table[index];
            let key = format!("table[{index}].pipelines");
            routes.push(Route {
                condition,
                action: row.action,
                outputs: of_signal(&key, signal, outputs.named(&key, &row.pipelines)?)?,
                matched: AtomicU64::new(0),
            });
        }
        let key = "default_pipelines";
        Ok(Self {
            signal,
            routes,
            default: of_signal(key, signal, outputs.named(key, &config.default_pipelines)?)?,
            activity: Activity::default(),
            env,
            stats: RoutingStats::default(),
        })
    }

    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Where which part of a batch goes, and how many items a row matched.
    fn route(&self, batch: Batch) -> Result<(Vec<Part>, usize), RunError> {
        let (mut parts, mut matched_items) = (Vec::new(), 0);
        let mut rest = Some(batch);
        // What no row has moved or copied: other than `rest` only once a row has copied.
        let mut unmatched: Option<Option<Batch>> = None;
        for route in &self.routes {
            let Some(left) = &rest else {
                break;
            };
            let split = route.condition.split(left, &*self.env)?;
            self.stats
                .errors
                .fetch_add(split.errors as u64, Ordering::Relaxed);
            if let Some(error) = split.first_error {
                tracing::warn!(%error, "a route's condition failed on an item");
            }
            if let Some(matched) = &split.matched {
                route.matched.fetch_add(matched.items() as u64, Ordering::Relaxed);
                matched_items += matched.items();
                parts.extend(parts_of(&route.outputs, matched));
            }
            if let Some(remaining) = unmatched.take() {
                let without = |batch: Batch| route.condition.split(&batch, &*self.env);
                let split = remaining.map(without).transpose()?;
                unmatched = Some(split.and_then(|split| split.rest));
            } else if route.action == RouteAction::Copy && split.matched.is_some() {
                unmatched = Some(split.rest.clone());
            }
            if route.action == RouteAction::Move {
                rest = split.rest;
            }
        }
        if self.default.is_empty() {
            let dropped = unmatched.unwrap_or(rest).map_or(0, |batch| batch.items());
            self.stats.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
        } else if let Some(rest) = rest {
            self.stats
                .defaulted
                .fetch_add(rest.items() as u64, Ordering::Relaxed);
            parts.extend(parts_of(&self.default, &rest));
        }
        Ok((join(parts), matched_items))
    }
}

fn parts_of(outputs: &[Output], batch: &Batch) -> Vec<Part> {
    let part = |output: &Output| Part {
        output: output.clone(),
        batch: batch.clone(),
    };
    outputs.iter().map(part).collect()
}

/// The outputs, if they take that signal.
fn of_signal(key: &str, signal: Signal, outputs: Vec<Output>) -> Result<Vec<Output>, ConfigError> {
    match outputs.iter().find(|output| output.signal != signal) {
        None => Ok(outputs),
        Some(other) => {
            let problem = format!(
                "`{}` takes {}, and this routes {signal}",
                other.pipeline, other.signal
            );
            Err(ConfigError::setting(key, problem))
        }
    }
}

/// One batch for each output, with all of its parts.
fn join(parts: Vec<Part>) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        let same = joined
            .iter_mut()
            .find(|known| known.output.pipeline == part.output.pipeline);
        match same {
            None => joined.push(part),
            Some(known) => match Batch::concat(&[known.batch.clone(), part.batch.clone()]) {
                Some(batch) => known.batch = batch,
                None => joined.push(part),
            },
        }
    }
    joined
}

#[async_trait]
impl Sink for Routing {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.signal() != self.signal {
            return Err(SendError::permanent(format!("this routes {} only", self.signal)));
        }
        let whole = batch.items();
        let (mut parts, matched) = self.route(batch).map_err(|error| {
            self.stats.errors.fetch_add(1, Ordering::Relaxed);
            SendError::permanent(format!("a route's condition failed: {error}"))
        })?;
        self.activity.saw(whole, matched, self.env.now_unix_nano());
        if parts.len() == 1
            && let Some(part) = parts.pop()
        {
            return part.output.sink.send(part.batch).await;
        }
        let items: Vec<usize> = parts.iter().map(|part| part.batch.items()).collect();
        let parts = parts.into_iter().map(|part| (part.output.sink, part.batch));
        one_answer(send_each(parts.collect()).await, &items, whole)
    }
}

#[async_trait]
impl Component for Routing {
    fn collect(&self, samples: &mut Vec<Sample>) {
        self.activity.collect(samples);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        for (index, route) in self.routes.iter().enumerate() {
            let sample = Sample::count(
                "cupola_connector_routing_matched_items",
                "Items that a row of the table matched.",
                read(&route.matched),
            );
            samples.push(sample.with("row", index.to_string()));
        }
        samples.extend([
            Sample::count(
                "cupola_connector_routing_default_items",
                "Items that no row matched, sent to the default pipelines.",
                read(&self.stats.defaulted),
            ),
            Sample::count(
                "cupola_connector_routing_dropped_items",
                "Items that no row matched, dropped because there are no default pipelines.",
                read(&self.stats.dropped),
            ),
            Sample::count(
                "cupola_connector_routing_errors",
                "Conditions that failed on an item.",
                read(&self.stats.errors),
            ),
        ]);
    }
}
