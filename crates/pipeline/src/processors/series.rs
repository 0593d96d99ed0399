//! State of metric streams, for processors that make one temporality of another.
//!
//! A stream is what has one tenant, resource, scope, metric and set of point attributes; the order of attributes makes no
//! difference. Streams are told apart by 128-bit hashes, so that what they take does not depend on their attributes.
//!
//! What a batch changes is undone unless its delivery is confirmed: a batch that the next sink refuses comes again, and
//! finds the state as it was the first time.

mod convert;
mod exponential;
mod point;

use std::hash::Hasher;

use cupola_telemetry::TenantId;
use cupola_telemetry::edit::{Message, MetricKind, Place};
use xxhash_rust::xxh3::Xxh3;

pub(super) use self::convert::{Converter, Converting, Outcome};
pub(super) use self::point::Point;
use super::lru::Lru;

/// A stream by its hash.
pub(super) type StreamId = u128;

/// Streams with what is known of each.
pub(super) struct Streams<S> {
    streams: Lru<StreamId, (S, u64)>,
    streams_max: usize,
    /// Nanoseconds without a point after which a stream is forgotten; zero is never.
    stale_nanos: u64,
    undo: Vec<(StreamId, Option<(S, u64)>)>,
    pub(super) overflowed: u64,
    pub(super) stale: u64,
}

impl<S: Clone> Streams<S> {
    pub(super) fn new(streams_max: usize, stale_nanos: u64) -> Self {
        Self {
            streams: Lru::new(streams_max),
            streams_max,
            stale_nanos,
            undo: Vec::new(),
            overflowed: 0,
            stale: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Forgets the streams that had no point for too long.
    pub(super) fn forget_stale(&mut self, now: u64) {
        let stale = self.stale_nanos;
        while stale > 0
            && self
                .streams
                .oldest()
                .is_some_and(|(_, (_, seen))| now.saturating_sub(*seen) >= stale)
        {
            self.streams.pop();
            self.stale += 1;
        }
    }

    pub(super) fn get(&mut self, id: StreamId) -> Option<S> {
        self.streams.get(&id).map(|(state, _)| state.clone())
    }

    /// Whether one more stream has room; if not, that is counted.
    pub(super) fn has_room(&mut self) -> bool {
        let room = self.streams.len() < self.streams_max;
        self.overflowed += u64::from(!room);
        room
    }

    pub(super) fn set(&mut self, id: StreamId, state: S, now: u64) {
        let before = self.streams.get(&id).cloned();
        self.undo.push((id, before));
        self.streams.insert(id, (state, now));
    }

    /// What was set since the last call stays.
    pub(super) fn commit(&mut self) {
        self.undo.clear();
    }

    /// What was set since the last commit is undone.
    pub(super) fn roll_back(&mut self) {
        while let Some((id, before)) = self.undo.pop() {
            match before {
                Some(before) => self.streams.insert(id, before),
                None => {
                    self.streams.remove(&id);
                }
            }
        }
    }
}

/// The hash of what is around a metric's points, kept while the walk is in it.
#[derive(Default)]
pub(super) struct Identity {
    around: Xxh3,
    scratch: Vec<u8>,
}

impl Identity {
    /// Begins the streams of the metric that is being visited.
    pub(super) fn metric(&mut self, tenant: &TenantId, place: &Place<'_>) {
        self.around = Xxh3::new();
        self.text(tenant.as_str().as_bytes());
        self.scratch.clear();
        place
            .resource
            .with_message(1, |resource| hash_attributes(resource, 1, &mut self.scratch));
        place.scope.with_message(1, |scope| {
            hash_text(scope.text(1).as_bytes(), &mut self.scratch);
            hash_text(scope.text(2).as_bytes(), &mut self.scratch);
            hash_attributes(scope, 3, &mut self.scratch);
        });
        hash_text(place.item.text(1).as_bytes(), &mut self.scratch);
        hash_text(place.item.text(3).as_bytes(), &mut self.scratch);
        let kind = place.metric_kind().map_or(0, |kind| match kind {
            MetricKind::Gauge => 1,
            MetricKind::Sum => 2,
            MetricKind::Histogram => 3,
            MetricKind::ExponentialHistogram => 4,
            MetricKind::Summary => 5,
        });
        self.scratch.push(kind);
        self.scratch
            .push(u8::from(place.data.number(3).unwrap_or(0) != 0));
        self.around.write(&self.scratch);
    }

    fn text(&mut self, text: &[u8]) {
        self.around.write(&(text.len() as u64).to_le_bytes());
        self.around.write(text);
    }

    /// The stream of a point, whose attributes are fields `number`.
    pub(super) fn point(&mut self, point: &Message<'_>, number: u32) -> StreamId {
        self.scratch.clear();
        hash_attributes(point, number, &mut self.scratch);
        let mut hash = self.around.clone();
        hash.write(&self.scratch);
        hash.digest128()
    }
}

fn hash_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
}

/// Pairs in the order of their bytes, so that the sender's makes no difference.
fn hash_attributes(message: &Message<'_>, number: u32, out: &mut Vec<u8>) {
    let mut pairs: Vec<&[u8]> = message.repeated(number).collect();
    pairs.sort_unstable();
    out.extend_from_slice(&(pairs.len() as u64).to_le_bytes());
    pairs.into_iter().for_each(|pair| hash_text(pair, out));
}
