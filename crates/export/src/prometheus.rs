//! OpenTelemetry metrics as Prometheus knows them: names, labels, values and times. Owns the translation and which points
//! have none; shared by remote write and the scrape page. Refuses to send, to keep values, and to know a format.
//!
//! <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>

mod flat;
mod labels;
mod name;
mod native;
mod translate;
mod values;

pub use crate::refused::Refused;
pub use flat::{Flat, flatten, number_text};
pub use labels::Labels;
pub use name::{label_name, metric_name};
pub use native::{NativeBuckets, NativeHistogram};
pub use translate::{Emit, Options, translate};

/// A quiet NaN with a payload of its own, by which Prometheus knows that a series has ended.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// What kind of metric a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    /// A constant 1 whose labels are what it says.
    Info,
}

/// What all series of one metric have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// With unit and type suffixes, without those that single series of histograms and summaries have.
    pub name: String,
    pub kind: Kind,
    pub help: String,
    /// The unit as Prometheus writes it: `seconds`. Empty unless it is part of the name.
    pub unit: String,
}

/// A measurement that stands for others, and where it was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    pub labels: Labels,
    pub value: f64,
    pub timestamp_ms: i64,
}

/// A histogram with explicit bounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassicHistogram {
    /// Finite upper bounds, rising, each with the number of measurements up to and including it.
    pub buckets: Vec<(f64, u64)>,
    pub count: u64,
    pub sum: Option<f64>,
}

/// What a point says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Histogram(ClassicHistogram),
    Native(NativeHistogram),
    Summary {
        /// Quantiles, each with its value.
        quantiles: Vec<(f64, f64)>,
        count: u64,
        sum: f64,
    },
}

/// One point, translated.
#[derive(Clone, Debug)]
pub struct Point<'a> {
    pub family: &'a Family,
    /// Without the name, sorted.
    pub labels: &'a Labels,
    pub value: Value,
    pub timestamp_ms: i64,
    /// Start of what is counted; 0 is unknown.
    pub start_ms: i64,
    pub exemplars: Vec<Exemplar>,
    /// The sender says that there is no value any more.
    pub stale: bool,
    /// The change since the point before, where [`Options::delta`] lets such points through.
    pub delta: bool,
}

#[cfg(test)]
mod tests;
