//! Synchronous instruments: what an application measures with. Owns what of a measurement is refused, and the way of one into the
//! table of its thread.

use std::marker::PhantomData;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Meters;
use super::key::{self, Attribute};
use super::problem::Problem;
use super::stream::Stream;
use super::table::{Key, Measurement};
use crate::baggage::Baggage;
use crate::context::SpanContext;

/// What an instrument is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Counter,
    UpDownCounter,
    Histogram,
    Gauge,
    ObservableCounter,
    ObservableUpDownCounter,
    ObservableGauge,
}

impl Kind {
    /// As the specification and the configuration file name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::UpDownCounter => "up_down_counter",
            Kind::Histogram => "histogram",
            Kind::Gauge => "gauge",
            Kind::ObservableCounter => "observable_counter",
            Kind::ObservableUpDownCounter => "observable_up_down_counter",
            Kind::ObservableGauge => "observable_gauge",
        }
    }

    pub fn is_observable(self) -> bool {
        matches!(
            self,
            Kind::ObservableCounter | Kind::ObservableUpDownCounter | Kind::ObservableGauge
        )
    }

    /// Sums of it never fall.
    pub(super) fn is_monotonic(self) -> bool {
        matches!(self, Kind::Counter | Kind::Histogram | Kind::ObservableCounter)
    }
}

/// What an instrument says of itself. Units and descriptions are taken as they are, as the specification has it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Description<'d> {
    /// From a letter on up to 255 letters, digits and `_.-/`; upper and lower case are the same.
    pub name: &'d str,
    pub unit: &'d str,
    pub description: &'d str,
    /// Advice to a histogram: upper bounds of its buckets.
    pub boundaries: Option<&'d [f64]>,
    /// Advice on which attributes make series, where no view says.
    pub attributes: Option<&'d [&'d str]>,
}

impl<'d> Description<'d> {
    pub fn new(name: &'d str) -> Description<'d> {
        Description {
            name,
            ..Description::default()
        }
    }

    /// One with a unit, such as `s` or `{request}`, and a description for people.
    pub fn of(name: &'d str, unit: &'d str, description: &'d str) -> Description<'d> {
        Description {
            unit,
            description,
            ..Description::new(name)
        }
    }
}

/// A number of either type that OTLP has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i64),
    Double(f64),
}

impl Number {
    #[inline]
    pub(super) fn to_double(self) -> f64 {
        match self {
            Number::Int(number) => number as f64,
            Number::Double(number) => number,
        }
    }

    #[inline]
    pub(super) fn to_int(self) -> i64 {
        match self {
            Number::Int(number) => number,
            // Saturates.
            Number::Double(number) => number as i64,
        }
    }

    #[inline]
    fn is_finite(self) -> bool {
        match self {
            Number::Int(_) => true,
            Number::Double(number) => number.is_finite(),
        }
    }

    #[inline]
    fn is_negative(self) -> bool {
        match self {
            Number::Int(number) => number < 0,
            Number::Double(number) => number < 0.0,
        }
    }
}

/// Types that instruments measure in.
pub trait Numeric: Copy + Send + Sync + 'static {
    /// Whether points have whole numbers.
    const IS_INT: bool;

    fn number(self) -> Number;
}

impl Numeric for i64 {
    const IS_INT: bool = true;

    fn number(self) -> Number {
        Number::Int(self)
    }
}

impl Numeric for u64 {
    const IS_INT: bool = true;

    /// OTLP has no larger numbers than those of 63 bits: what is larger counts as the largest.
    fn number(self) -> Number {
        Number::Int(i64::try_from(self).unwrap_or(i64::MAX))
    }
}

impl Numeric for f64 {
    const IS_INT: bool = false;

    fn number(self) -> Number {
        Number::Double(self)
    }
}

/// Where a measurement is made.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    /// The span that is current; without ids where there is none.
    pub span: &'c SpanContext,
    pub baggage: &'c Baggage,
}

/// An instrument as it is known to the meters.
#[derive(Debug)]
pub(super) struct Known {
    /// The number of its meters.
    pub(super) owner: u64,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// None, if every view drops it.
    pub(super) streams: Box<[Arc<Stream>]>,
    pub(super) refuses_negative: bool,
}

impl Known {
    /// Whether it takes a measurement; if not, that is counted, and said once.
    #[inline]
    pub(super) fn takes(&self, number: Number, meters: &Meters) -> bool {
        if number.is_finite() && !(self.refuses_negative && number.is_negative()) {
            return true;
        }
        self.refuse(number, meters);
        false
    }

    #[cold]
    fn refuse(&self, number: Number, meters: &Meters) {
        let instrument = self.name.clone();
        meters.dropped.add(1);
        meters.problems.add(match number.is_finite() {
            true => Problem::Negative { instrument },
            false => Problem::NotFinite { instrument },
        });
    }
}

/// A counter, an up-down counter, a histogram or a gauge. Cheap to clone.
///
/// Numbers that are infinite or none are dropped and counted, as one of them would spoil its series for ever; so are negative ones
/// of what only counts up. A histogram takes them, but tells no sum of series that have any.
#[derive(Debug)]
pub struct Instrument<T> {
    known: Option<(Arc<Meters>, Arc<Known>)>,
    numbers: PhantomData<T>,
}

impl<T> Clone for Instrument<T> {
    fn clone(&self) -> Self {
        Instrument {
            known: self.known.clone(),
            numbers: PhantomData,
        }
    }
}

impl<T: Numeric> Instrument<T> {
    pub(super) fn new(meters: &Arc<Meters>, known: Option<Arc<Known>>) -> Instrument<T> {
        let known = known.filter(|known| !known.streams.is_empty());
        Instrument {
            known: known.map(|known| (meters.clone(), known)),
            numbers: PhantomData,
        }
    }

    /// Whether anything becomes of measurements.
    #[inline]
    pub fn is_enabled(&self) -> bool {
        self.known
            .as_ref()
            .is_some_and(|(meters, _)| !meters.is_disabled())
    }

    /// Adds to a counter, records in a histogram, sets a gauge. Of a key that stands twice, the last value counts; attributes
    /// without a name are left out.
    #[inline]
    pub fn record(&self, value: T, attributes: &[Attribute<'_>]) {
        if let Some((meters, known)) = &self.known {
            measure(meters, known, value.number(), attributes, None);
        }
    }

    /// The same, with what the baggage brings as attributes (those given here count where both have one), and perhaps with an
    /// exemplar.
    #[inline]
    pub fn record_in(&self, value: T, attributes: &[Attribute<'_>], context: &Context<'_>) {
        let Some((meters, known)) = &self.known else {
            return;
        };
        let (number, span) = (value.number(), Some(context.span));
        if context.baggage.is_empty() {
            return measure(meters, known, number, attributes, span);
        }
        let mut all: SmallVec<[Attribute<'_>; 16]> = SmallVec::new();
        let keys = meters.baggage.load();
        keys.each(context.baggage, |key, value| all.push((key, value.into())));
        all.extend_from_slice(attributes);
        measure(meters, known, number, &all, span);
    }

    /// The same instrument with attributes that need not be looked at again for each measurement.
    pub fn bind(&self, attributes: &[Attribute<'_>]) -> Bound<T> {
        let streams = self.known.iter().flat_map(|(meters, known)| {
            let streams = known.streams.iter();
            streams.map(|stream| Key::of(attributes, stream, &meters.hashing))
        });
        Bound {
            keys: streams.collect(),
            instrument: self.clone(),
        }
    }
}

/// An instrument with its attributes.
#[derive(Clone, Debug)]
pub struct Bound<T> {
    instrument: Instrument<T>,
    /// One of each stream.
    keys: Arc<[Key]>,
}

impl<T: Numeric> Bound<T> {
    /// Like [`Instrument::record`].
    #[inline]
    pub fn record(&self, value: T) {
        self.measure(value, None);
    }

    /// The same, perhaps with an exemplar. Baggage adds nothing: the attributes are those that it was bound with.
    #[inline]
    pub fn record_in(&self, value: T, context: &Context<'_>) {
        self.measure(value, Some(context.span));
    }

    #[inline]
    fn measure(&self, value: T, span: Option<&SpanContext>) {
        let Some((meters, known)) = &self.instrument.known else {
            return;
        };
        let number = value.number();
        if meters.is_disabled() || !known.takes(number, meters) {
            return;
        }
        let done = meters.threads.with(|tables| {
            let is_first = tables.is_empty();
            for (stream, key) in known.streams.iter().zip(self.keys.iter()) {
                tables.add_bound(stream, number, key, span, meters);
            }
            is_first
        });
        meters.note(done);
    }
}

#[inline]
fn measure(
    meters: &Meters,
    known: &Known,
    number: Number,
    attributes: &[Attribute<'_>],
    span: Option<&SpanContext>,
) {
    if meters.is_disabled() || !known.takes(number, meters) {
        return;
    }
    let measurement = Measurement {
        number,
        attributes,
        hash: key::hash(&meters.hashing, attributes),
        span,
    };
    let done = meters.threads.with(|tables| {
        let is_first = tables.is_empty();
        for stream in &known.streams {
            tables.add(stream, &measurement, meters);
        }
        is_first
    });
    meters.note(done);
}
