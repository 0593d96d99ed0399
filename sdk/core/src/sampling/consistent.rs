//! Sampling by a threshold that goes along with the trace, in `ot=th:…` of its state: who comes later knows with which probability
//! it was kept, and can keep fewer of the same. What is compared with it are 56 bits that are random: of the trace id, or those that
//! whoever began the trace has written down as `ot=rv:…`.
//!
//! <https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/>,
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk/#compositesampler>

use std::fmt;

use super::condition::{Pattern, any_text};
use super::{Answer, Decision, Question, Sampler};
use crate::context::{SpanContext, TraceState};
use crate::span::SpanKind;
use crate::value::Value;

/// The key of OpenTelemetry in a trace state.
const OT: &str = "ot";
const THRESHOLD: &str = "th";
const RANDOMNESS: &str = "rv";
/// Hex digits of both.
const DIGITS: usize = 14;
/// Values that 56 bits have.
const VALUES: u64 = 1 << 56;

/// Decides by the threshold of what it is composed of.
#[derive(Clone, Debug, PartialEq)]
pub struct Composite {
    composable: Composable,
    looks_at_attributes: bool,
}

/// What says with which threshold a span is to be sampled.
#[derive(Clone, Debug, PartialEq)]
pub enum Composable {
    AlwaysOn,
    AlwaysOff,
    Probability(Probability),
    /// The threshold of the parent, and of this where there is none.
    ParentThreshold(Box<Composable>),
    /// The first rule that fits; where none does the span is dropped.
    Rules(Vec<ComposableRule>),
}

/// A share of traces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probability {
    ratio: f64,
    /// Random values below it are dropped.
    threshold: u64,
}

/// Spans, and what is asked about them.
#[derive(Clone, Debug, PartialEq)]
pub struct ComposableRule {
    pub predicate: Predicate,
    pub composable: Composable,
}

/// What is so of a span, all of it; what is empty is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predicate {
    /// An attribute and the texts it may have.
    pub values: Option<(String, Vec<String>)>,
    pub patterns: Option<AttributePatterns>,
    pub kinds: Vec<SpanKind>,
    pub parents: Vec<ParentKind>,
}

/// An attribute that fits any of the first, or anything where there are none, and none of the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributePatterns {
    pub key: String,
    pub included: Vec<Pattern>,
    pub excluded: Vec<Pattern>,
}

/// Where the parent of a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentKind {
    None,
    Remote,
    Local,
}

/// A threshold, and whether it says how many spans one stands for; without one the span is dropped.
#[derive(Clone, Copy)]
struct Intent {
    threshold: Option<u64>,
    is_reliable: bool,
}

impl Intent {
    const NONE: Intent = Intent {
        threshold: None,
        is_reliable: false,
    };

    fn reliable(threshold: u64) -> Intent {
        Intent {
            threshold: Some(threshold),
            is_reliable: true,
        }
    }
}

impl Probability {
    /// `None` if the ratio is not from 0 to 1.
    pub fn new(ratio: f64) -> Option<Probability> {
        (0.0..=1.0).contains(&ratio).then(|| Probability {
            ratio,
            threshold: VALUES - (ratio * VALUES as f64).round() as u64,
        })
    }
}

impl Composite {
    pub fn new(composable: Composable) -> Composite {
        Composite {
            looks_at_attributes: composable.looks_at_attributes(),
            composable,
        }
    }
}

impl Sampler for Composite {
    fn sample(&self, question: &Question<'_>) -> Answer {
        let state = &question.parent.trace_state;
        let ot = Ot::of(state);
        let random = ot.randomness().unwrap_or_else(|| {
            let [.., a, b, c, d, e, f, g] = question.trace_id.0;
            u64::from_be_bytes([0, a, b, c, d, e, f, g])
        });
        let intent = self.composable.intent(question, ot, random);
        let is_sampled = intent.threshold.is_some_and(|threshold| random >= threshold);
        let written = intent.threshold.filter(|_| is_sampled && intent.is_reliable);
        let decision = match is_sampled {
            true => Decision::RecordAndSample,
            false => Decision::Drop,
        };
        Answer {
            trace_state: ot.with_threshold(state, written),
            ..decision.into()
        }
    }

    fn looks_at_attributes(&self) -> bool {
        self.looks_at_attributes
    }

    fn description(&self) -> String {
        format!("CompositeSampler{{{}}}", self.composable)
    }
}

impl Composable {
    fn intent(&self, question: &Question<'_>, ot: Ot<'_>, random: u64) -> Intent {
        match self {
            Composable::AlwaysOn => Intent::reliable(0),
            Composable::AlwaysOff => Intent::NONE,
            Composable::Probability(probability) if probability.threshold >= VALUES => Intent::NONE,
            Composable::Probability(probability) => Intent::reliable(probability.threshold),
            Composable::ParentThreshold(root) => match question.parent.is_valid() {
                true => of_parent(question.parent, ot, random),
                false => root.intent(question, ot, random),
            },
            Composable::Rules(rules) => rules
                .iter()
                .find(|rule| rule.predicate.holds(question))
                .map_or(Intent::NONE, |rule| rule.composable.intent(question, ot, random)),
        }
    }

    fn looks_at_attributes(&self) -> bool {
        match self {
            Composable::AlwaysOn | Composable::AlwaysOff | Composable::Probability(_) => false,
            Composable::ParentThreshold(root) => root.looks_at_attributes(),
            Composable::Rules(rules) => rules.iter().any(|rule| {
                rule.predicate.values.is_some()
                    || rule.predicate.patterns.is_some()
                    || rule.composable.looks_at_attributes()
            }),
        }
    }
}

/// A threshold that contradicts the flag is none. Without one the flag decides, and nobody knows how many a span stands for.
fn of_parent(parent: &SpanContext, ot: Ot<'_>, random: u64) -> Intent {
    let is_sampled = parent.flags.is_sampled();
    let consistent = ot
        .threshold()
        .filter(|threshold| is_sampled == (random >= *threshold));
    match (consistent, is_sampled) {
        (Some(threshold), _) => Intent::reliable(threshold),
        (None, true) => Intent {
            threshold: Some(0),
            is_reliable: false,
        },
        (None, false) => Intent::NONE,
    }
}

impl Predicate {
    fn holds(&self, question: &Question<'_>) -> bool {
        let attribute = |key: &str| {
            let mut found = question.attributes.iter().rev();
            found.find(|(known, _)| *known == key).map(|(_, value)| value)
        };
        let parent = match (question.parent.is_valid(), question.parent.is_remote) {
            (false, _) => ParentKind::None,
            (true, true) => ParentKind::Remote,
            (true, false) => ParentKind::Local,
        };
        let has_value = |(key, texts): &(String, Vec<String>)| {
            attribute(key)
                .is_some_and(|value| any_text(value, &|text| texts.iter().any(|known| known == text)))
        };
        let fits =
            |patterns: &AttributePatterns| attribute(&patterns.key).is_some_and(|value| patterns.fit(value));
        self.values.as_ref().is_none_or(has_value)
            && self.patterns.as_ref().is_none_or(fits)
            && (self.kinds.is_empty() || self.kinds.contains(&question.kind))
            && (self.parents.is_empty() || self.parents.contains(&parent))
    }
}

impl AttributePatterns {
    fn fit(&self, value: &Value<'_>) -> bool {
        let any = |patterns: &[Pattern], text: &str| patterns.iter().any(|pattern| pattern.fits(text));
        any_text(value, &|text| {
            (self.included.is_empty() || any(&self.included, text)) && !any(&self.excluded, text)
        })
    }
}

impl fmt::Display for Composable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Composable::AlwaysOn => f.write_str("ComposableAlwaysOn"),
            Composable::AlwaysOff => f.write_str("ComposableAlwaysOff"),
            Composable::Probability(probability) => {
                write!(f, "ComposableProbability{{{}}}", probability.ratio)
            }
            Composable::ParentThreshold(root) => write!(f, "ComposableParentThreshold{{{root}}}"),
            Composable::Rules(rules) => {
                f.write_str("ComposableRuleBased{")?;
                for (at, rule) in rules.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{}", rule.composable)?;
                }
                f.write_str("}")
            }
        }
    }
}

/// What a trace state has under the key of OpenTelemetry: `key:value`, separated by semicolons.
#[derive(Clone, Copy)]
struct Ot<'s>(&'s str);

impl<'s> Ot<'s> {
    fn of(state: &'s TraceState) -> Ot<'s> {
        Ot(state.get(OT).unwrap_or_default())
    }

    fn get(self, key: &str) -> Option<&'s str> {
        let mut pairs = self.0.split(';').filter_map(|pair| pair.split_once(':'));
        pairs.find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// Of up to fourteen digits, with zeros behind them.
    fn threshold(self) -> Option<u64> {
        let digits = self.get(THRESHOLD).filter(|digits| is_hex(digits))?;
        let value = u64::from_str_radix(digits, 16).ok()?;
        Some(value << (4 * (DIGITS - digits.len())))
    }

    fn randomness(self) -> Option<u64> {
        let digits = self.get(RANDOMNESS)?;
        let is_one = is_hex(digits) && digits.len() == DIGITS;
        is_one.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
    }

    /// The state with this threshold, or with none; `None` if that is what it is.
    fn with_threshold(self, state: &TraceState, threshold: Option<u64>) -> Option<TraceState> {
        if threshold == self.threshold() && (threshold.is_some() || self.get(THRESHOLD).is_none()) {
            return None;
        }
        let own = threshold.map(|threshold| {
            let digits = format!("{threshold:014x}");
            match digits.trim_end_matches('0') {
                "" => format!("{THRESHOLD}:0"),
                digits => format!("{THRESHOLD}:{digits}"),
            }
        });
        let others = self.0.split(';').filter(|pair| {
            let key = pair.split(':').next();
            !pair.is_empty() && key != Some(THRESHOLD)
        });
        let pairs: Vec<&str> = own.as_deref().into_iter().chain(others).collect();
        match pairs.is_empty() {
            true => Some(state.without(OT)),
            // Where it has no room the trace goes on without.
            false => state.with(OT, &pairs.join(";")).ok(),
        }
    }
}

fn is_hex(digits: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (1..=DIGITS).contains(&digits.len()) && digits.bytes().all(is_digit)
}

#[cfg(test)]
mod tests;
