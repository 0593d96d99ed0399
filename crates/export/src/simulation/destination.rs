//! A destination with moods.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use cupola_telemetry::Batch;
use parking_lot::Mutex;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::{batch_of, items_of};
use crate::{Accepted, Component, SendError, Sink};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
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
    /// Takes a part; says which items not, or only how many.
    Partial,
    /// Asks to come again later.
    Busy,
    Panicking,
}

impl Mood {
    pub(super) fn draw(random: &mut ChaCha8Rng) -> Mood {
        match random.random_range(0..16) {
            0..4 => Mood::Well,
            4 | 5 => Mood::Slow(random.random_range(10..4000)),
            6..9 => Mood::Dead,
            9 | 10 => Mood::Flapping,
            11 => Mood::Lying,
            12 => Mood::Picky,
            13 => Mood::Partial,
            14 => Mood::Busy,
            _ => Mood::Panicking,
        }
    }
}

pub(super) struct Destination {
    state: Mutex<State>,
}

struct State {
    mood: Mood,
    random: ChaCha8Rng,
    taken: BTreeSet<u64>,
}

impl Destination {
    pub(super) fn new(seed: u64) -> Destination {
        Destination {
            state: Mutex::new(State {
                mood: Mood::Well,
                random: ChaCha8Rng::seed_from_u64(seed),
                taken: BTreeSet::new(),
            }),
        }
    }

    pub(super) fn set(&self, mood: Mood) {
        self.state.lock().mood = mood;
    }

    pub(super) fn taken(&self) -> BTreeSet<u64> {
        self.state.lock().taken.clone()
    }

    fn take(&self, items: &[u64]) {
        self.state.lock().taken.extend(items);
    }
}

#[async_trait]
impl Sink for Destination {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        let items = items_of(&batch);
        let (mood, coin, number) = {
            let mut state = self.state.lock();
            (
                state.mood,
                state.random.random::<bool>(),
                state.random.random_range(0..4000),
            )
        };
        match mood {
            Mood::Well => {}
            Mood::Slow(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(number % milliseconds)).await
            }
            Mood::Flapping if coin => {}
            Mood::Dead | Mood::Flapping => return Err(SendError::retryable("connection refused")),
            Mood::Lying => {
                self.take(&items);
                if coin {
                    std::future::pending::<()>().await;
                }
                return Err(SendError::retryable("broken pipe"));
            }
            Mood::Picky => return Err(SendError::permanent("malformed")),
            Mood::Partial => {
                let (taken, refused) = items.split_at(number as usize % (items.len() + 1));
                self.take(taken);
                let named = coin && !refused.is_empty();
                return Ok(Accepted {
                    rejected: refused.len() as u64,
                    message: "too old".to_owned(),
                    refused: named.then(|| batch_of(refused)).into_iter().collect(),
                });
            }
            Mood::Busy => {
                return Err(SendError::Retryable {
                    reason: "busy".to_owned(),
                    retry_after: Some(Duration::from_millis(number)),
                });
            }
            Mood::Panicking => std::panic::resume_unwind(Box::new("a mood")),
        }
        self.take(&items);
        Ok(Accepted::all())
    }
}

impl Component for Destination {}
