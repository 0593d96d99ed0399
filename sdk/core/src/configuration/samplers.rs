//! Samplers by the names that variables and files have for them.

use std::sync::Arc;

use crate::sampling::{AlwaysOff, AlwaysOn, ParentBased, Sampler, TraceIdRatio};

/// A share of traces.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text
        .parse::<f64>()
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| format!("`{text}` is not a share from 0 to 1"))
}

/// The sampler of a name that `OTEL_TRACES_SAMPLER` has, with the share of traces where it takes one; `None` for those that ask a
/// server.
pub(super) fn named(name: &str, ratio: f64) -> Option<Arc<dyn Sampler>> {
    if let Some(root) = name.strip_prefix("parentbased_") {
        return named(root, ratio).map(|root| Arc::new(ParentBased::new(root)) as Arc<dyn Sampler>);
    }
    match name {
        "always_on" => Some(Arc::new(AlwaysOn)),
        "always_off" => Some(Arc::new(AlwaysOff)),
        "traceidratio" => Some(of_ratio(ratio)),
        _ => None,
    }
}

/// Of a share that is from 0 to 1.
pub(super) fn of_ratio(ratio: f64) -> Arc<dyn Sampler> {
    match TraceIdRatio::new(ratio) {
        Some(sampler) => Arc::new(sampler),
        None => Arc::new(AlwaysOn),
    }
}
