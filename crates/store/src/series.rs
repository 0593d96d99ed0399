//! The series registry: a dense id for every metric series of a tenant and day, so that a sample carries eight bytes
//! instead of its labels.
//!
//! A series is everything about a data point that is not the point itself: resource, scope, metric (description and
//! metadata too, so that nothing is lost when they change) and attributes, in whatever order they came.
//!
//! Refuses: sharing ids between tenants or days, and IO: whoever owns the segments loads known series into it.

mod identity;

use arrow::array::RecordBatch;
use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, MutexGuard};
use rustc_hash::FxBuildHasher;

pub(crate) use identity::{AttributesDigest, SeriesIdentity, combine, identities};

/// Days since 1970, of a timestamp in nanoseconds.
pub type Day = i32;

/// Nanoseconds of a day.
pub const DAY_NANOS: i64 = 86_400_000_000_000;
/// Days kept between seals; those used longest ago go first.
const DAYS_KEPT_MAX: usize = 8;
/// Raw encodings remembered for each series of a day, on average, before they are forgotten.
const ENCODINGS_PER_SERIES_MAX: usize = 4;
/// Raw encodings remembered for a day in any case.
const ENCODINGS_MIN: usize = 65_536;

/// The day of a timestamp.
pub fn day_of(timestamp: i64) -> Day {
    // In range: i64 nanoseconds are less than 2^17 days.
    timestamp.div_euclid(DAY_NANOS) as Day
}

/// The id of a series: `day << 32 | number`.
pub fn series_id(day: Day, number: u32) -> u64 {
    u64::from(day as u32) << 32 | u64::from(number)
}

/// The day a series id belongs to.
pub fn day_of_series(series_id: u64) -> Day {
    (series_id >> 32) as u32 as Day
}

/// Ids of the series of one tenant.
#[derive(Debug, Default)]
pub struct SeriesRegistry {
    days: Mutex<Days>,
}

/// Why rows of the series table could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    #[error("column {column} of the series table is missing or has an unexpected type")]
    Column { column: &'static str },
}

impl SeriesRegistry {
    /// Makes a day known: `rows` are rows of the table `series` with all of that day, of segments and of memory; none
    /// for a new day. Rows of other days are passed over. A day that is known stays as it is.
    pub fn load(&self, day: Day, rows: &[RecordBatch]) -> Result<(), SeriesError> {
        let mut loaded = LoadedDays::new(&[day]);
        for batch in rows {
            loaded.add(batch)?;
        }
        self.insert(loaded);
        Ok(())
    }

    /// Makes days known. One that is known stays as it is.
    pub(crate) fn insert(&self, loaded: LoadedDays) {
        let mut days = self.days.lock();
        for (day, known) in loaded.days {
            if !days.places.contains_key(&day) {
                let place = days.states.len();
                days.places.insert(day, place);
                days.states.push((day, known));
            }
        }
    }

    /// Days whose series are known.
    pub fn days(&self) -> Vec<Day> {
        self.days.lock().states.iter().map(|(day, _)| *day).collect()
    }

    /// Memory held, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.days.lock().memory_bytes()
    }

    /// Forgets until at most `bytes_max` are held: days used longest ago, then what can be computed again. What is
    /// forgotten has to be loaded again. Only while nobody has loaded days for an assignment to come.
    pub(crate) fn shrink(&self, bytes_max: usize) {
        let mut days = self.days.lock();
        let mut held = days.memory_bytes();
        if held <= bytes_max {
            return;
        }
        days.newest_first();
        while held > bytes_max && days.states.len() > 1 {
            let gone = days.states.pop();
            held -= gone.map_or(0, |(_, state)| state.memory_bytes());
        }
        if held > bytes_max {
            for (_, state) in &mut days.states {
                state.by_encoding = HashMap::default();
            }
        }
        if days.memory_bytes() > bytes_max {
            days.states.clear();
        }
        days.find_places();
    }

    /// Locks the registry for sealing. What is assigned counts when the assignment is committed.
    pub(crate) fn assign(&self) -> Assignment<'_> {
        let mut days = self.days.lock();
        days.clock += 1;
        Assignment {
            days,
            new: Vec::new(),
            missing: HashSet::default(),
            current: None,
        }
    }
}

#[derive(Debug, Default)]
struct Days {
    states: Vec<(Day, DayState)>,
    /// Where each day is in `states`.
    places: HashMap<Day, usize, FxBuildHasher>,
    /// Counts assignments.
    clock: u64,
}

impl Days {
    fn memory_bytes(&self) -> usize {
        self.states.iter().map(|(_, state)| state.memory_bytes()).sum()
    }

    /// Puts days last used first; `places` is to be made again.
    fn newest_first(&mut self) {
        self.states
            .sort_by_key(|(_, state)| std::cmp::Reverse(state.used));
    }

    fn find_places(&mut self) {
        let places = self.states.iter().enumerate();
        self.places = places.map(|(place, (day, _))| (*day, place)).collect();
    }
}

#[derive(Debug, Default)]
struct DayState {
    /// Number of the series, by the digest of its identity. 128 bits: no two of 2^32 series are expected to meet.
    by_identity: HashMap<u128, u32, FxBuildHasher>,
    /// The same by the digest of the bytes that carried it, order and all: most points are found here.
    by_encoding: HashMap<u128, u32, FxBuildHasher>,
    next: u32,
    used: u64,
}

impl DayState {
    fn memory_bytes(&self) -> usize {
        // Key, value and control byte.
        let entry = size_of::<(u128, u32)>() + 1;
        size_of::<DayState>() + (self.by_identity.capacity() + self.by_encoding.capacity()) * entry
    }

    /// Numbers up to this one are not given any more.
    fn pass(&mut self, number: u32) {
        self.next = self.next.max(number.saturating_add(1));
    }
}

/// The series of some days while they are read.
#[derive(Debug)]
pub(crate) struct LoadedDays {
    days: HashMap<Day, DayState, FxBuildHasher>,
}

impl LoadedDays {
    /// New days, until rows are added.
    pub(crate) fn new(days: &[Day]) -> LoadedDays {
        LoadedDays {
            days: days.iter().map(|day| (*day, DayState::default())).collect(),
        }
    }

    /// Takes rows of the table `series`; those of other days are passed over.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<(), SeriesError> {
        for (id, identity) in identities(rows)? {
            if let Some(state) = self.days.get_mut(&day_of_series(id)) {
                state.by_identity.insert(identity, id as u32);
                state.pass(id as u32);
            }
        }
        Ok(())
    }

    /// Adds those of another part of the same days.
    pub(crate) fn extend(&mut self, others: LoadedDays) {
        for (day, other) in others.days {
            let state = self.days.entry(day).or_default();
            state.by_identity.extend(other.by_identity);
            state.next = state.next.max(other.next);
        }
    }

    /// Notes that the series of a day up to this id are taken, although nothing else is known of them.
    pub(crate) fn skip(&mut self, series_id: u64) {
        if let Some(state) = self.days.get_mut(&day_of_series(series_id)) {
            state.pass(series_id as u32);
        }
    }
}

/// Ids being given to the points of some batches.
pub(crate) struct Assignment<'a> {
    days: MutexGuard<'a, Days>,
    /// Series assigned: index of the day, identity.
    new: Vec<(usize, u128)>,
    missing: HashSet<Day, FxBuildHasher>,
    /// The day of the last point and its index.
    current: Option<(Day, usize)>,
}

/// The id of a point.
pub(crate) enum Assigned {
    Known(u64),
    /// First seen: its row of the series table is to be written.
    New(u64),
    /// The day has to be loaded first.
    Unloaded,
}

impl Assignment<'_> {
    /// The series of a point of this time, given the digest of its bytes and, if need be, of its identity.
    #[inline]
    pub(crate) fn assign(
        &mut self,
        timestamp: i64,
        encoding: u128,
        identity: impl FnOnce() -> u128,
    ) -> Assigned {
        let day = day_of(timestamp);
        let Some(index) = self.day_index(day) else {
            return Assigned::Unloaded;
        };
        let state = &mut self.days.states[index].1;
        if let Some(number) = state.by_encoding.get(&encoding) {
            return Assigned::Known(series_id(day, *number));
        }
        let identity = identity();
        if state.by_encoding.len() > state.by_identity.len() * ENCODINGS_PER_SERIES_MAX + ENCODINGS_MIN {
            state.by_encoding.clear();
        }
        if let Some(number) = state.by_identity.get(&identity) {
            let number = *number;
            state.by_encoding.insert(encoding, number);
            return Assigned::Known(series_id(day, number));
        }
        let number = state.next;
        state.next = state.next.wrapping_add(1);
        state.by_identity.insert(identity, number);
        state.by_encoding.insert(encoding, number);
        self.new.push((index, identity));
        Assigned::New(series_id(day, number))
    }

    #[inline]
    fn day_index(&mut self, day: Day) -> Option<usize> {
        if let Some((current, index)) = self.current
            && current == day
        {
            return Some(index);
        }
        let Some(index) = self.days.places.get(&day).copied() else {
            self.missing.insert(day);
            return None;
        };
        self.days.states[index].1.used = self.days.clock;
        self.current = Some((day, index));
        Some(index)
    }

    /// Whether the registry knows the days of all points.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Days that points have and the registry does not know, in order.
    pub(crate) fn missing(&self) -> Vec<Day> {
        let mut missing: Vec<Day> = self.missing.iter().copied().collect();
        missing.sort_unstable();
        missing
    }

    /// Keeps what was assigned. Without it, dropping forgets it again.
    pub(crate) fn commit(mut self) {
        self.new.clear();
        if self.days.states.len() > DAYS_KEPT_MAX {
            self.days.newest_first();
            self.days.states.truncate(DAYS_KEPT_MAX);
            self.days.find_places();
        }
    }
}

impl Drop for Assignment<'_> {
    fn drop(&mut self) {
        for (index, identity) in self.new.drain(..) {
            let state = &mut self.days.states[index].1;
            // The numbers are not given again; encodings that point to them must not stay.
            state.by_identity.remove(&identity);
            state.by_encoding.clear();
        }
    }
}
