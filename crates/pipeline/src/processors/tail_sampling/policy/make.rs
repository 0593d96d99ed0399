//! Policies out of settings, each refusal with its key.

mod simple;

use std::collections::HashSet;

use super::limits::{Composite, SubPolicy, TokenBucket};
use super::{Conditions, Policy};
use crate::ottl::{Context, ErrorMode};
use crate::processors::ConfigError;
use crate::processors::statements::Compiling;
use crate::processors::tail_sampling::config::{
    CompositeConfig, OttlConditionConfig, PolicyConfig, PolicyType,
};

/// How deep policies may stand in one another.
const NESTING_MAX: usize = 8;

/// The policies of a list, with their names.
pub(super) fn policies(configs: &[PolicyConfig], key: &str) -> Result<Vec<(String, Policy)>, ConfigError> {
    list(configs, key, 0)
}

fn list(configs: &[PolicyConfig], key: &str, depth: usize) -> Result<Vec<(String, Policy)>, ConfigError> {
    let mut names = HashSet::new();
    let mut policies = Vec::with_capacity(configs.len());
    for (index, config) in configs.iter().enumerate() {
        let at = format!("{key}[{index}]");
        if config.name.is_empty() {
            return Err(ConfigError::setting(format!("{at}.name"), "it is empty"));
        }
        if !names.insert(config.name.as_str()) {
            let problem = format!("there are two policies named `{}`", config.name);
            return Err(ConfigError::setting(format!("{at}.name"), problem));
        }
        policies.push((config.name.clone(), policy(config, &at, depth)?));
    }
    Ok(policies)
}

fn settings<'c, T>(settings: &'c Option<T>, at: &str, name: &str) -> Result<&'c T, ConfigError> {
    settings.as_ref().ok_or_else(|| {
        ConfigError::setting(format!("{at}.{name}"), "a policy of this type needs its settings")
    })
}

fn policy(config: &PolicyConfig, at: &str, depth: usize) -> Result<Policy, ConfigError> {
    let refuse = |problem: &str| Err(ConfigError::setting(format!("{at}.type"), problem));
    if depth > NESTING_MAX {
        return refuse("policies are nested too deep");
    }
    if depth > 0 && matches!(config.kind, PolicyType::Drop | PolicyType::Composite) {
        return refuse("drop and composite cannot stand in other policies");
    }
    Ok(match config.kind {
        PolicyType::AlwaysSample => Policy::AlwaysSample,
        PolicyType::TraceFlags => Policy::TraceFlags,
        PolicyType::Latency => simple::latency(settings(&config.latency, at, "latency")?),
        PolicyType::NumericAttribute => {
            simple::numeric(settings(&config.numeric_attribute, at, "numeric_attribute")?, at)?
        }
        PolicyType::Probabilistic => {
            simple::probabilistic(settings(&config.probabilistic, at, "probabilistic")?)
        }
        PolicyType::StatusCode => simple::status_code(settings(&config.status_code, at, "status_code")?, at)?,
        PolicyType::StringAttribute => {
            simple::text(settings(&config.string_attribute, at, "string_attribute")?, at)?
        }
        PolicyType::TraceState => simple::trace_state(settings(&config.trace_state, at, "trace_state")?, at)?,
        PolicyType::RateLimiting => {
            let limit = settings(&config.rate_limiting, at, "rate_limiting")?;
            Policy::Spans(TokenBucket::new(limit.spans_per_second, limit.burst_capacity))
        }
        PolicyType::BytesLimiting => {
            let limit = settings(&config.bytes_limiting, at, "bytes_limiting")?;
            Policy::Bytes(TokenBucket::new(limit.bytes_per_second, limit.burst_capacity))
        }
        PolicyType::SpanCount => simple::span_count(settings(&config.span_count, at, "span_count")?, at)?,
        PolicyType::BooleanAttribute => {
            simple::boolean(settings(&config.boolean_attribute, at, "boolean_attribute")?, at)?
        }
        PolicyType::OttlCondition => Policy::Ottl(conditions(
            settings(&config.ottl_condition, at, "ottl_condition")?,
            at,
        )?),
        PolicyType::And => {
            let and = settings(&config.and, at, "and")?;
            let key = format!("{at}.and.and_sub_policy");
            Policy::And(sub_policies(&and.and_sub_policy, &key, depth)?)
        }
        PolicyType::Not => {
            let not = settings(&config.not, at, "not")?;
            let key = format!("{at}.not.not_sub_policy");
            Policy::Not(Box::new(policy(&not.not_sub_policy, &key, depth + 1)?))
        }
        PolicyType::Drop => {
            let drop = settings(&config.drop, at, "drop")?;
            let key = format!("{at}.drop.drop_sub_policy");
            Policy::Drop(sub_policies(&drop.drop_sub_policy, &key, depth)?)
        }
        PolicyType::Composite => {
            Policy::Composite(composite(settings(&config.composite, at, "composite")?, at)?)
        }
    })
}

fn sub_policies(configs: &[PolicyConfig], key: &str, depth: usize) -> Result<Vec<Policy>, ConfigError> {
    if configs.is_empty() {
        return Err(ConfigError::setting(key, "there is no policy"));
    }
    let named = list(configs, key, depth + 1)?;
    Ok(named.into_iter().map(|(_, policy)| policy).collect())
}

fn conditions(config: &OttlConditionConfig, at: &str) -> Result<Vec<Conditions>, ConfigError> {
    if config.span.is_empty() && config.spanevent.is_empty() {
        return Err(ConfigError::setting(
            format!("{at}.ottl_condition"),
            "there is no condition",
        ));
    }
    let mode = config.error_mode.unwrap_or(ErrorMode::Propagate);
    let mut compiling = Compiling::default();
    let listed = [
        ("span", Context::Span, &config.span),
        ("spanevent", Context::SpanEvent, &config.spanevent),
    ];
    let mut compiled = Vec::new();
    for (name, context, texts) in listed {
        compiled.extend(compiling.conditions(&format!("{at}.ottl_condition.{name}"), context, texts, mode));
    }
    compiling.finish(compiled)
}

fn composite(config: &CompositeConfig, at: &str) -> Result<Composite, ConfigError> {
    let at = format!("{at}.composite");
    let key = format!("{at}.composite_sub_policy");
    if config.composite_sub_policy.is_empty() {
        return Err(ConfigError::setting(key, "there is no policy"));
    }
    let mut policies = list(&config.composite_sub_policy, &key, 1)?;
    let known: HashSet<String> = policies.iter().map(|(name, _)| name.clone()).collect();
    let allocated = config
        .rate_allocation
        .iter()
        .map(|one| ("rate_allocation", &one.policy));
    for (field, name) in config
        .policy_order
        .iter()
        .map(|name| ("policy_order", name))
        .chain(allocated)
    {
        if !known.contains(name) {
            let problem = format!("there is no sub-policy named `{name}`");
            return Err(ConfigError::setting(format!("{at}.{field}"), problem));
        }
    }
    policies.sort_by_key(|(name, _)| {
        let place = config.policy_order.iter().position(|ordered| ordered == name);
        place.unwrap_or(usize::MAX)
    });
    let spans_max = config.max_total_spans_per_second;
    let percent = |name: &str| {
        let allocation = config.rate_allocation.iter().find(|one| one.policy == name);
        allocation.map(|one| one.percent).filter(|percent| *percent > 0.0)
    };
    let shares: Vec<Option<f64>> = policies.iter().map(|(name, _)| percent(name)).collect();
    let without = shares.iter().filter(|share| share.is_none()).count();
    let left = (100.0 - shares.iter().flatten().sum::<f64>()).max(0.0);
    let sub_policies = policies
        .into_iter()
        .zip(shares)
        .map(|((_, policy), share)| SubPolicy {
            policy,
            spans_max: (spans_max as f64 * share.unwrap_or(left / without as f64) / 100.0) as u64,
            spans: 0,
        });
    Ok(Composite {
        spans_max,
        second: 0,
        policies: sub_policies.collect(),
    })
}
