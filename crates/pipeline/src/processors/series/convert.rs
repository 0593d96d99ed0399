//! The walk of a processor that converts temporality, its transactions, and its place in a pipeline.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use cupola_export::{Accepted, SendError, Sink};
use cupola_telemetry::edit::{Editor, Level, MetricKind, Place, Verdict, edit};
use cupola_telemetry::{Batch, Signal, TenantId};
use parking_lot::Mutex as SyncMutex;
use tokio::sync::Mutex;

use super::point::Point;
use super::{Identity, Streams};
use crate::ottl::Env;

/// Number of the temporality in the data of a metric.
const TEMPORALITY: u32 = 2;

/// Makes points of one temporality out of points of another.
pub(in crate::processors) trait Converter: Send + Sync {
    /// Temporality that it makes, as the protocol numbers it: 1 delta, 2 cumulative.
    const TEMPORALITY: u64;

    /// Whether points of this metric are converted.
    fn wants(&self, place: &Place<'_>, kind: MetricKind) -> bool;

    /// The next point of a stream, of which `state` is known.
    fn convert(&self, state: Option<Point>, point: Point) -> Outcome;

    /// Whether a stream beyond the bound is refused, instead of the one that was silent the longest being forgotten.
    fn refuses_overflow(&self) -> bool;
}

pub(in crate::processors) enum Outcome {
    /// `point` takes the place of what came, and `state` is known from now on.
    Emit { point: Point, state: Point },
    /// Nothing is passed on, for a reason that is counted.
    Drop {
        reason: &'static str,
        state: Option<Point>,
    },
}

/// A converter in front of a sink. One batch at a time, until it is delivered: points of a stream stay in their order.
pub(in crate::processors) struct Converting<C> {
    pub(in crate::processors) converter: C,
    streams: Mutex<Streams<Point>>,
    next: Arc<dyn Sink>,
    env: Arc<dyn Env + Send>,
    pub(in crate::processors) counts: SyncMutex<Counts>,
}

/// Counts as of the last batch that was delivered.
#[derive(Clone, Default)]
pub(in crate::processors) struct Counts {
    pub(in crate::processors) streams: usize,
    pub(in crate::processors) overflowed: u64,
    pub(in crate::processors) stale: u64,
    pub(in crate::processors) converted: u64,
    pub(in crate::processors) dropped: BTreeMap<&'static str, u64>,
}

impl<C: Converter> Converting<C> {
    pub(in crate::processors) fn new(
        converter: C,
        streams: Streams<Point>,
        next: Arc<dyn Sink>,
        env: Arc<dyn Env + Send>,
    ) -> Self {
        Self {
            converter,
            streams: Mutex::new(streams),
            next,
            env,
            counts: SyncMutex::default(),
        }
    }

    pub(in crate::processors) async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        if batch.signal() != Signal::Metrics {
            return self.next.send(batch).await;
        }
        let mut streams = self.streams.lock().await;
        let now = self.env.now_unix_nano();
        streams.forget_stale(now);
        let transaction = Transaction {
            streams: &mut streams,
        };
        let mut work = Work {
            converter: &self.converter,
            tenant: batch.tenant(),
            streams: transaction.streams,
            identity: Identity::default(),
            points: Vec::new().into_iter(),
            wanted: None,
            now,
            converted: 0,
            dropped: BTreeMap::new(),
        };
        let Ok(left) = edit(&batch, &mut work);
        let (converted, dropped) = (work.converted, work.dropped);
        let answer = match left {
            Some(left) => self.next.send(left).await,
            None => Ok(Accepted::all()),
        };
        // What is refused for good does not come again: its points have been counted by whoever refused them.
        if matches!(answer, Ok(_) | Err(SendError::Permanent { .. })) {
            transaction.streams.commit();
            let mut counts = self.counts.lock();
            counts.streams = transaction.streams.len();
            counts.overflowed = transaction.streams.overflowed;
            counts.stale = transaction.streams.stale;
            counts.converted += converted;
            for (reason, count) in dropped {
                *counts.dropped.entry(reason).or_default() += count;
            }
        }
        drop(transaction);
        answer
    }
}

/// Undoes what is not committed, also when the sender gives up while it waits.
struct Transaction<'s> {
    streams: &'s mut Streams<Point>,
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.streams.roll_back();
    }
}

struct Work<'a, 'w, C> {
    converter: &'w C,
    tenant: &'w TenantId,
    streams: &'w mut Streams<Point>,
    identity: Identity,
    /// Of the metric that the walk is in, those to come.
    points: std::vec::IntoIter<&'a [u8]>,
    wanted: Option<MetricKind>,
    now: u64,
    converted: u64,
    dropped: BTreeMap<&'static str, u64>,
}

impl<'a, C: Converter> Editor<'a> for Work<'a, '_, C> {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        Level::Part
    }

    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Infallible> {
        match level {
            Level::Resource | Level::Scope => Ok(Verdict::Keep),
            Level::Item => {
                let kind = place.metric_kind();
                self.wanted = kind.filter(|kind| self.converter.wants(place, *kind));
                if self.wanted.is_some() {
                    self.identity.metric(self.tenant, place);
                    self.points = place.points().collect::<Vec<_>>().into_iter();
                    place.data.set_varint(TEMPORALITY, C::TEMPORALITY);
                }
                Ok(Verdict::Keep)
            }
            Level::Part => Ok(match self.wanted {
                Some(kind) => self.point(kind, place),
                None => Verdict::Keep,
            }),
        }
    }
}

impl<'a, C: Converter> Work<'a, '_, C> {
    fn point(&mut self, kind: MetricKind, place: &mut Place<'a>) -> Verdict {
        // A point without a value says that the stream pauses: it is passed on.
        let Some(point) = self.points.next().and_then(|raw| Point::read(kind, raw)) else {
            return Verdict::Keep;
        };
        let id = self.identity.point(&place.part, Point::attributes(kind));
        let state = self.streams.get(id);
        if state.is_none() && !self.streams.has_room() && self.converter.refuses_overflow() {
            return self.drop("limit");
        }
        match self.converter.convert(state, point) {
            Outcome::Emit { point, state } => {
                self.streams.set(id, state, self.now);
                point.write(&mut place.part);
                self.converted += 1;
                Verdict::Keep
            }
            Outcome::Drop { reason, state } => {
                if let Some(state) = state {
                    self.streams.set(id, state, self.now);
                }
                self.drop(reason)
            }
        }
    }

    fn drop(&mut self, reason: &'static str) -> Verdict {
        *self.dropped.entry(reason).or_default() += 1;
        Verdict::Drop
    }
}
