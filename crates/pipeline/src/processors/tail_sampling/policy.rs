//! Policies: what each says of a trace, and what comes of it together.

mod attributes;
mod limits;
mod make;

use std::time::{Duration, Instant};

use cupola_telemetry::view::{Attributes, Span};
use cupola_telemetry::{Batch, TraceId};

use self::attributes::{Numeric, StringMatcher};
use self::limits::{Composite, TokenBucket};
use super::config::TailSamplingConfig;
use super::stats::PolicyStats;
use crate::ottl::{Conditions, Env, RunError};
use crate::processors::ConfigError;

/// What a policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Sampled,
    NotSampled,
    /// Sampled because nothing matched.
    InvertSampled,
    /// Not sampled because something matched.
    InvertNotSampled,
    Dropped,
}

impl Decision {
    pub(super) fn is_sampled(self) -> bool {
        matches!(self, Self::Sampled | Self::InvertSampled)
    }

    fn of(matched: bool) -> Self {
        if matched { Self::Sampled } else { Self::NotSampled }
    }

    fn inverted(matched: bool) -> Self {
        if matched {
            Self::InvertNotSampled
        } else {
            Self::InvertSampled
        }
    }
}

/// A trace that is to be decided.
pub(super) struct Evidence<'t> {
    pub(super) id: TraceId,
    pub(super) fragments: &'t [Batch],
    /// Attributes of each resource with its spans.
    pub(super) resources: Vec<(Attributes<'t>, Vec<Span<'t>>)>,
    pub(super) span_count: usize,
    pub(super) bytes: usize,
    /// Since the processor began.
    pub(super) elapsed: Duration,
    pub(super) env: &'t dyn Env,
}

impl<'t> Evidence<'t> {
    pub(super) fn new(id: TraceId, fragments: &'t [Batch], elapsed: Duration, env: &'t dyn Env) -> Self {
        let mut resources = Vec::new();
        for resource in fragments
            .iter()
            .flat_map(|fragment| fragment.traces().resources())
        {
            let spans = resource.scopes().flat_map(|scope| scope.spans());
            resources.push((resource.resource().attributes, spans.collect()));
        }
        Self {
            id,
            fragments,
            resources,
            span_count: fragments.iter().map(Batch::items).sum(),
            bytes: fragments.iter().map(|fragment| fragment.payload().len()).sum(),
            elapsed,
            env,
        }
    }

    fn spans(&self) -> impl Iterator<Item = &Span<'t>> {
        self.resources.iter().flat_map(|(_, spans)| spans)
    }

    /// Whether `matches` says so of the attributes of a resource or a span, in this order.
    fn any_attributes(&self, mut matches: impl FnMut(&Attributes<'t>) -> bool) -> bool {
        self.resources
            .iter()
            .any(|(resource, spans)| matches(resource) || spans.iter().any(|span| matches(&span.attributes)))
    }

    /// From the earliest start to the latest end.
    fn milliseconds(&self) -> u64 {
        let start = self.spans().map(|span| span.start_time_unix_nano).min();
        let end = self.spans().map(|span| span.end_time_unix_nano).max();
        end.unwrap_or(0).saturating_sub(start.unwrap_or(0)) / 1_000_000
    }
}

#[derive(Debug)]
enum Policy {
    AlwaysSample,
    Latency {
        threshold_ms: u64,
        upper_ms: Option<u64>,
    },
    Numeric {
        numeric: Numeric,
        invert: bool,
    },
    Probabilistic {
        salt: String,
        threshold: u64,
    },
    StatusCode(Vec<i32>),
    Text {
        key: String,
        matcher: StringMatcher,
        invert: bool,
    },
    TraceState {
        key: String,
        values: Vec<String>,
    },
    TraceFlags,
    Spans(TokenBucket),
    Bytes(TokenBucket),
    SpanCount {
        min: usize,
        max: usize,
    },
    Boolean {
        key: String,
        value: bool,
        invert: bool,
    },
    Ottl(Vec<Conditions>),
    And(Vec<Policy>),
    Not(Box<Policy>),
    Drop(Vec<Policy>),
    Composite(Composite),
}

impl Policy {
    fn decide(&mut self, trace: &Evidence<'_>) -> Result<Decision, RunError> {
        let inverted = |invert: bool, matched: bool| match invert {
            true => Decision::inverted(matched),
            false => Decision::of(matched),
        };
        Ok(match self {
            Self::AlwaysSample => Decision::Sampled,
            Self::Latency {
                threshold_ms,
                upper_ms,
            } => {
                let took = trace.milliseconds();
                Decision::of(took > *threshold_ms && upper_ms.is_none_or(|upper| took <= upper))
            }
            Self::Numeric { numeric, invert } => {
                inverted(*invert, trace.any_attributes(|all| numeric.matches(all)))
            }
            Self::Probabilistic { salt, threshold } => {
                Decision::of(fnv1a(&[salt.as_bytes(), trace.id.as_bytes()]) <= *threshold)
            }
            Self::StatusCode(codes) => Decision::of(
                trace
                    .spans()
                    .any(|span| codes.contains(&span.status.map_or(0, |status| status.code))),
            ),
            Self::Text { key, matcher, invert } => {
                let matched = trace.any_attributes(|all| {
                    let text = all.get(key).and_then(|value| value.as_str());
                    text.is_some_and(|text| !text.is_empty() && matcher.matches(text))
                });
                inverted(*invert, matched)
            }
            Self::TraceState { key, values } => Decision::of(trace.spans().any(|span| {
                attributes::trace_state_member(span.trace_state, key)
                    .is_some_and(|value| values.iter().any(|wanted| wanted == value))
            })),
            Self::TraceFlags => Decision::of(trace.spans().any(|span| span.flags & 1 == 1)),
            Self::Spans(bucket) => Decision::of(bucket.take(trace.span_count, trace.elapsed)),
            Self::Bytes(bucket) => Decision::of(bucket.take(trace.bytes, trace.elapsed)),
            Self::SpanCount { min, max } => Decision::of((*min..=*max).contains(&trace.span_count)),
            Self::Boolean { key, value, invert } => {
                let matched = trace.any_attributes(|all| attributes::is_bool(all, key, *value));
                inverted(*invert, matched)
            }
            Self::Ottl(conditions) => Decision::of(any_condition(conditions, trace)?),
            Self::And(policies) => Decision::of(all_sampled(policies, trace)?),
            Self::Not(policy) => Decision::of(!policy.decide(trace)?.is_sampled()),
            Self::Drop(policies) => match all_sampled(policies, trace)? {
                true => Decision::Dropped,
                false => Decision::NotSampled,
            },
            Self::Composite(composite) => Decision::of(composite.decide(trace)?),
        })
    }
}

fn all_sampled(policies: &mut [Policy], trace: &Evidence<'_>) -> Result<bool, RunError> {
    for policy in policies {
        if !policy.decide(trace)?.is_sampled() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a condition holds for a span or an event: then something would be dropped, and the bytes be others.
fn any_condition(conditions: &[Conditions], trace: &Evidence<'_>) -> Result<bool, RunError> {
    for fragment in trace.fragments {
        for condition in conditions {
            let left = condition.drop_matching(fragment, trace.env)?.batch;
            if left.is_none_or(|left| left.payload().as_ptr() != fragment.payload().as_ptr()) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// 64-bit FNV-1a: <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn fnv1a(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

struct Named {
    policy: Policy,
    stats: PolicyStats,
}

/// All policies, those that drop first.
pub(super) struct Policies {
    policies: Vec<Named>,
    sample_on_first_match: bool,
}

impl Policies {
    pub(super) fn new(config: &TailSamplingConfig) -> Result<Self, ConfigError> {
        let mut made = make::policies(&config.policies, "policies")?;
        made.sort_by_key(|(_, policy)| !matches!(policy, Policy::Drop(_)));
        let policies = made.into_iter().map(|(name, policy)| Named {
            policy,
            stats: PolicyStats::new(name),
        });
        Ok(Self {
            policies: policies.collect(),
            sample_on_first_match: config.sample_on_first_match,
        })
    }

    /// Decides a trace: dropping wins, then not sampling because of an inverted match, then sampling, then sampling
    /// because of an inverted one unless a policy says not to.
    pub(super) fn decide(&mut self, trace: &Evidence<'_>) -> Decision {
        let (mut sampled, mut not_sampled, mut invert_sampled, mut invert_not) = (false, false, false, false);
        for Named { policy, stats } in &mut self.policies {
            let began = Instant::now();
            let decision = policy.decide(trace);
            stats.latency.record(began.elapsed().as_secs_f64() * 1e6);
            let decision = match decision {
                Ok(decision) => decision,
                Err(error) => {
                    stats.errors += 1;
                    tracing::debug!(policy = stats.name, %error, "cannot evaluate a sampling policy");
                    continue;
                }
            };
            stats.count(decision, trace.span_count as u64);
            match decision {
                Decision::Dropped => return Decision::Dropped,
                Decision::Sampled => sampled = true,
                Decision::NotSampled => not_sampled = true,
                Decision::InvertSampled => invert_sampled = true,
                Decision::InvertNotSampled => invert_not = true,
            }
            if sampled && self.sample_on_first_match {
                break;
            }
        }
        Decision::of(!invert_not && (sampled || invert_sampled && !not_sampled))
    }

    pub(super) fn stats(&self) -> impl Iterator<Item = &PolicyStats> {
        self.policies.iter().map(|named| &named.stats)
    }
}
