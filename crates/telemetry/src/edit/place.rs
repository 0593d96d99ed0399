//! `Place`: where a walk is, and the messages there.

use super::field::Fields;
use super::message::Message;
use crate::wire::write_bytes;

/// How far a walk has gone in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// `ResourceLogs`, `ResourceSpans`, `ResourceMetrics`.
    Resource,
    /// `ScopeLogs`, `ScopeSpans`, `ScopeMetrics`.
    Scope,
    /// `LogRecord`, `Span`, `Metric`.
    Item,
    /// `Event` of a span, data point of a metric.
    Part,
}

/// The data that a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

impl MetricKind {
    pub(super) fn of_number(number: u32) -> Option<Self> {
        Some(match number {
            5 => Self::Gauge,
            7 => Self::Sum,
            9 => Self::Histogram,
            10 => Self::ExponentialHistogram,
            11 => Self::Summary,
            _ => return None,
        })
    }

    /// Its field in `Metric`.
    pub fn number(self) -> u32 {
        match self {
            Self::Gauge => 5,
            Self::Sum => 7,
            Self::Histogram => 9,
            Self::ExponentialHistogram => 10,
            Self::Summary => 11,
        }
    }
}

/// The messages that a walk is in. Those below the level that is visited are of no meaning, with the exception of
/// `data`, which a metric has.
///
/// A message whose children are visited by themselves shows its other fields only: `resource` and `scope` are the
/// envelopes, with the resource or the scope as field 1 and the schema URL as field 3.
#[derive(Debug, Default)]
pub struct Place<'a> {
    pub resource: Message<'a>,
    pub scope: Message<'a>,
    pub item: Message<'a>,
    /// `Gauge`, `Sum` and so on of the metric, without its points.
    pub data: Message<'a>,
    pub part: Message<'a>,
    pub(super) kind: Option<MetricKind>,
    pub(super) points: &'a [u8],
    /// Points that have taken the place of `points`.
    pub(super) points_set: Option<Vec<u8>>,
    /// Items that come behind those of the scope, encoded.
    pub(super) appended: Vec<Vec<u8>>,
}

impl<'a> Place<'a> {
    /// What the metric has; `None` if it has nothing, or something that this version's OTLP does not know.
    pub fn metric_kind(&self) -> Option<MetricKind> {
        self.kind
    }

    /// Makes a gauge a sum or the other way round, whose points are alike. Ignored for other kinds, and when it is
    /// not a metric that is being visited. Fields of `data` that the new kind does not have are the caller's.
    pub fn set_metric_kind(&mut self, kind: MetricKind) {
        let alike = |kind| matches!(kind, MetricKind::Gauge | MetricKind::Sum);
        if self.kind.is_some_and(alike) && alike(kind) {
            self.kind = Some(kind);
        }
    }

    /// Encoded points of the metric as they came.
    pub fn points(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut fields = Fields::new(self.points);
        std::iter::from_fn(move || fields.next_contents(1))
    }

    /// Encoded points of the metric as they came or as they were set.
    pub fn points_now(&self) -> impl Iterator<Item = &[u8]> {
        let mut fields = Fields::new(self.points_set.as_deref().unwrap_or(self.points));
        std::iter::from_fn(move || fields.next_contents(1))
    }

    /// Gives the metric other points, encoded, of a kind that may be another one. For metrics whose points are not
    /// visited by themselves. Fields of `data` that the new kind does not have are the caller's.
    pub fn set_points(&mut self, kind: MetricKind, points: impl IntoIterator<Item = Vec<u8>>) {
        let mut encoded = Vec::new();
        for point in points {
            write_bytes(&mut encoded, 1, &point);
        }
        self.kind = Some(kind);
        self.points_set = Some(encoded);
    }

    /// Has an encoded item of the same kind follow those of the scope. It is not visited by this walk.
    pub fn append_item(&mut self, item: Vec<u8>) {
        self.appended.push(item);
    }

    /// The metric as it is now, encoded: the item with its data and its points.
    pub fn encode_metric(&self) -> Vec<u8> {
        let mut metric = self.item.encode();
        if let Some(kind) = self.kind {
            let mut data = self.data.encode();
            for point in self.points_now() {
                write_bytes(&mut data, 1, point);
            }
            write_bytes(&mut metric, kind.number(), &data);
        }
        metric
    }

    pub(super) fn message_mut(&mut self, level: Level) -> &mut Message<'a> {
        match level {
            Level::Resource => &mut self.resource,
            Level::Scope => &mut self.scope,
            Level::Item => &mut self.item,
            Level::Part => &mut self.part,
        }
    }
}
