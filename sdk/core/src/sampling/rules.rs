//! A sampler that asks others, by rules: which spans, and which sampler for them.

use std::fmt::Write;
use std::sync::Arc;

use super::condition::{Condition, all_hold, ask_for_attributes};
use super::{Answer, Question, Sampler};

/// Spans of which all conditions are so are for this sampler: [`AlwaysOff`](super::AlwaysOff) drops them,
/// [`AlwaysOn`](super::AlwaysOn) keeps them.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Without any it fits every span.
    pub conditions: Vec<Condition>,
    pub sampler: Arc<dyn Sampler>,
}

/// Asks the sampler of the first rule that fits.
///
/// It looks at each span by itself. As the root of [`ParentBased`](super::ParentBased) it decides for whole traces, by where they
/// begin.
#[derive(Clone, Debug)]
pub struct RuleBased {
    rules: Vec<Rule>,
    /// Asked where no rule fits.
    otherwise: Arc<dyn Sampler>,
    looks_at_attributes: bool,
}

impl RuleBased {
    pub fn new(rules: Vec<Rule>, otherwise: Arc<dyn Sampler>) -> RuleBased {
        let looks = |rule: &Rule| ask_for_attributes(&rule.conditions) || rule.sampler.looks_at_attributes();
        RuleBased {
            looks_at_attributes: otherwise.looks_at_attributes() || rules.iter().any(looks),
            rules,
            otherwise,
        }
    }
}

impl Sampler for RuleBased {
    fn sample(&self, question: &Question<'_>) -> Answer {
        let rule = self
            .rules
            .iter()
            .find(|rule| all_hold(&rule.conditions, question));
        let sampler = rule.map_or(&self.otherwise, |rule| &rule.sampler);
        sampler.sample(question)
    }

    fn looks_at_attributes(&self) -> bool {
        self.looks_at_attributes
    }

    fn description(&self) -> String {
        let mut text = "RuleBased{".to_owned();
        for rule in &self.rules {
            for (at, condition) in rule.conditions.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "&" });
                describe(condition, &mut text);
            }
            text.push_str(if rule.conditions.is_empty() { "*:" } else { ":" });
            text.push_str(&rule.sampler.description());
            text.push(',');
        }
        text.push_str("otherwise:");
        text.push_str(&self.otherwise.description());
        text.push('}');
        text
    }
}

fn describe(condition: &Condition, text: &mut String) {
    let (what, pattern) = match condition {
        Condition::Name(pattern) => ("name", pattern),
        Condition::Kind(kind) => {
            // Writing into a text does not fail.
            let _ = write!(text, "kind={}", kind.name());
            return;
        }
        Condition::Scope(pattern) => ("scope", pattern),
        Condition::Route(pattern) => ("route", pattern),
        Condition::Tenant(pattern) => ("tenant", pattern),
        Condition::Attribute { key, value } => (key.as_str(), value),
    };
    let _ = write!(text, "{what}={}", pattern.as_str());
}
