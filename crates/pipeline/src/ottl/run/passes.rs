//! Statements that make new metrics: as they run over those as well, a batch is walked until there are no more.
//!
//! Each walk passes over what the ones before have seen. What is made is bounded, so that statements that copy their own
//! copies end with an error. Between walks, and between groups that share it, a cache is kept encoded.

use std::collections::HashMap;

use cupola_telemetry::Batch;
use cupola_telemetry::edit::{Level, Map, MetricKind, Place, Value, edit};

use super::{Executor, Outcome, Statements, Work};
use crate::ottl::context::Context;
use crate::ottl::env::Env;
use crate::ottl::error::RunError;

/// Bytes of new metrics that the statements of a group may add to a batch.
const APPENDED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Walks over one batch. New metrics of the last one are not made any more.
const PASSES_MAX: usize = 16;

/// The caches of statements over one batch, by context.
#[derive(Debug, Default)]
pub struct SharedCaches(HashMap<Context, Vec<u8>>);

/// How far a walk has come, and what it need not look at.
#[derive(Default)]
pub(super) struct Progress {
    /// Items that earlier walks have seen, by scope.
    seen: Vec<usize>,
    /// Items of each scope so far.
    items: Vec<usize>,
    /// Whether statements look at the other points of their metric.
    keeps_points: bool,
    pub(super) points_done: Vec<Vec<u8>>,
    pub(super) room: usize,
}

impl Progress {
    #[inline]
    pub(super) fn enter(&mut self, level: Level, statements: &Statements) {
        match level {
            Level::Scope => self.items.push(0),
            Level::Item => {
                if let Some(items) = self.items.last_mut() {
                    *items += 1;
                }
                self.keeps_points = statements.context == Context::DataPoint && statements.appends();
                self.points_done.clear();
            }
            Level::Resource | Level::Part => {}
        }
    }

    /// Whether the item that the walk is in has been seen before.
    #[inline]
    pub(super) fn is_skipping(&self) -> bool {
        match (self.items.last(), self.seen.get(self.items.len().wrapping_sub(1))) {
            (Some(items), Some(seen)) => items <= seen,
            _ => false,
        }
    }

    #[inline]
    pub(super) fn leave(&mut self, level: Level, place: &Place<'_>) {
        // Only summaries are looked at so.
        if self.keeps_points && level == Level::Part && place.metric_kind() == Some(MetricKind::Summary) {
            self.points_done.push(place.part.encode());
        }
    }
}

impl Statements {
    fn appends(&self) -> bool {
        self.statements.iter().any(|statement| statement.editor.appends())
    }
}

/// Runs statements over `batch` and over what they add to it.
pub(super) fn run(
    statements: &Statements,
    batch: &Batch,
    env: &dyn Env,
    caches: &mut SharedCaches,
) -> Result<Outcome, RunError> {
    let mut outcome = Outcome {
        batch: Some(batch.clone()),
        errors: 0,
        first_error: None,
    };
    let (mut seen, mut room) = (Vec::new(), APPENDED_BYTES_MAX);
    let passes = if statements.appends() { PASSES_MAX } else { 1 };
    for pass in 1..=passes {
        let Some(batch) = &outcome.batch else {
            break;
        };
        // Those that do not share it leave it to those that do.
        let cache = match statements.shared_cache {
            true => caches.0.remove(&statements.context).unwrap_or_default(),
            false => Vec::new(),
        };
        let mut executor = Executor::new(
            Work::Statements(statements),
            env,
            batch.signal(),
            statements.context.level(),
        );
        if let Value::Map(cache) = Value::decode(&cache) {
            executor.cache = cache;
        }
        let before = if pass == passes { 0 } else { room };
        executor.progress.seen = seen;
        executor.progress.room = before;
        let left = edit(batch, &mut executor)?;
        let made = before - executor.progress.room;
        if statements.shared_cache {
            let cache = std::mem::replace(&mut executor.cache, Map::new());
            caches.0.insert(statements.context, Value::Map(cache).encode());
        }
        room -= made;
        seen = executor.progress.items;
        outcome = Outcome {
            batch: left,
            errors: outcome.errors + executor.errors,
            first_error: outcome.first_error.or(executor.first_error),
        };
        if made == 0 {
            break;
        }
    }
    Ok(outcome)
}
