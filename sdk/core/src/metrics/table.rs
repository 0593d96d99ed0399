//! What one thread has measured since the last collection. A table is emptied by being taken as a whole, so that a collection holds
//! up its thread for a moment only, and what is not measured any more is forgotten with it.
//!
//! Attributes are looked up twice: as they were given, which is quick and all that is done as a rule; and, when they have not been
//! given so before, in their canonical form.

use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::Meters;
use super::exemplar::{Exemplar, Reservoir};
use super::instrument::Number;
use super::key::{self, Attribute};
use super::point::{Point, Shape};
use super::settings::ExemplarFilter;
use super::stream::Stream;
use crate::context::SpanContext;

/// Of attributes as they were given, of one stream in one thread, for each series that there may be; beyond, they are brought into
/// their canonical form each time.
const GIVEN_BYTES_OF_SERIES: usize = 128;
/// Most exemplars of an exponential histogram.
const EXPONENTIAL_EXEMPLARS_MAX: u32 = 20;

/// A measurement on its way.
pub(super) struct Measurement<'m> {
    pub(super) number: Number,
    pub(super) attributes: &'m [Attribute<'m>],
    /// Of the attributes as they were given; `None` if they cannot be looked up so.
    pub(super) hash: Option<u64>,
    pub(super) span: Option<&'m SpanContext>,
}

/// The key of a series, made beforehand.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) canonical: Box<[u8]>,
    pub(super) hash: u64,
    left_out: Box<[u8]>,
}

impl Key {
    pub(super) fn of(attributes: &[Attribute<'_>], stream: &Stream, hashing: &SeedableRandomState) -> Key {
        let kept = &stream.identity.attributes;
        let canonical = key::canonical(attributes, |key| kept.has(key), stream.attributes_field());
        Key {
            hash: key::hash_of_bytes(hashing, &canonical),
            canonical: canonical.into(),
            left_out: key::left_out(attributes, kept).into(),
        }
    }
}

/// Tables of one thread, by the index of their stream.
#[derive(Default)]
pub(super) struct Tables {
    tables: Vec<Option<Box<Table>>>,
    random: Option<SmallRng>,
}

/// What one thread has measured of one stream.
pub(super) struct Table {
    /// When its first measurement was made.
    pub(super) since_unix_nano: u64,
    given: HashTable<Given>,
    given_bytes: Vec<u8>,
    /// Places of series, by their canonical attributes.
    places: HashTable<u32>,
    pub(super) series: Vec<Measured>,
    /// The place of the series for what is beyond the limit.
    pub(super) overflow: Option<u32>,
}

/// Attributes as they were given.
struct Given {
    hash: u64,
    start: u32,
    end: u32,
    place: u32,
}

/// One series.
pub(super) struct Measured {
    pub(super) canonical: Box<[u8]>,
    pub(super) hash: u64,
    pub(super) since_unix_nano: u64,
    pub(super) point: Point,
    pub(super) exemplars: Option<Box<Reservoir>>,
}

impl Tables {
    /// Adds a measurement to its series.
    #[inline]
    pub(super) fn add(&mut self, stream: &Stream, measurement: &Measurement<'_>, meters: &Meters) {
        let table = match self.tables.get_mut(stream.index) {
            Some(Some(table)) => table,
            _ => begin(&mut self.tables, stream, meters),
        };
        let place = match table.place_of_given(measurement) {
            Some(place) => place,
            None => table.enter(stream, measurement, meters),
        };
        let series = &mut table.series[place as usize];
        update(
            series,
            Some(place) == table.overflow,
            stream,
            measurement.number,
            meters,
        );
        if is_offered(stream.exemplars, measurement.span) {
            let attributes = measurement.attributes;
            let left_out = || key::left_out(attributes, &stream.identity.attributes);
            let random = &mut self.random;
            offer(
                series,
                stream,
                measurement.number,
                measurement.span,
                left_out,
                random,
                meters,
            );
        }
    }

    /// Adds a measurement of a bound instrument.
    #[inline]
    pub(super) fn add_bound(
        &mut self,
        stream: &Stream,
        number: Number,
        key: &Key,
        span: Option<&SpanContext>,
        meters: &Meters,
    ) {
        let table = match self.tables.get_mut(stream.index) {
            Some(Some(table)) => table,
            _ => begin(&mut self.tables, stream, meters),
        };
        let place = match table.place_of(&key.canonical, key.hash) {
            Some(place) => place,
            None => table.make(stream, key.canonical.clone(), key.hash, meters),
        };
        let series = &mut table.series[place as usize];
        update(series, Some(place) == table.overflow, stream, number, meters);
        if is_offered(stream.exemplars, span) {
            let left_out = || key.left_out.to_vec();
            offer(series, stream, number, span, left_out, &mut self.random, meters);
        }
    }

    /// Nothing has been added since they were taken.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// All tables that have something, with the index of their stream; empty afterwards.
    pub(super) fn take(&mut self) -> Vec<Option<Box<Table>>> {
        std::mem::take(&mut self.tables)
    }
}

#[cold]
fn begin<'t>(
    tables: &'t mut Vec<Option<Box<Table>>>,
    stream: &Stream,
    meters: &Meters,
) -> &'t mut Box<Table> {
    if tables.len() <= stream.index {
        tables.resize_with(stream.index + 1, || None);
    }
    tables[stream.index].insert(Box::new(Table {
        since_unix_nano: meters.clock.now(),
        given: HashTable::new(),
        given_bytes: Vec::new(),
        places: HashTable::new(),
        series: Vec::new(),
        overflow: None,
    }))
}

#[inline]
fn update(series: &mut Measured, is_overflow: bool, stream: &Stream, number: Number, meters: &Meters) {
    let now = || meters.clock.now();
    match stream.is_set && !is_overflow {
        true => series.point.set(number, now),
        false => series.point.add(number, &stream.identity.shape, now),
    }
}

#[inline]
fn is_offered(filter: ExemplarFilter, span: Option<&SpanContext>) -> bool {
    match filter {
        ExemplarFilter::AlwaysOff => false,
        ExemplarFilter::AlwaysOn => true,
        ExemplarFilter::TraceBased => span.is_some_and(|span| span.flags.is_sampled() && span.is_valid()),
    }
}

fn offer(
    series: &mut Measured,
    stream: &Stream,
    number: Number,
    span: Option<&SpanContext>,
    left_out: impl FnOnce() -> Vec<u8>,
    random: &mut Option<SmallRng>,
    meters: &Meters,
) {
    // Which are kept is no secret: any seed will do that differs between threads.
    let random = random.get_or_insert_with(|| {
        SmallRng::seed_from_u64(meters.clock.now() ^ std::ptr::from_ref(series) as u64)
    });
    let shape = &stream.identity.shape;
    let reservoir = series.exemplars.get_or_insert_with(|| {
        Box::new(match shape {
            Shape::Explicit { boundaries, .. } if !boundaries.is_empty() => {
                Reservoir::aligned(boundaries.len() + 1)
            }
            Shape::Exponential { max_size, .. } => {
                Reservoir::fixed((*max_size).min(EXPONENTIAL_EXEMPLARS_MAX) as usize)
            }
            _ => Reservoir::fixed(meters.exemplars_fixed),
        })
    });
    reservoir.offer(shape.bucket(number.to_double()), random, || Exemplar {
        number,
        unix_nano: meters.clock.now(),
        span: span
            .filter(|span| span.is_valid())
            .map(|span| (span.trace_id, span.span_id)),
        filtered: left_out(),
    });
}

impl Table {
    #[inline]
    fn place_of_given(&self, measurement: &Measurement<'_>) -> Option<u32> {
        let hash = measurement.hash?;
        let found = self.given.find(hash, |given| {
            given.hash == hash
                && key::is_given(
                    &self.given_bytes[given.start as usize..given.end as usize],
                    measurement.attributes,
                )
        });
        Some(found?.place)
    }

    #[inline]
    fn place_of(&self, canonical: &[u8], hash: u64) -> Option<u32> {
        let is_it = |place: &u32| {
            let series = &self.series[*place as usize];
            series.hash == hash && *series.canonical == *canonical
        };
        self.places.find(hash, is_it).copied()
    }

    /// Finds or makes the series of attributes that have not been given so before.
    #[cold]
    fn enter(&mut self, stream: &Stream, measurement: &Measurement<'_>, meters: &Meters) -> u32 {
        let kept = &stream.identity.attributes;
        let field = stream.attributes_field();
        let canonical = key::canonical(measurement.attributes, |key| kept.has(key), field);
        let hash = key::hash_of_bytes(&meters.hashing, &canonical);
        let place = match self.place_of(&canonical, hash) {
            Some(place) => place,
            None => self.make(stream, canonical.into(), hash, meters),
        };
        if let Some(hash) = measurement.hash {
            self.remember(stream, measurement.attributes, hash, place);
        }
        place
    }

    fn remember(&mut self, stream: &Stream, attributes: &[Attribute<'_>], hash: u64, place: u32) {
        let most = stream.identity.limit.saturating_mul(GIVEN_BYTES_OF_SERIES);
        let most = most.min(u32::MAX as usize);
        let start = self.given_bytes.len();
        if !key::write_given(&mut self.given_bytes, attributes) || self.given_bytes.len() > most {
            self.given_bytes.truncate(start);
            return;
        }
        let given = Given {
            hash,
            start: start as u32,
            end: self.given_bytes.len() as u32,
            place,
        };
        self.given.insert_unique(hash, given, |given| given.hash);
    }

    /// Makes a series, or gives the one of what is beyond the limit.
    #[cold]
    fn make(&mut self, stream: &Stream, canonical: Box<[u8]>, hash: u64, meters: &Meters) -> u32 {
        let count = self.series.len() - usize::from(self.overflow.is_some());
        if count < stream.identity.limit || stream.keeps(hash) {
            return self.push(stream, canonical, hash, meters);
        }
        if let Some(place) = self.overflow {
            return place;
        }
        let key = overflow_key(stream, &meters.hashing);
        // An application may have made that series itself.
        let place = match self.place_of(&key.canonical, key.hash) {
            Some(place) => place,
            None => self.push(stream, key.canonical, key.hash, meters),
        };
        self.overflow = Some(place);
        place
    }

    fn push(&mut self, stream: &Stream, canonical: Box<[u8]>, hash: u64, meters: &Meters) -> u32 {
        let place = self.series.len() as u32;
        self.series.push(Measured {
            canonical,
            hash,
            since_unix_nano: meters.clock.now(),
            point: stream.identity.shape.point(stream.identity.is_int),
            exemplars: None,
        });
        let series = &self.series;
        self.places
            .insert_unique(hash, place, |place| series[*place as usize].hash);
        place
    }
}

/// The key of the series of what is beyond the limit.
pub(super) fn overflow_key(stream: &Stream, hashing: &SeedableRandomState) -> Key {
    let canonical = key::canonical(
        &[("otel.metric.overflow", true.into())],
        |_| true,
        stream.attributes_field(),
    );
    Key {
        hash: key::hash_of_bytes(hashing, &canonical),
        canonical: canonical.into(),
        left_out: Box::default(),
    }
}
