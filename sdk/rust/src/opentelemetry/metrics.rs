//! Instruments over those of the core.
//!
//! <https://opentelemetry.io/docs/specs/otel/metrics/api/>

use std::borrow::Cow;
use std::sync::Arc;

use ::opentelemetry::metrics::{
    self as api, AsyncInstrument, AsyncInstrumentBuilder, Callback, Counter, Gauge, Histogram,
    HistogramBuilder, InstrumentBuilder, InstrumentProvider, ObservableCounter, ObservableGauge,
    ObservableUpDownCounter, SyncInstrument, UpDownCounter,
};
use ::opentelemetry::{InstrumentationScope, KeyValue};
use bumpalo::Bump;
use cupola_sdk_core::Sdk;
use cupola_sdk_core::metrics::{self as core, Description, Instrument, Meter, Numeric, Observable, Observer};

use super::convert;
use crate::context::Context;

/// Makes meters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MeterProvider {
    sdk: Sdk,
}

impl MeterProvider {
    pub fn new(sdk: Sdk) -> MeterProvider {
        MeterProvider { sdk }
    }
}

impl api::MeterProvider for MeterProvider {
    fn meter_with_scope(&self, scope: InstrumentationScope) -> api::Meter {
        let meter = self.sdk.meter(convert::scope(&scope));
        api::Meter::new(Arc::new(Instruments { meter }))
    }
}

/// Makes instruments of one scope.
struct Instruments {
    meter: Meter,
}

/// An instrument that is measured with.
struct Measuring<T>(Instrument<T>);

impl<T: Numeric> SyncInstrument<T> for Measuring<T> {
    fn measure(&self, measurement: T, attributes: &[KeyValue]) {
        let arena = Bump::new();
        convert::with_pairs(attributes, &arena, |attributes| {
            Context::with_current(|around| {
                let around = core::Context {
                    span: around.span(),
                    baggage: around.baggage(),
                };
                self.0.record_in(measurement, attributes, &around);
            });
        });
    }

    #[cfg(feature = "opentelemetry-bound-instruments")]
    fn bind(&self, attributes: &[KeyValue]) -> Box<dyn api::BoundSyncInstrument<T> + Send + Sync> {
        let arena = Bump::new();
        Box::new(Bound(self.0.bind(&convert::pairs(attributes, &arena))))
    }
}

/// An instrument with its attributes.
#[cfg(feature = "opentelemetry-bound-instruments")]
struct Bound<T>(core::Bound<T>);

#[cfg(feature = "opentelemetry-bound-instruments")]
impl<T: Numeric> api::BoundSyncInstrument<T> for Bound<T> {
    fn measure(&self, measurement: T) {
        Context::with_current(|around| {
            let around = core::Context {
                span: around.span(),
                baggage: around.baggage(),
            };
            self.0.record_in(measurement, &around);
        });
    }
}

/// An instrument that is observed at one collection.
struct Observing<'o, T> {
    observer: &'o Observer<'o>,
    observable: &'o Observable<T>,
}

impl<T: Numeric> AsyncInstrument<T> for Observing<'_, T> {
    fn observe(&self, measurement: T, attributes: &[KeyValue]) {
        let arena = Bump::new();
        convert::with_pairs(attributes, &arena, |attributes| {
            self.observer.observe(self.observable, measurement, attributes);
        });
    }
}

fn description<'d>(
    name: &'d str,
    unit: &'d Option<Cow<'static, str>>,
    description: &'d Option<Cow<'static, str>>,
) -> Description<'d> {
    Description::of(
        name,
        unit.as_deref().unwrap_or_default(),
        description.as_deref().unwrap_or_default(),
    )
}

impl Instruments {
    /// Has the callbacks called at each collection, for as long as the SDK lives: the API has no end of them.
    fn observe<T: Numeric>(&self, observable: &Observable<T>, callbacks: Vec<Callback<T>>) {
        if !observable.is_enabled() {
            return;
        }
        for callback in callbacks {
            let observable = observable.clone();
            self.meter.register(move |observer| {
                callback(&Observing {
                    observer,
                    observable: &observable,
                });
            });
        }
    }
}

/// Methods for instruments of each type of number.
macro_rules! instruments {
    ($($method:ident: $kind:ident, $type:ident<$number:ty>;)*) => {
        $(fn $method(&self, builder: InstrumentBuilder<'_, $type<$number>>) -> $type<$number> {
            let description = description(&builder.name, &builder.unit, &builder.description);
            $type::new(Arc::new(Measuring::<$number>(self.meter.$kind(&description))))
        })*
    };
}

macro_rules! histograms {
    ($($method:ident: $number:ty;)*) => {
        $(fn $method(&self, builder: HistogramBuilder<'_, Histogram<$number>>) -> Histogram<$number> {
            let mut description = description(&builder.name, &builder.unit, &builder.description);
            description.boundaries = builder.boundaries.as_deref();
            Histogram::new(Arc::new(Measuring::<$number>(self.meter.histogram(&description))))
        })*
    };
}

macro_rules! observables {
    ($($method:ident: $kind:ident, $type:ident<$number:ty>;)*) => {
        $(fn $method(
            &self,
            builder: AsyncInstrumentBuilder<'_, $type<$number>, $number>,
        ) -> $type<$number> {
            let description = description(&builder.name, &builder.unit, &builder.description);
            self.observe::<$number>(&self.meter.$kind(&description), builder.callbacks);
            $type::new()
        })*
    };
}

impl InstrumentProvider for Instruments {
    instruments! {
        u64_counter: counter, Counter<u64>;
        f64_counter: counter, Counter<f64>;
        i64_up_down_counter: up_down_counter, UpDownCounter<i64>;
        f64_up_down_counter: up_down_counter, UpDownCounter<f64>;
        u64_gauge: gauge, Gauge<u64>;
        i64_gauge: gauge, Gauge<i64>;
        f64_gauge: gauge, Gauge<f64>;
    }

    histograms! {
        u64_histogram: u64;
        f64_histogram: f64;
    }

    observables! {
        u64_observable_counter: observable_counter, ObservableCounter<u64>;
        f64_observable_counter: observable_counter, ObservableCounter<f64>;
        i64_observable_up_down_counter: observable_up_down_counter, ObservableUpDownCounter<i64>;
        f64_observable_up_down_counter: observable_up_down_counter, ObservableUpDownCounter<f64>;
        u64_observable_gauge: observable_gauge, ObservableGauge<u64>;
        i64_observable_gauge: observable_gauge, ObservableGauge<i64>;
        f64_observable_gauge: observable_gauge, ObservableGauge<f64>;
    }
}
