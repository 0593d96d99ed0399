//! Observable instruments: what is asked when metrics are collected. Owns the callbacks that answer, and what becomes of those that
//! fail or take too long.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::Meters;
use super::instrument::{Known, Numeric};
use super::key::{self, Attribute};
use super::problem::Problem;
use super::table::{Measurement, Tables};

/// An observable counter, up-down counter or gauge: observed in callbacks, as [`Observer::observe`] says. Cheap to clone.
#[derive(Debug)]
pub struct Observable<T> {
    known: Option<Arc<Known>>,
    numbers: PhantomData<T>,
}

impl<T> Clone for Observable<T> {
    fn clone(&self) -> Self {
        Observable {
            known: self.known.clone(),
            numbers: PhantomData,
        }
    }
}

impl<T: Numeric> Observable<T> {
    pub(super) fn new(known: Option<Arc<Known>>) -> Observable<T> {
        Observable {
            known: known.filter(|known| !known.streams.is_empty()),
            numbers: PhantomData,
        }
    }

    /// Whether anything becomes of observations.
    pub fn is_enabled(&self) -> bool {
        self.known.is_some()
    }
}

/// Called at each collection, by the thread that collects.
pub(super) struct Callback(Box<dyn Fn(&Observer<'_>) + Send + Sync>);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

/// A callback that is called. Dropping this does not end that.
#[derive(Clone, Debug)]
pub struct Registration(Option<(Weak<Meters>, Arc<Callback>)>);

impl Registration {
    pub(super) fn new(
        meters: &Arc<Meters>,
        callback: Box<dyn Fn(&Observer<'_>) + Send + Sync>,
    ) -> Registration {
        let callback = Arc::new(Callback(callback));
        let is_added = meters.add_callback(&callback);
        Registration(is_added.then(|| (Arc::downgrade(meters), callback)))
    }

    /// Has it called no more. A collection that is under way may still do so.
    pub fn unregister(&self) {
        if let Some((meters, callback)) = &self.0
            && let Some(meters) = meters.upgrade()
        {
            meters.remove_callback(callback);
        }
    }
}

/// Takes observations of one collection.
pub struct Observer<'o> {
    meters: &'o Meters,
    tables: Mutex<Tables>,
}

impl fmt::Debug for Observer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl<'o> Observer<'o> {
    pub(super) fn new(meters: &'o Meters) -> Observer<'o> {
        Observer {
            meters,
            tables: Mutex::default(),
        }
    }

    /// Says what a gauge or an up-down counter stands at, or what a counter has counted altogether. Of two observations of the
    /// same attributes the later one counts. Numbers that are infinite or none are dropped, and negative ones of counters.
    pub fn observe<T: Numeric>(&self, observable: &Observable<T>, value: T, attributes: &[Attribute<'_>]) {
        let Some(known) = &observable.known else {
            return;
        };
        if known.owner != self.meters.number {
            let instrument = known.name.clone();
            self.meters.problems.add(Problem::Stranger { instrument });
            return;
        }
        let number = value.number();
        if !known.takes(number, self.meters) {
            return;
        }
        let measurement = Measurement {
            number,
            attributes,
            hash: key::hash(&self.meters.hashing, attributes),
            span: None,
        };
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in &known.streams {
            tables.add(stream, &measurement, self.meters);
        }
    }

    /// Calls the callbacks, as long as there is time. What they observed, and whether all were called and returned.
    pub(super) fn run(self, callbacks: &[Arc<Callback>], timeout: Duration) -> (Tables, bool) {
        let mut is_complete = true;
        let begin = self.meters.clock.moment();
        for callback in callbacks {
            let took = self.meters.clock.after(begin).saturating_sub(begin.unix_nano);
            if u128::from(took) > timeout.as_nanos() {
                let milliseconds = timeout.as_millis();
                self.meters.problems.add(Problem::Late { milliseconds });
                is_complete = false;
                break;
            }
            // What it had observed by then is kept.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (callback.0)(&self))) {
                let message = text_of(panic.as_ref());
                self.meters.problems.add(Problem::Panic { message });
                is_complete = false;
            }
        }
        let tables = self.tables.into_inner();
        (tables.unwrap_or_else(PoisonError::into_inner), is_complete)
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "of no text".to_owned())
}
