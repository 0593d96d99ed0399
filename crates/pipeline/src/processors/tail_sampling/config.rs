//! Settings of tail sampling, as the Collector has them. Refuses what cannot work, by its key.

use std::time::Duration;

use cupola_config::units::{ByteSize, TimeSpan};
use serde::Deserialize;

use super::policy::Policies;
use crate::ottl::ErrorMode;
use crate::processors::ConfigError;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TailSamplingConfig {
    /// From the first span of a trace until it is decided.
    pub decision_wait: TimeSpan,
    /// From a root span until its trace is decided, if that is earlier. Zero: roots make no difference.
    pub decision_wait_after_root_received: TimeSpan,
    /// Traces held undecided.
    pub num_traces: usize,
    /// A hint for the first allocation.
    pub expected_new_traces_per_sec: usize,
    pub decision_cache: DecisionCacheConfig,
    /// No further policies are asked once one has said to sample.
    pub sample_on_first_match: bool,
    /// Undecided traces go at a shutdown, instead of being decided by what there is of them.
    pub drop_pending_traces_on_shutdown: bool,
    /// A new trace beyond `num_traces` is refused, instead of an older one being decided early.
    pub block_on_overflow: bool,
    /// A trace of more bytes is decided at once. Zero: there is no bound but that of memory.
    pub maximum_trace_size_bytes: ByteSize,
    pub policies: Vec<PolicyConfig>,
    pub acknowledge: Acknowledge,
}

impl Default for TailSamplingConfig {
    fn default() -> Self {
        Self {
            decision_wait: TimeSpan(Duration::from_secs(30)),
            decision_wait_after_root_received: TimeSpan(Duration::ZERO),
            num_traces: 50_000,
            expected_new_traces_per_sec: 0,
            decision_cache: DecisionCacheConfig::default(),
            sample_on_first_match: false,
            drop_pending_traces_on_shutdown: false,
            block_on_overflow: false,
            maximum_trace_size_bytes: ByteSize(0),
            policies: Vec::new(),
            acknowledge: Acknowledge::default(),
        }
    }
}

/// Decisions that late spans find. Zero: as many as `num_traces`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionCacheConfig {
    pub sampled_cache_size: usize,
    pub non_sampled_cache_size: usize,
}

/// When a sender is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledge {
    /// When its spans are in memory.
    #[default]
    Taken,
    /// When the traces of all of its spans have been decided, and delivered if they are sampled.
    Decided,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyType {
    AlwaysSample,
    Latency,
    NumericAttribute,
    Probabilistic,
    StatusCode,
    StringAttribute,
    TraceState,
    TraceFlags,
    RateLimiting,
    BytesLimiting,
    SpanCount,
    BooleanAttribute,
    OttlCondition,
    And,
    Not,
    Drop,
    Composite,
}

/// A policy: its name, its type, and the settings of that type under the type's name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: PolicyType,
    pub latency: Option<LatencyConfig>,
    pub numeric_attribute: Option<NumericAttributeConfig>,
    pub probabilistic: Option<ProbabilisticConfig>,
    pub status_code: Option<StatusCodeConfig>,
    pub string_attribute: Option<StringAttributeConfig>,
    pub trace_state: Option<TraceStateConfig>,
    pub rate_limiting: Option<RateLimitingConfig>,
    pub bytes_limiting: Option<BytesLimitingConfig>,
    pub span_count: Option<SpanCountConfig>,
    pub boolean_attribute: Option<BooleanAttributeConfig>,
    pub ottl_condition: Option<OttlConditionConfig>,
    pub and: Option<AndConfig>,
    pub not: Option<NotConfig>,
    pub drop: Option<DropConfig>,
    pub composite: Option<CompositeConfig>,
}

/// From the earliest start to the latest end, in milliseconds: more than the threshold, and no more than the upper one
/// if there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatencyConfig {
    pub threshold_ms: u64,
    pub upper_threshold_ms: u64,
}

/// A whole number among the attributes of a span or a resource, both bounds included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NumericAttributeConfig {
    pub key: String,
    pub min_value: Option<i64>,
    pub max_value: Option<i64>,
    pub invert_match: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbabilisticConfig {
    pub hash_salt: String,
    pub sampling_percentage: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusCodeConfig {
    /// `OK`, `ERROR`, `UNSET`.
    pub status_codes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StringAttributeConfig {
    pub key: String,
    pub values: Vec<String>,
    pub enabled_regex_matching: bool,
    /// Results of patterns that are remembered; 128 if it is zero.
    pub cache_max_size: usize,
    pub invert_match: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceStateConfig {
    pub key: String,
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimitingConfig {
    pub spans_per_second: u64,
    /// Twice the rate if it is zero.
    pub burst_capacity: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BytesLimitingConfig {
    pub bytes_per_second: u64,
    /// Twice the rate if it is zero.
    pub burst_capacity: u64,
}

/// Both bounds are included; a maximum of zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpanCountConfig {
    pub min_spans: usize,
    pub max_spans: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BooleanAttributeConfig {
    pub key: String,
    pub value: bool,
    pub invert_match: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OttlConditionConfig {
    /// Propagate, if it is not given: the policy then has no say.
    pub error_mode: Option<ErrorMode>,
    pub span: Vec<String>,
    pub spanevent: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AndConfig {
    pub and_sub_policy: Vec<PolicyConfig>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotConfig {
    pub not_sub_policy: Box<PolicyConfig>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropConfig {
    pub drop_sub_policy: Vec<PolicyConfig>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompositeConfig {
    pub max_total_spans_per_second: u64,
    /// Names of sub-policies; those that are not named come after, in their own order.
    #[serde(default)]
    pub policy_order: Vec<String>,
    pub composite_sub_policy: Vec<PolicyConfig>,
    /// Sub-policies without a share have equal parts of what is left.
    #[serde(default)]
    pub rate_allocation: Vec<RateAllocation>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateAllocation {
    pub policy: String,
    pub percent: f64,
}

impl TailSamplingConfig {
    /// Refuses policies that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.num_traces == 0 {
            return Err(ConfigError::setting(
                "num_traces",
                "at least one trace must be held",
            ));
        }
        if self.policies.is_empty() {
            return Err(ConfigError::setting(
                "policies",
                "there is none, so no trace would be sampled",
            ));
        }
        Policies::new(self).map(drop)
    }
}
