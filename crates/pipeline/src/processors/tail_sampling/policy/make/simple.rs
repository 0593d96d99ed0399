//! Policies that stand by themselves and keep nothing.

use regex::Regex;

use crate::processors::ConfigError;
use crate::processors::tail_sampling::config::{
    BooleanAttributeConfig, LatencyConfig, NumericAttributeConfig, ProbabilisticConfig, SpanCountConfig,
    StatusCodeConfig, StringAttributeConfig, TraceStateConfig,
};
use crate::processors::tail_sampling::policy::Policy;
use crate::processors::tail_sampling::policy::attributes::{Numeric, StringMatcher};

/// What hashes are salted with if the settings do not say.
const SALT: &str = "default-hash-seed";

pub(super) fn latency(config: &LatencyConfig) -> Policy {
    Policy::Latency {
        threshold_ms: config.threshold_ms,
        upper_ms: (config.upper_threshold_ms > 0).then_some(config.upper_threshold_ms),
    }
}

pub(super) fn numeric(config: &NumericAttributeConfig, at: &str) -> Result<Policy, ConfigError> {
    Ok(Policy::Numeric {
        numeric: Numeric {
            key: key(&config.key, at, "numeric_attribute")?,
            min: config.min_value.unwrap_or(i64::MIN),
            max: config.max_value.unwrap_or(i64::MAX),
        },
        invert: config.invert_match,
    })
}

pub(super) fn probabilistic(config: &ProbabilisticConfig) -> Policy {
    let salt = match config.hash_salt.as_str() {
        "" => SALT,
        salt => salt,
    };
    // A product beyond what fits becomes the largest hash, and a negative one zero.
    let threshold = (u64::MAX as f64 * (config.sampling_percentage / 100.0)) as u64;
    Policy::Probabilistic {
        salt: salt.to_owned(),
        threshold,
    }
}

pub(super) fn status_code(config: &StatusCodeConfig, at: &str) -> Result<Policy, ConfigError> {
    let refuse = |problem: String| ConfigError::setting(format!("{at}.status_code.status_codes"), problem);
    let code = |name: &String| match name.as_str() {
        "UNSET" => Ok(0),
        "OK" => Ok(1),
        "ERROR" => Ok(2),
        _ => Err(refuse(format!(
            "`{name}` is no status; there are OK, ERROR and UNSET"
        ))),
    };
    if config.status_codes.is_empty() {
        return Err(refuse("there is none".to_owned()));
    }
    let codes = config.status_codes.iter().map(code);
    Ok(Policy::StatusCode(codes.collect::<Result<_, _>>()?))
}

pub(super) fn text(config: &StringAttributeConfig, at: &str) -> Result<Policy, ConfigError> {
    Ok(Policy::Text {
        key: key(&config.key, at, "string_attribute")?,
        matcher: matcher(config, at)?,
        invert: config.invert_match,
    })
}

fn matcher(config: &StringAttributeConfig, at: &str) -> Result<StringMatcher, ConfigError> {
    if !config.enabled_regex_matching {
        return Ok(StringMatcher::Exact(config.values.iter().cloned().collect()));
    }
    let mut patterns = Vec::with_capacity(config.values.len());
    for (index, pattern) in config.values.iter().enumerate() {
        let key = || format!("{at}.string_attribute.values[{index}]");
        patterns.push(Regex::new(pattern).map_err(|error| ConfigError::setting(key(), error.to_string()))?);
    }
    Ok(StringMatcher::patterns(patterns, config.cache_max_size))
}

pub(super) fn trace_state(config: &TraceStateConfig, at: &str) -> Result<Policy, ConfigError> {
    Ok(Policy::TraceState {
        key: key(&config.key, at, "trace_state")?,
        values: config.values.clone(),
    })
}

pub(super) fn span_count(config: &SpanCountConfig, at: &str) -> Result<Policy, ConfigError> {
    let max = match config.max_spans {
        0 => usize::MAX,
        max => max,
    };
    if config.min_spans > max {
        let key = format!("{at}.span_count.max_spans");
        return Err(ConfigError::setting(key, "it is below min_spans"));
    }
    Ok(Policy::SpanCount {
        min: config.min_spans,
        max,
    })
}

pub(super) fn boolean(config: &BooleanAttributeConfig, at: &str) -> Result<Policy, ConfigError> {
    Ok(Policy::Boolean {
        key: key(&config.key, at, "boolean_attribute")?,
        value: config.value,
        invert: config.invert_match,
    })
}

fn key(key: &str, at: &str, name: &str) -> Result<String, ConfigError> {
    match key.is_empty() {
        true => Err(ConfigError::setting(format!("{at}.{name}.key"), "it is missing")),
        false => Ok(key.to_owned()),
    }
}
