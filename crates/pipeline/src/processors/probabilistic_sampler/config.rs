//! Settings of the probabilistic sampler, as the Collector has them.

use serde::Deserialize;

use super::threshold::PROBABILITY_MIN;
use crate::processors::ConfigError;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbabilisticSamplerConfig {
    /// Proportional if it is not given; but by hash if there is a seed, or logs are sampled by an attribute.
    pub mode: Option<SamplerMode>,
    /// From 0 for nothing to 100 for everything.
    pub sampling_percentage: f32,
    pub hash_seed: u32,
    /// What has no randomness, or contradictory marks of samplers, goes; otherwise it stays.
    pub fail_closed: bool,
    /// Significant hex digits of a threshold, 1 to 14.
    pub sampling_precision: u8,
    /// Of logs: what decides.
    pub attribute_source: AttributeSource,
    /// Of logs: decides if the source is `record`, or if there is no trace id.
    pub from_attribute: String,
    /// Of logs: an attribute that holds a percentage of its own.
    pub sampling_priority: String,
}

impl Default for ProbabilisticSamplerConfig {
    fn default() -> Self {
        Self {
            mode: None,
            sampling_percentage: 0.0,
            hash_seed: 0,
            fail_closed: true,
            sampling_precision: 4,
            attribute_source: AttributeSource::TraceId,
            from_attribute: String::new(),
            sampling_priority: String::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplerMode {
    /// By a hash of the trace id, to 14 bits.
    HashSeed,
    /// Down to the probability, what has been sampled before counted in.
    Equalizing,
    /// The share of what comes.
    Proportional,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum AttributeSource {
    #[serde(rename = "traceID")]
    TraceId,
    #[serde(rename = "record")]
    Record,
}

impl ProbabilisticSamplerConfig {
    /// Refuses shares and precisions that there are not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let percentage = self.sampling_percentage;
        if !percentage.is_finite() || percentage < 0.0 {
            return Err(ConfigError::setting(
                "sampling_percentage",
                "it must be a number from 0 to 100",
            ));
        }
        if percentage > 0.0 && f64::from(percentage) / 100.0 < PROBABILITY_MIN {
            return Err(ConfigError::setting(
                "sampling_percentage",
                "it is smaller than can be expressed with 56 bits",
            ));
        }
        if !(1..=14).contains(&self.sampling_precision) {
            return Err(ConfigError::setting(
                "sampling_precision",
                "it must be from 1 to 14",
            ));
        }
        if self.attribute_source == AttributeSource::Record && self.from_attribute.is_empty() {
            return Err(ConfigError::setting(
                "from_attribute",
                "it is needed when attribute_source is record",
            ));
        }
        Ok(())
    }
}
