//! `traces`: which spans are recorded, which of their traces are exported, and what is told about them while they run. Refuses
//! what no sampler can be made of, with its line.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_config::Node;
use cupola_config::units::{ByteSize, TimeSpan};
use serde::Deserialize;

use super::sections::Queue;
use crate::configuration::samplers::SpanKindModel;
use crate::configuration::text::File;
use crate::pending::PendingSettings;
use crate::sampling::{
    Condition, ForceSettings, ParentBasedSettings, Pattern, RuleSettings, SamplerSettings, TraceIdRatio,
};
use crate::settings::Settings;
use crate::tail::TailSettings;

/// `traces`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Traces {
    sampler: Option<SamplerName>,
    /// The share of traces that are recorded, from 0 to 1.
    ratio: Option<f64>,
    /// Traces, of samplers that keep so many.
    per_second: Option<f64>,
    /// Asked before the sampler, where there is no parent: the first that fits decides.
    rules: Option<Vec<Rule>>,
    force: Option<Force>,
    tail: Option<Tail>,
    pending: Option<Pending>,
    delay: Option<TimeSpan>,
    queue_size: Option<ByteSize>,
    batch_items_max: Option<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SamplerName {
    AlwaysOn,
    AlwaysOff,
    #[serde(rename = "traceidratio")]
    Ratio,
    #[serde(rename = "ratelimited")]
    Rate,
    #[serde(rename = "parentbased_always_on")]
    ParentOn,
    #[serde(rename = "parentbased_always_off")]
    ParentOff,
    #[serde(rename = "parentbased_traceidratio")]
    ParentRatio,
    #[serde(rename = "parentbased_ratelimited")]
    ParentRate,
}

/// Which spans, and what becomes of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rule {
    when: Option<When>,
    sampler: Option<SamplerName>,
    ratio: Option<f64>,
    per_second: Option<f64>,
}

/// What is so of a span, all of it. `*` in a text stands for any characters, `?` for one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct When {
    name: Option<String>,
    kind: Option<SpanKindModel>,
    scope: Option<String>,
    route: Option<String>,
    tenant: Option<String>,
    attributes: Option<BTreeMap<String, String>>,
}

/// How a request may ask for its whole trace: by the names that are given, or the usual ones where it is enabled without any.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Force {
    enabled: Option<bool>,
    query: Option<String>,
    header: Option<String>,
    /// Whether it counts that callers say it is forced.
    from_callers: Option<bool>,
}

/// Which traces are exported, decided when they have ended.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tail {
    enabled: Option<bool>,
    ratio: Option<f64>,
    errors: Option<bool>,
    slow: Option<TimeSpan>,
    slow_names: Option<Vec<SlowName>>,
    rules: Option<Vec<When>>,
    linger: Option<TimeSpan>,
    wait_max: Option<TimeSpan>,
    size: Option<ByteSize>,
    traces_max: Option<usize>,
    decisions_max: Option<usize>,
}

/// Another time for traces that begin with spans of these names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlowName {
    name: String,
    slow: TimeSpan,
}

/// Spans that are told about while they run.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pending {
    enabled: Option<bool>,
    after: Option<TimeSpan>,
    every: Option<TimeSpan>,
    spans_max: Option<usize>,
    attribute_size: Option<ByteSize>,
}

impl Traces {
    pub(super) fn apply(&self, file: &mut File<'_>, root: &Node, settings: &mut Settings) {
        let node = root.get("traces").unwrap_or(root);
        let choice = Choice {
            sampler: self.sampler,
            ratio: self.ratio,
            per_second: self.per_second,
            is_below_parents: true,
        };
        let chosen = choice.settings(file, node, "traces");
        let rules = self.rules.as_deref().unwrap_or_default();
        let nodes = items(node, "rules");
        let rules = rules.iter().zip(nodes).enumerate();
        let rules: Vec<RuleSettings> = rules
            .filter_map(|(index, (rule, node))| rule.settings(file, node, &format!("traces.rules[{index}]")))
            .collect();
        if chosen.is_some() || !rules.is_empty() {
            let sampler = with_rules(chosen.unwrap_or_default(), rules);
            match sampler.build() {
                Ok(sampler) => settings.traces.sampler = sampler,
                Err(error) => file.error(node.place(), "traces.sampler", error.to_string(), None),
            }
        }
        if let Some(force) = &self.force {
            settings.traces.force = force.settings();
        }
        if let Some(tail) = &self.tail {
            settings.traces.tail = tail.settings(file, node.get("tail").unwrap_or(node));
        }
        if let Some(pending) = &self.pending {
            settings.traces.pending = pending.settings(file, node.get("pending").unwrap_or(node));
        }
        let queue = Queue {
            delay: self.delay,
            queue_size: self.queue_size,
            batch_items_max: self.batch_items_max,
        };
        queue.apply(&mut settings.traces.queue);
    }
}

/// Rules decide for whole traces where the sampler does, and for each span where it looks at each.
fn with_rules(sampler: SamplerSettings, rules: Vec<RuleSettings>) -> SamplerSettings {
    if rules.is_empty() {
        return sampler;
    }
    let before = |otherwise| SamplerSettings::Rules {
        rules,
        otherwise: Box::new(otherwise),
    };
    match sampler {
        SamplerSettings::ParentBased(settings) => {
            let ParentBasedSettings { root, .. } = settings.as_ref();
            SamplerSettings::ParentBased(Box::new(ParentBasedSettings {
                root: before(root.clone()),
                ..*settings
            }))
        }
        sampler => before(sampler),
    }
}

/// What is said of a sampler in one place.
struct Choice {
    sampler: Option<SamplerName>,
    ratio: Option<f64>,
    per_second: Option<f64>,
    /// Where a number alone says which.
    is_below_parents: bool,
}

impl Choice {
    /// The sampler; `None` if nothing is said of one, and, told, where it cannot be.
    fn settings(&self, file: &mut File<'_>, node: &Node, key: &str) -> Option<SamplerSettings> {
        let at = |key: &str| node.get(key).unwrap_or(node).place();
        let ratio_is_none = self.ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio));
        if let Some(ratio) = self.ratio.filter(|_| ratio_is_none) {
            let message = format!("`{ratio}` is not a share from 0 to 1");
            file.error(
                at("ratio"),
                &format!("{key}.ratio"),
                message,
                Some("write for example 0.1"),
            );
        }
        let is_rate = |rate: f64| rate.is_finite() && rate > 0.0;
        let rate_is_none = self.per_second.is_some_and(|rate| !is_rate(rate));
        if rate_is_none {
            let hint = "write for example 10, or 0.1 for one in ten seconds";
            file.error(
                at("per_second"),
                &format!("{key}.per_second"),
                "must be more than 0",
                Some(hint),
            );
        }
        if ratio_is_none || rate_is_none {
            return None;
        }
        let name = match (self.sampler, self.ratio, self.per_second) {
            (Some(name), ..) => name,
            (None, Some(_), _) if self.is_below_parents => SamplerName::ParentRatio,
            (None, Some(_), _) => SamplerName::Ratio,
            (None, None, Some(_)) if self.is_below_parents => SamplerName::ParentRate,
            (None, None, Some(_)) => SamplerName::Rate,
            (None, None, None) => return None,
        };
        for (number, is_given, is_taken, instead) in [
            ("ratio", self.ratio.is_some(), name.takes_ratio(), "traceidratio"),
            (
                "per_second",
                self.per_second.is_some(),
                name.takes_rate(),
                "ratelimited",
            ),
        ] {
            if is_given && !is_taken {
                let message = format!("has no effect with the sampler {}", name.as_str());
                let hint = match self.is_below_parents {
                    true => format!("use parentbased_{instead}"),
                    false => format!("use {instead}"),
                };
                file.warn(at(number), &format!("{key}.{number}"), message, Some(&hint));
            }
        }
        let number = match name.takes_ratio() {
            true => self.ratio,
            false => self.per_second,
        };
        Some(name.settings(number))
    }
}

impl SamplerName {
    fn as_str(self) -> &'static str {
        match self {
            SamplerName::AlwaysOn => "always_on",
            SamplerName::AlwaysOff => "always_off",
            SamplerName::Ratio => "traceidratio",
            SamplerName::Rate => "ratelimited",
            SamplerName::ParentOn => "parentbased_always_on",
            SamplerName::ParentOff => "parentbased_always_off",
            SamplerName::ParentRatio => "parentbased_traceidratio",
            SamplerName::ParentRate => "parentbased_ratelimited",
        }
    }

    fn takes_ratio(self) -> bool {
        matches!(self, SamplerName::Ratio | SamplerName::ParentRatio)
    }

    fn takes_rate(self) -> bool {
        matches!(self, SamplerName::Rate | SamplerName::ParentRate)
    }

    /// With a number that it can have, or its usual one.
    fn settings(self, number: Option<f64>) -> SamplerSettings {
        let argument = number.map(|number| number.to_string());
        SamplerSettings::of_names(self.as_str(), argument.as_deref()).0
    }
}

impl Rule {
    fn settings(&self, file: &mut File<'_>, node: &Node, key: &str) -> Option<RuleSettings> {
        let choice = Choice {
            sampler: self.sampler,
            ratio: self.ratio,
            per_second: self.per_second,
            is_below_parents: false,
        };
        let errors = file.problems.errors();
        let sampler = choice.settings(file, node, key);
        if sampler.is_none() && file.problems.errors() == errors {
            let hint = "add `sampler: always_off`, `sampler: always_on`, `ratio` or `per_second`";
            file.error(
                node.place(),
                key,
                "does not say what becomes of spans",
                Some(hint),
            );
        }
        Some(RuleSettings {
            conditions: self.when.as_ref().map(When::conditions).unwrap_or_default(),
            sampler: sampler?,
        })
    }
}

impl When {
    fn conditions(&self) -> Vec<Condition> {
        let texts = [
            self.name.as_ref().map(|text| Condition::Name(Pattern::new(text))),
            self.kind.map(|kind| Condition::Kind(kind.into())),
            self.scope
                .as_ref()
                .map(|text| Condition::Scope(Pattern::new(text))),
            self.route
                .as_ref()
                .map(|text| Condition::Route(Pattern::new(text))),
            self.tenant
                .as_ref()
                .map(|text| Condition::Tenant(Pattern::new(text))),
        ];
        let attributes = self.attributes.iter().flatten();
        let attributes = attributes.map(|(key, value)| Condition::Attribute {
            key: key.clone(),
            value: Pattern::new(value),
        });
        texts.into_iter().flatten().chain(attributes).collect()
    }
}

impl Force {
    fn settings(&self) -> ForceSettings {
        let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        let (query, header) = (given(&self.query), given(&self.header));
        let is_named = query.is_some() || header.is_some();
        let force = match self.enabled.unwrap_or(is_named) {
            false => ForceSettings::default(),
            true if !is_named => ForceSettings::usual(),
            true => ForceSettings {
                query,
                header,
                ..ForceSettings::default()
            },
        };
        ForceSettings {
            from_callers: self.from_callers.unwrap_or(force.from_callers),
            ..force
        }
    }
}

impl Tail {
    fn settings(&self, file: &mut File<'_>, node: &Node) -> Option<TailSettings> {
        let mut tail = TailSettings::default();
        if let Some(ratio) = self.ratio {
            match TraceIdRatio::new(ratio) {
                Some(ratio) => tail.ratio = ratio,
                None => {
                    let at = node.get("ratio").unwrap_or(node).place();
                    let message = format!("`{ratio}` is not a share from 0 to 1");
                    file.error(at, "traces.tail.ratio", message, Some("write for example 0.1"));
                }
            }
        }
        tail.errors = self.errors.unwrap_or(tail.errors);
        // No time is no reason to keep a trace.
        tail.slow = match self.slow {
            Some(TimeSpan(slow)) => (!slow.is_zero()).then_some(slow),
            None => tail.slow,
        };
        let slow_names = self.slow_names.iter().flatten();
        tail.slow_names = slow_names
            .map(|slow| (Pattern::new(&slow.name), slow.slow.0))
            .collect();
        let rules = self.rules.as_deref().unwrap_or_default();
        for (index, (rule, node)) in rules.iter().zip(items(node, "rules")).enumerate() {
            let conditions = rule.conditions();
            if conditions.is_empty() {
                let key = format!("traces.tail.rules[{index}]");
                let hint = "add `name`, `kind`, `scope`, `route`, `tenant` or `attributes`";
                file.error(node.place(), &key, "keeps every trace", Some(hint));
            }
            tail.rules.push(conditions);
        }
        tail.linger = span(self.linger, tail.linger);
        tail.wait_max = positive(
            file,
            node,
            "traces.tail",
            "wait_max",
            self.wait_max,
            tail.wait_max,
        );
        tail.bytes_max = bytes(self.size, tail.bytes_max);
        tail.traces_max = self.traces_max.unwrap_or(tail.traces_max).max(1);
        tail.decisions_max = self.decisions_max.unwrap_or(tail.decisions_max).max(1);
        self.enabled.unwrap_or(true).then_some(tail)
    }
}

impl Pending {
    fn settings(&self, file: &mut File<'_>, node: &Node) -> Option<PendingSettings> {
        let usual = PendingSettings::default();
        let pending = PendingSettings {
            after: span(self.after, usual.after),
            every: positive(file, node, "traces.pending", "every", self.every, usual.every),
            spans_max: self.spans_max.unwrap_or(usual.spans_max),
            attribute_bytes_max: bytes(self.attribute_size, usual.attribute_bytes_max),
        };
        self.enabled.unwrap_or(true).then_some(pending)
    }
}

fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    node.get(key).map(Node::items).unwrap_or_default()
}

fn span(given: Option<TimeSpan>, usual: Duration) -> Duration {
    given.map_or(usual, |span| span.0)
}

fn bytes(given: Option<ByteSize>, usual: usize) -> usize {
    given.map_or(usual, |size| usize::try_from(size.0).unwrap_or(usize::MAX))
}

/// A time that may not be none, which would be done over and over.
fn positive(
    file: &mut File<'_>,
    node: &Node,
    section: &str,
    key: &str,
    given: Option<TimeSpan>,
    usual: Duration,
) -> Duration {
    let span = span(given, usual);
    if span.is_zero() {
        let at = node.get(key).unwrap_or(node).place();
        file.error(at, &format!("{section}.{key}"), "must be longer than 0s", None);
    }
    span
}
