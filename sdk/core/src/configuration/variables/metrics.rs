//! What variables say of metrics.

use super::reader::Variables;
use super::without_end;
use crate::metrics::{ExemplarFilter, HistogramPreference, TemporalityPreference};
use crate::settings::Settings;

pub(super) fn apply(variables: &mut Variables<'_>, settings: &mut Settings) {
    let metrics = &mut settings.metrics;
    match variables.word("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE") {
        Some("delta") => metrics.temporality = TemporalityPreference::Delta,
        Some("lowmemory") => metrics.temporality = TemporalityPreference::LowMemory,
        Some(_) => metrics.temporality = TemporalityPreference::Cumulative,
        None => {}
    }
    match variables.word("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION") {
        Some("base2_exponential_bucket_histogram") => metrics.histogram = HistogramPreference::Exponential,
        Some(_) => metrics.histogram = HistogramPreference::ExplicitBuckets,
        None => {}
    }
    match variables.word("OTEL_METRICS_EXEMPLAR_FILTER") {
        Some("always_on") => metrics.exemplars = ExemplarFilter::AlwaysOn,
        Some("always_off") => metrics.exemplars = ExemplarFilter::AlwaysOff,
        Some(_) => metrics.exemplars = ExemplarFilter::TraceBased,
        None => {}
    }
    if let Some(interval) = variables.milliseconds("OTEL_METRIC_EXPORT_INTERVAL") {
        metrics.interval = interval.max(super::millis(1));
    }
    if let Some(timeout) = variables.milliseconds("OTEL_METRIC_EXPORT_TIMEOUT") {
        metrics.timeout = without_end(timeout.as_millis() as u64);
    }
}
