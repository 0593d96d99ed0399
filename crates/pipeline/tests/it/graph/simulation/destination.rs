//! Destinations with moods, each behind a real exporter, which is registered as the component `moody`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cupola_export::{Accepted, Component, DeliveryConfig, Exporter, SendError, Sink};
use cupola_pipeline::graph::Context;
use cupola_pipeline::graph::kinds::{BuildError, ExporterSettings, Kind, Registry};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::Deserialize;

use super::Dice;
use crate::graph::bench_components::bodies;

#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Mood {
    #[default]
    Well,
    /// Takes a batch after up to this many milliseconds, which may be too late for its sender.
    Slow(u64),
    Dead,
    /// Each request is answered or not, by chance.
    Flapping,
    /// Takes a batch and says that it did not, or nothing.
    Lying,
    /// Refuses batches for good.
    Picky,
    /// Asks to come again later.
    Busy,
    Panicking,
}

impl Mood {
    pub(super) fn draw(dice: &mut Dice) -> Mood {
        match dice.below(14) {
            0..4 => Mood::Well,
            4 => Mood::Slow(dice.below(4000) + 10),
            5..8 => Mood::Dead,
            8 | 9 => Mood::Flapping,
            10 => Mood::Lying,
            11 => Mood::Picky,
            12 => Mood::Busy,
            _ => Mood::Panicking,
        }
    }
}

/// Numbers of items.
fn items_of(batch: &Batch) -> Vec<u64> {
    let bodies = bodies(std::slice::from_ref(batch));
    assert_eq!(bodies.len(), batch.items());
    bodies
        .iter()
        .map(|body| body.parse().expect("a number"))
        .collect()
}

/// Takes everything.
#[derive(Default)]
pub(super) struct Collecting(Mutex<Vec<u64>>);

impl Collecting {
    pub(super) fn items(&self) -> Vec<u64> {
        self.0.lock().clone()
    }
}

#[async_trait]
impl Sink for Collecting {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.0.lock().extend(items_of(&batch));
        Ok(Accepted::all())
    }
}

struct Destination {
    state: Mutex<State>,
}

struct State {
    mood: Mood,
    dice: Dice,
    taken: BTreeSet<u64>,
}

#[async_trait]
impl Sink for Destination {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let items = items_of(&batch);
        let (mood, coin, number) = {
            let mut state = self.state.lock();
            (state.mood, state.dice.one_in(2), state.dice.below(4000))
        };
        match mood {
            Mood::Well => {}
            Mood::Slow(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(number % milliseconds)).await
            }
            Mood::Flapping if coin => {}
            Mood::Dead | Mood::Flapping => return Err(SendError::retryable("connection refused")),
            Mood::Lying => {
                self.state.lock().taken.extend(items);
                if coin {
                    std::future::pending::<()>().await;
                }
                return Err(SendError::retryable("broken pipe"));
            }
            Mood::Picky => return Err(SendError::permanent("malformed")),
            Mood::Busy => {
                return Err(SendError::Retryable {
                    reason: "busy".to_owned(),
                    retry_after: Some(Duration::from_millis(number)),
                });
            }
            Mood::Panicking => std::panic::resume_unwind(Box::new("a mood")),
        }
        self.state.lock().taken.extend(items);
        Ok(Accepted::all())
    }
}

impl Component for Destination {}

/// Settings of `moody`, by number of its destination.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    number: usize,
    durable: bool,
    /// Making it fails.
    broken: bool,
    delivery: DeliveryConfig,
}

/// All destinations of a simulation, and every exporter that was made for them.
#[derive(Clone)]
pub(super) struct Destinations {
    directory: PathBuf,
    seed: u64,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    destinations: BTreeMap<usize, Arc<Destination>>,
    exporters: Vec<(usize, Arc<Exporter>)>,
}

impl Destinations {
    pub(super) fn new(directory: &Path, seed: u64) -> Destinations {
        Destinations {
            directory: directory.to_owned(),
            seed,
            inside: Arc::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let all = self.clone();
        registry.exporters.push(Kind::new::<Settings>(
            "moody",
            &[Signal::Logs],
            |_| Vec::new(),
            move |settings| Arc::new(Moody(all.clone(), settings)) as Arc<dyn ExporterSettings>,
        ));
    }

    fn get(&self, number: usize) -> Arc<Destination> {
        let seed = self.seed;
        let mut inside = self.inside.lock();
        let destination = inside.destinations.entry(number).or_insert_with(|| {
            Arc::new(Destination {
                state: Mutex::new(State {
                    mood: Mood::Well,
                    dice: Dice::new(seed * 100 + 50 + number as u64),
                    taken: BTreeSet::new(),
                }),
            })
        });
        destination.clone()
    }

    pub(super) fn set(&self, number: usize, mood: Mood) {
        self.get(number).state.lock().mood = mood;
    }

    pub(super) fn all_well(&self) {
        for destination in self.inside.lock().destinations.values() {
            destination.state.lock().mood = Mood::Well;
        }
    }

    pub(super) fn taken(&self, number: usize) -> BTreeSet<u64> {
        self.get(number).state.lock().taken.clone()
    }

    pub(super) fn letters(&self, number: usize) -> PathBuf {
        self.directory.join(format!("letters-{number}"))
    }

    /// What all exporters of a destination have counted under these names.
    pub(super) fn losses(&self, number: usize, names: &[&str]) -> u64 {
        let mut samples = Vec::new();
        for (of, exporter) in &self.inside.lock().exporters {
            if *of == number {
                exporter.collect(&mut samples);
            }
        }
        let named = samples.iter().filter(|sample| names.contains(&sample.name));
        named.map(|sample| sample.value as u64).sum()
    }
}

struct Moody(Destinations, Settings);

impl ExporterSettings for Moody {
    fn build(&self, context: Context) -> BoxFuture<'_, Result<Arc<dyn Component>, BuildError>> {
        async move {
            let Moody(all, settings) = self;
            if settings.broken {
                return Err(BuildError::new("it is broken"));
            }
            let number = settings.number;
            let exporter = Exporter::start(
                context.id.to_string(),
                settings.delivery.clone(),
                all.get(number),
                settings
                    .durable
                    .then(|| all.directory.join(format!("queue-{number}"))),
                Some(all.letters(number)),
                MemoryBudget::new(100_000),
            )
            .await;
            let exporter = Arc::new(exporter.map_err(BuildError::of)?);
            all.inside.lock().exporters.push((number, exporter.clone()));
            Ok(exporter as Arc<dyn Component>)
        }
        .boxed()
    }
}
