//! What samplers are made of, as variables and files have it.

use serde::Deserialize;

use crate::span::SpanKind;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SpanKindModel {
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

impl From<SpanKindModel> for SpanKind {
    fn from(kind: SpanKindModel) -> SpanKind {
        match kind {
            SpanKindModel::Internal => SpanKind::Internal,
            SpanKindModel::Server => SpanKind::Server,
            SpanKindModel::Client => SpanKind::Client,
            SpanKindModel::Producer => SpanKind::Producer,
            SpanKindModel::Consumer => SpanKind::Consumer,
        }
    }
}

/// A share of traces.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text
        .parse::<f64>()
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| format!("`{text}` is not a share from 0 to 1"))
}

/// Traces in a second.
pub(super) fn per_second(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok();
    rate.filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| format!("`{text}` is not a number of traces in a second, more than 0"))
}
