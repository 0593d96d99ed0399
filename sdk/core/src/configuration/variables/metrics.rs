//! What variables say of metrics.

use super::reader::Variables;
use crate::settings::Settings;

pub(super) fn apply(variables: &mut Variables<'_>, _settings: &mut Settings) {
    let _ = variables.word("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE");
    let _ = variables.word("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION");
    let _ = variables.word("OTEL_METRICS_EXEMPLAR_FILTER");
    let _ = variables.milliseconds("OTEL_METRIC_EXPORT_INTERVAL");
    let _ = variables.milliseconds("OTEL_METRIC_EXPORT_TIMEOUT");
}
