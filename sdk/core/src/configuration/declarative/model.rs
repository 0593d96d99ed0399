//! The file as types, by the names of the schema. What is in development has its key with and without the suffix.

use std::collections::BTreeMap;

use cupola_config::{Passed, Secret, present};
use serde::Deserialize;

use crate::configuration::levels::Level;
use crate::configuration::metrics::{
    ExemplarFilterModel, HistogramModel, IncludeExclude, Nothing, TemporalityModel, ViewModel,
};
use crate::configuration::samplers::SpanKindModel;

/// Sections that are known, in the words of the schema.
pub(super) const SECTIONS: &[&str] = &[
    "file_format",
    "stability",
    "disabled",
    "log_level",
    "attribute_limits",
    "resource",
    "propagator",
    "tracer_provider",
    "meter_provider",
    "logger_provider",
    "instrumentation/development",
    "instrumentation",
    "distribution",
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Model {
    pub(super) disabled: Option<bool>,
    pub(super) log_level: Option<Level>,
    pub(super) attribute_limits: Option<AttributeLimitsModel>,
    pub(super) resource: Option<ResourceModel>,
    pub(super) propagator: Option<PropagatorModel>,
    pub(super) tracer_provider: Option<TracerProvider>,
    pub(super) meter_provider: Option<MeterProvider>,
    pub(super) logger_provider: Option<LoggerProvider>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AttributeLimitsModel {
    pub(super) attribute_value_length_limit: Option<usize>,
    pub(super) attribute_count_limit: Option<usize>,
    /// Of spans alone, as what follows.
    pub(super) event_count_limit: Option<usize>,
    pub(super) link_count_limit: Option<usize>,
    pub(super) event_attribute_count_limit: Option<usize>,
    pub(super) link_attribute_count_limit: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ResourceModel {
    /// Read by hand, for the types of their values.
    pub(super) attributes: Option<Vec<AttributeModel>>,
    pub(super) attributes_list: Option<String>,
    pub(super) schema_url: Option<String>,
    #[serde(rename = "detection/development", alias = "detection")]
    pub(super) detection: Option<Detection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttributeModel {
    pub(super) name: String,
    #[serde(default)]
    #[expect(dead_code, reason = "read from the tree, where its type is known")]
    value: Passed,
    #[serde(default, rename = "type")]
    pub(super) kind: Option<AttributeType>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AttributeType {
    #[default]
    String,
    Bool,
    Int,
    Double,
    StringArray,
    BoolArray,
    IntArray,
    DoubleArray,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Detection {
    pub(super) attributes: Option<IncludeExclude>,
    pub(super) detectors: Option<Vec<BTreeMap<String, Passed>>>,
    pub(super) entities_enabled: Passed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PropagatorModel {
    /// Read by hand: mappings of one key, or names.
    composite: Passed,
    pub(super) composite_list: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TracerProvider {
    pub(super) processors: Vec<Processor>,
    pub(super) limits: Option<AttributeLimitsModel>,
    pub(super) sampler: Option<SamplerModel>,
    #[serde(rename = "tracer_configurator/development", alias = "tracer_configurator")]
    configurator: Passed,
    id_generator: Passed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LoggerProvider {
    pub(super) processors: Vec<Processor>,
    pub(super) limits: Option<AttributeLimitsModel>,
    #[serde(rename = "logger_configurator/development", alias = "logger_configurator")]
    configurator: Passed,
}

/// One key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Processor {
    pub(super) batch: Option<BatchModel>,
    pub(super) simple: Option<SimpleModel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BatchModel {
    pub(super) schedule_delay: Option<u64>,
    pub(super) export_timeout: Option<u64>,
    pub(super) max_queue_size: Option<usize>,
    pub(super) max_export_batch_size: Option<usize>,
    pub(super) exporter: Option<ExporterModel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SimpleModel {
    pub(super) exporter: Option<ExporterModel>,
}

/// One key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExporterModel {
    #[serde(deserialize_with = "present")]
    pub(super) otlp_http: Option<OtlpModel>,
    #[serde(deserialize_with = "present")]
    pub(super) otlp_grpc: Option<OtlpModel>,
    #[serde(
        rename = "otlp_file/development",
        alias = "otlp_file",
        deserialize_with = "present"
    )]
    pub(super) otlp_file: Option<FileModel>,
    #[serde(deserialize_with = "present")]
    pub(super) console: Option<ConsoleModel>,
    /// Known, and not available.
    #[serde(deserialize_with = "present")]
    pub(super) zipkin: Option<Passed>,
}

/// `otlp_http` and `otlp_grpc`; what only one of them has is refused of the other.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OtlpModel {
    pub(super) endpoint: Option<String>,
    pub(super) tls: Option<TlsModel>,
    pub(super) headers: Option<Vec<HeaderModel>>,
    pub(super) headers_list: Option<Secret>,
    pub(super) compression: Option<CompressionModel>,
    pub(super) timeout: Option<u64>,
    pub(super) encoding: Option<EncodingModel>,
    pub(super) temporality_preference: Option<TemporalityModel>,
    pub(super) default_histogram_aggregation: Option<HistogramModel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TlsModel {
    pub(super) ca_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) insecure: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderModel {
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: Option<Secret>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CompressionModel {
    None,
    Gzip,
    Zstd,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum EncodingModel {
    Protobuf,
    Json,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileModel {
    pub(super) output_stream: Option<String>,
    pub(super) temporality_preference: Option<TemporalityModel>,
    pub(super) default_histogram_aggregation: Option<HistogramModel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConsoleModel {
    pub(super) temporality_preference: Option<TemporalityModel>,
    pub(super) default_histogram_aggregation: Option<HistogramModel>,
}

/// One key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SamplerModel {
    #[serde(deserialize_with = "present")]
    pub(super) always_on: Option<Nothing>,
    #[serde(deserialize_with = "present")]
    pub(super) always_off: Option<Nothing>,
    #[serde(deserialize_with = "present")]
    pub(super) trace_id_ratio_based: Option<RatioModel>,
    #[serde(deserialize_with = "present")]
    pub(super) parent_based: Option<Box<ParentModel>>,
    #[serde(
        rename = "probability/development",
        alias = "probability",
        deserialize_with = "present"
    )]
    pub(super) probability: Option<RatioModel>,
    #[serde(
        rename = "composite/development",
        alias = "composite",
        deserialize_with = "present"
    )]
    pub(super) composite: Option<ComposableModel>,
    #[serde(
        rename = "jaeger_remote/development",
        alias = "jaeger_remote",
        deserialize_with = "present"
    )]
    pub(super) jaeger_remote: Option<Passed>,
    #[serde(deserialize_with = "present")]
    pub(super) always_record: Option<Passed>,
}

/// One key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ComposableModel {
    #[serde(deserialize_with = "present")]
    pub(super) always_on: Option<Nothing>,
    #[serde(deserialize_with = "present")]
    pub(super) always_off: Option<Nothing>,
    #[serde(deserialize_with = "present")]
    pub(super) probability: Option<RatioModel>,
    #[serde(deserialize_with = "present")]
    pub(super) parent_threshold: Option<Box<ParentThresholdModel>>,
    #[serde(deserialize_with = "present")]
    pub(super) rule_based: Option<RuleBasedModel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ParentThresholdModel {
    pub(super) root: Option<ComposableModel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RuleBasedModel {
    pub(super) rules: Vec<RuleModel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RuleModel {
    pub(super) attribute_values: Option<AttributeValuesModel>,
    pub(super) attribute_patterns: Option<AttributePatternsModel>,
    pub(super) span_kinds: Option<Vec<SpanKindModel>>,
    pub(super) parent: Option<Vec<ParentKindModel>>,
    pub(super) sampler: Option<ComposableModel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttributeValuesModel {
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttributePatternsModel {
    pub(super) key: String,
    #[serde(default)]
    pub(super) included: Option<Vec<String>>,
    #[serde(default)]
    pub(super) excluded: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ParentKindModel {
    None,
    Remote,
    Local,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ParentModel {
    pub(super) root: Option<SamplerModel>,
    pub(super) remote_parent_sampled: Option<SamplerModel>,
    pub(super) remote_parent_not_sampled: Option<SamplerModel>,
    pub(super) local_parent_sampled: Option<SamplerModel>,
    pub(super) local_parent_not_sampled: Option<SamplerModel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MeterProvider {
    pub(super) readers: Vec<Reader>,
    pub(super) views: Option<Vec<ViewModel>>,
    pub(super) exemplar_filter: Option<ExemplarFilterModel>,
    #[serde(rename = "meter_configurator/development", alias = "meter_configurator")]
    configurator: Passed,
}

/// One key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Reader {
    pub(super) periodic: Option<PeriodicModel>,
    /// Known, and not available.
    #[serde(deserialize_with = "present")]
    pub(super) pull: Option<Passed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PeriodicModel {
    pub(super) interval: Option<u64>,
    pub(super) timeout: Option<u64>,
    pub(super) exporter: Option<ExporterModel>,
    pub(super) producers: Option<Vec<BTreeMap<String, Passed>>>,
    pub(super) cardinality_limits: Option<CardinalityModel>,
    pub(super) max_export_batch_size: Option<usize>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CardinalityModel {
    pub(super) default: Option<usize>,
    pub(super) counter: Option<usize>,
    pub(super) gauge: Option<usize>,
    pub(super) histogram: Option<usize>,
    pub(super) observable_counter: Option<usize>,
    pub(super) observable_gauge: Option<usize>,
    pub(super) observable_up_down_counter: Option<usize>,
    pub(super) up_down_counter: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RatioModel {
    pub(super) ratio: Option<f64>,
}

impl ExporterModel {
    /// What an exporter of metrics says of their temporality and of histograms.
    pub(super) fn preferences(&self) -> (Option<TemporalityModel>, Option<HistogramModel>) {
        let otlp = self.otlp_http.as_ref().or(self.otlp_grpc.as_ref());
        if let Some(otlp) = otlp {
            return (otlp.temporality_preference, otlp.default_histogram_aggregation);
        }
        if let Some(file) = &self.otlp_file {
            return (file.temporality_preference, file.default_histogram_aggregation);
        }
        let console = self.console.as_ref();
        console
            .map(|console| {
                (
                    console.temporality_preference,
                    console.default_histogram_aggregation,
                )
            })
            .unwrap_or_default()
    }
}

impl CardinalityModel {
    /// Those that kinds of instruments have of their own.
    pub(super) fn of_kinds(&self) -> impl Iterator<Item = usize> {
        [
            self.counter,
            self.gauge,
            self.histogram,
            self.observable_counter,
            self.observable_gauge,
            self.observable_up_down_counter,
            self.up_down_counter,
        ]
        .into_iter()
        .flatten()
    }
}
