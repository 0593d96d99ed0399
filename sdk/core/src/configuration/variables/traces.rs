//! Variables about spans: which are recorded, which of their traces are exported, and what is told about them while they run.

use std::sync::Arc;

use super::Variables;
use crate::configuration::samplers;
use crate::sampling::{ForceSettings, Sampler, SamplerSettings, TraceIdRatio};
use crate::settings::TraceSettings;

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// What the variables of OpenTelemetry name; `None` if they name none that can be.
pub(super) fn sampler(variables: &mut Variables<'_>) -> Option<Arc<dyn Sampler>> {
    let Some(name) = variables.word(SAMPLER) else {
        if variables.raw(ARGUMENT).is_some() {
            variables.warn(
                ARGUMENT,
                "has no effect without OTEL_TRACES_SAMPLER",
                Some("set OTEL_TRACES_SAMPLER=parentbased_traceidratio to record a share of traces"),
            );
        }
        return None;
    };
    let argument = match name {
        _ if name.ends_with("traceidratio") => variables.parsed(ARGUMENT, samplers::ratio),
        _ if name.ends_with("ratelimited") => variables.parsed(ARGUMENT, samplers::per_second),
        _ => None,
    };
    let argument = argument.map(|number| number.to_string());
    let (settings, error) = SamplerSettings::of_names(name, argument.as_deref());
    if error.is_some() {
        variables.warn(
            SAMPLER,
            format!(
                "`{name}` asks a server what to record, which is not available; the default, parentbased_always_on, is used"
            ),
            Some("use parentbased_traceidratio with a share in OTEL_TRACES_SAMPLER_ARG"),
        );
        return None;
    }
    settings.build().ok()
}

/// What Cupola's own say.
pub(super) fn apply(variables: &mut Variables<'_>, traces: &mut TraceSettings) {
    tail(variables, traces);
    match variables.boolean("CUPOLA_PENDING_SPANS") {
        Some(true) => {
            traces.pending.get_or_insert_default();
        }
        Some(false) => traces.pending = None,
        None => {}
    }
    // Asked for in any case, so that a mistake is told.
    if let Some(after) = variables.time_span("CUPOLA_PENDING_AFTER") {
        match &mut traces.pending {
            Some(pending) => pending.after = after,
            None => without(variables, "CUPOLA_PENDING_AFTER", "CUPOLA_PENDING_SPANS"),
        }
    }
    match variables.boolean("CUPOLA_FORCE_TRACES") {
        // Names that a file gives stay.
        Some(true) if traces.force.query.is_none() && traces.force.header.is_none() => {
            traces.force = ForceSettings {
                from_callers: traces.force.from_callers,
                ..ForceSettings::usual()
            };
        }
        Some(false) => {
            traces.force = ForceSettings {
                from_callers: traces.force.from_callers,
                ..ForceSettings::default()
            };
        }
        Some(true) | None => {}
    }
    if let Some(believed) = variables.boolean("CUPOLA_FORCE_FROM_CALLERS") {
        traces.force.from_callers = believed;
    }
}

fn tail(variables: &mut Variables<'_>, traces: &mut TraceSettings) {
    match variables.boolean("CUPOLA_TAIL_SAMPLING") {
        Some(true) => {
            traces.tail.get_or_insert_default();
        }
        Some(false) => traces.tail = None,
        None => {}
    }
    let ratio = variables.parsed("CUPOLA_TAIL_RATIO", samplers::ratio);
    if let Some(ratio) = ratio.and_then(TraceIdRatio::new) {
        match &mut traces.tail {
            Some(tail) => tail.ratio = ratio,
            None => without(variables, "CUPOLA_TAIL_RATIO", "CUPOLA_TAIL_SAMPLING"),
        }
    }
    if let Some(slow) = variables.time_span("CUPOLA_TAIL_SLOW") {
        match &mut traces.tail {
            Some(tail) => tail.slow = (!slow.is_zero()).then_some(slow),
            None => without(variables, "CUPOLA_TAIL_SLOW", "CUPOLA_TAIL_SAMPLING"),
        }
    }
}

fn without(variables: &mut Variables<'_>, name: &str, switch: &str) {
    let hint = format!("set {switch}=true");
    variables.warn(name, format!("has no effect without {switch}"), Some(&hint));
}
