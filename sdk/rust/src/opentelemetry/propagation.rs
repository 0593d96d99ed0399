//! The core's formats for headers, as a propagator of the API.
//!
//! <https://opentelemetry.io/docs/specs/otel/context/api-propagators/#textmap-propagator>

use ::opentelemetry::Context as ApiContext;
use ::opentelemetry::propagation::text_map_propagator::FieldIter;
use ::opentelemetry::propagation::{Extractor as ApiExtractor, Injector as ApiInjector, TextMapPropagator};
use cupola_sdk_core::Sdk;
use cupola_sdk_core::propagation::{Carried, Extractor, Injector};

use crate::context::bridge;

/// Carries contexts in the formats of the settings that are in force.
#[derive(Clone, Debug)]
pub struct Propagator {
    sdk: Sdk,
    /// Keys that were written when it was made.
    fields: Vec<String>,
}

impl Propagator {
    pub fn new(sdk: Sdk) -> Propagator {
        let fields = sdk.settings().propagators.fields();
        let fields = fields.into_iter().map(str::to_owned).collect();
        Propagator { sdk, fields }
    }
}

impl TextMapPropagator for Propagator {
    fn inject_context(&self, context: &ApiContext, injector: &mut dyn ApiInjector) {
        let carried = bridge::from_api(context).to_carried();
        self.sdk
            .settings()
            .propagators
            .inject(&carried, &mut Writing(injector));
    }

    /// What is not carried stays as it is in `context`.
    fn extract_with_context(&self, context: &ApiContext, extractor: &dyn ApiExtractor) -> ApiContext {
        let carried = self.sdk.extract(&Reading(extractor));
        if carried == Carried::default() {
            return context.clone();
        }
        let before = bridge::from_api(context);
        let mut after = before.clone();
        if carried.span.is_valid() {
            after = after.with_span(carried.span);
        }
        if !carried.baggage.is_empty() {
            after = after.with_baggage(carried.baggage);
        }
        let is_forced = before.is_forced() || carried.is_forced;
        bridge::to_api_over(&after.with_forced(is_forced), &before, context)
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

struct Writing<'i>(&'i mut dyn ApiInjector);

impl Injector for Writing<'_> {
    fn set(&mut self, key: &str, value: String) {
        self.0.set(key, value);
    }
}

struct Reading<'e>(&'e dyn ApiExtractor);

impl Extractor for Reading<'_> {
    fn get(&self, key: &str) -> Option<String> {
        let values = self.0.get_all(key)?;
        (!values.is_empty()).then(|| values.join(","))
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys()
    }
}
