//! What is kept between collections, and one collection: what all threads have measured becomes one, in the temporality that each
//! stream has. Belongs to one process: a child of a fork begins anew, and repeats nothing of its parent.
//!
//! Start times follow the specification: of what is told since the last collection, that collection; of what is told since it
//! began, the first measurement of its series.
//!
//! <https://opentelemetry.io/docs/specs/otel/metrics/sdk/#start-timestamps>

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::Meters;
use super::encode::{Point as Encoded, Writer};
use super::exemplar::Reservoir;
use super::point::{Point, Shape};
use super::problem::Problem;
use super::stream::Stream;
use super::table::{Key, Measured, Table, overflow_key};
use crate::fork;

/// What one process keeps.
pub(super) struct State {
    streams: Vec<Accumulated>,
    random: SmallRng,
}

impl Default for State {
    fn default() -> State {
        State {
            streams: Vec::new(),
            random: SmallRng::seed_from_u64(RandomState::new().hash_one(0)),
        }
    }
}

/// What has come together of one stream.
#[derive(Default)]
struct Accumulated {
    series: Vec<Series>,
    /// Places of series, by their attributes.
    places: HashTable<u32>,
    overflow: Option<u32>,
    /// As many as threads know to be told for ever.
    kept: usize,
    /// When it was last collected.
    collected_unix_nano: Option<u64>,
}

/// One series.
struct Series {
    /// Attributes as they are sent.
    canonical: Box<[u8]>,
    hash: u64,
    start_unix_nano: u64,
    point: Point,
    /// What was observed before, where it is told since then.
    earlier: Option<Point>,
    exemplars: Option<Box<Reservoir>>,
    /// Since the last collection.
    is_updated: bool,
}

/// What one collection brings of one stream.
pub(super) struct Brought {
    pub(super) tables: Vec<Table>,
    /// All callbacks have been called, and returned.
    pub(super) is_complete: bool,
    pub(super) unix_nano: u64,
}

impl State {
    /// Takes over what was brought of a stream, and writes what is to be told of it.
    pub(super) fn collect(
        &mut self,
        stream: &Stream,
        brought: Brought,
        writer: &mut Writer<'_>,
        meters: &Meters,
    ) {
        if self.streams.len() <= stream.index {
            self.streams.resize_with(stream.index + 1, Accumulated::default);
        }
        let accumulated = &mut self.streams[stream.index];
        let start = accumulated.interval_start(stream, &brought);
        if stream.identity.kind.is_observable() {
            accumulated.observe(stream, brought.tables, start, brought.is_complete);
        } else {
            for table in brought.tables {
                accumulated.merge(stream, table, meters, &mut self.random);
            }
        }
        accumulated.write(stream, start, brought.unix_nano, writer);
        accumulated.end(stream);
        accumulated.collected_unix_nano = Some(brought.unix_nano);
    }
}

impl Accumulated {
    /// When what is brought began to be measured.
    fn interval_start(&self, stream: &Stream, brought: &Brought) -> u64 {
        if let Some(last) = self.collected_unix_nano {
            return last;
        }
        if stream.generation == fork::generation() {
            return stream.created_unix_nano;
        }
        // Made by the parent of this process: not before the first measurement of its own.
        let first = brought.tables.iter().map(|table| table.since_unix_nano).min();
        first.unwrap_or(brought.unix_nano)
    }

    /// Adds what one thread has measured.
    fn merge(&mut self, stream: &Stream, table: Table, meters: &Meters, random: &mut SmallRng) {
        for (at, measured) in table.series.into_iter().enumerate() {
            let is_overflow = table.overflow == Some(at as u32);
            let place = match self.place_of(&measured.canonical, measured.hash) {
                Some(place) => place,
                None if is_overflow || self.is_full(stream) => self.overflow(stream, meters, &measured),
                None => self.push(
                    stream,
                    measured.canonical,
                    measured.hash,
                    measured.since_unix_nano,
                ),
            };
            let series = &mut self.series[place as usize];
            series.start_unix_nano = series.start_unix_nano.min(measured.since_unix_nano);
            series.point.merge(&measured.point, &stream.identity.shape);
            series.is_updated = true;
            match (&mut series.exemplars, measured.exemplars) {
                (Some(exemplars), Some(more)) => exemplars.merge(*more, random),
                (none @ None, more) => *none = more,
                (Some(_), None) => {}
            }
        }
    }

    fn is_full(&self, stream: &Stream) -> bool {
        self.series.len() - usize::from(self.overflow.is_some()) >= stream.identity.limit
    }

    #[cold]
    fn overflow(&mut self, stream: &Stream, meters: &Meters, measured: &Measured) -> u32 {
        if let Some(place) = self.overflow {
            return place;
        }
        meters.problems.add(Problem::Overflow {
            metric: stream.identity.name.clone(),
            limit: stream.identity.limit,
        });
        let Key { canonical, hash, .. } = overflow_key(stream, &meters.hashing);
        // An application may have made that series itself.
        let place = match self.place_of(&canonical, hash) {
            Some(place) => place,
            None => self.push(stream, canonical, hash, measured.since_unix_nano),
        };
        self.overflow = Some(place);
        place
    }

    fn push(&mut self, stream: &Stream, canonical: Box<[u8]>, hash: u64, start_unix_nano: u64) -> u32 {
        self.series.push(Series {
            canonical,
            hash,
            start_unix_nano,
            point: stream.identity.shape.point(stream.identity.is_int),
            earlier: None,
            exemplars: None,
            is_updated: false,
        });
        let place = self.series.len() as u32 - 1;
        let series = &self.series;
        self.places
            .insert_unique(hash, place, |place| series[*place as usize].hash);
        place
    }

    fn place_of(&self, canonical: &[u8], hash: u64) -> Option<u32> {
        let is_it = |place: &u32| {
            let series = &self.series[*place as usize];
            series.hash == hash && *series.canonical == *canonical
        };
        self.places.find(hash, is_it).copied()
    }

    /// Puts what callbacks have observed in place of what they did before. What they did not observe is forgotten, unless they
    /// failed: then it is kept, untold, so that what is told since then does not begin anew.
    fn observe(&mut self, stream: &Stream, tables: Vec<Table>, start: u64, is_complete: bool) {
        for measured in tables.into_iter().flat_map(|table| table.series) {
            let known = self.place_of(&measured.canonical, measured.hash);
            let place = match known {
                Some(place) => place,
                None => self.push(stream, measured.canonical, measured.hash, start),
            };
            let series = &mut self.series[place as usize];
            let before = std::mem::replace(&mut series.point, measured.point);
            if known.is_some() {
                if stream.identity.kind.is_monotonic() && series.point.is_below(&before) {
                    // It was reset, at some time since the last collection.
                    series.start_unix_nano = start;
                } else {
                    series.earlier = Some(before);
                }
            }
            series.is_updated = true;
        }
        let is_kept = !is_complete && self.series.len() <= stream.identity.limit.saturating_add(1);
        if !is_kept && self.series.iter().any(|series| !series.is_updated) {
            self.series.retain(|series| series.is_updated);
            self.places.clear();
            for place in 0..self.series.len() as u32 {
                let series = &self.series;
                let hash = series[place as usize].hash;
                self.places
                    .insert_unique(hash, place, |place| series[*place as usize].hash);
            }
        }
    }

    /// Writes what is to be told: of what is told since the last collection, and of what is observed, what has been measured
    /// since then; of the rest, everything.
    fn write(&self, stream: &Stream, start: u64, unix_nano: u64, writer: &mut Writer<'_>) {
        let identity = &stream.identity;
        let is_only_new = identity.is_delta || identity.kind.is_observable();
        for series in &self.series {
            if is_only_new && !series.is_updated {
                continue;
            }
            let grown = match &series.earlier {
                Some(earlier) if identity.is_delta => Some(series.point.since(earlier)),
                _ => None,
            };
            writer.point(
                stream,
                &Encoded {
                    attributes: &series.canonical,
                    start_unix_nano: match (&identity.shape, identity.is_delta) {
                        (Shape::LastValue, _) => 0,
                        (_, true) => start,
                        (_, false) => series.start_unix_nano,
                    },
                    unix_nano,
                    point: grown.as_ref().unwrap_or(&series.point),
                    exemplars: series.exemplars.as_deref(),
                },
            );
        }
    }

    /// What is told since the last collection begins anew; of the rest, only what was kept to be told once.
    fn end(&mut self, stream: &Stream) {
        if stream.identity.is_delta && !stream.identity.kind.is_observable() {
            self.series.clear();
            self.places.clear();
            self.overflow = None;
            return;
        }
        if !stream.identity.kind.is_observable() && self.series.len() != self.kept {
            let mut hashes: Vec<u64> = self.series.iter().map(|series| series.hash).collect();
            hashes.sort_unstable();
            self.kept = hashes.len();
            stream.kept.store(Arc::new(hashes));
        }
        for series in &mut self.series {
            series.is_updated = false;
            series.earlier = None;
            series.exemplars = None;
        }
    }
}
