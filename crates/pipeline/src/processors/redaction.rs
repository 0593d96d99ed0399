//! The redaction processor: removes attributes that are not allowed and masks values that must not be seen.
//!
//! Attributes of resources, scopes, spans, their events, log records and data points, and the bodies of records. Keys that
//! are ignored are left alone; then keys that are not allowed go; then values that are allowed stay; then values of
//! blocked keys are masked as a whole, and blocked parts of other values where they stand.
//!
//! Stateless: the sender has the answer of the next sink.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/redactionprocessor>

mod masking;
mod summary;
mod url;

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use cupola_config::Secret;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::edit::{Editor, Level, Map, Message, MetricKind, Place, Value, Verdict, edit};
use cupola_telemetry::{Batch, Signal};
use parking_lot::Mutex;
use regex::Regex;
use serde::Deserialize;

pub use self::masking::HashFunction;
use self::masking::{Masking, text};
pub use self::summary::Summary;
use self::summary::{ALLOWED, Found, IGNORED, MASKED, REDACTED, SUMMARIES, is_of_summary};
pub use self::url::UrlSanitizerConfig;
use super::ConfigError;
use crate::ottl::pattern;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedactionConfig {
    pub allow_all_keys: bool,
    /// All others go, unless all keys are allowed.
    pub allowed_keys: Vec<String>,
    pub ignored_keys: Vec<String>,
    pub ignored_key_patterns: Vec<String>,
    pub blocked_key_patterns: Vec<String>,
    pub blocked_values: Vec<String>,
    /// Values that stay although they are blocked.
    pub allowed_values: Vec<String>,
    /// Looks at values that are no text as if they were.
    pub redact_all_types: bool,
    /// What stands for what is masked; four asterisks if it is not given.
    pub hash_function: Option<HashFunction>,
    /// Of the `hmac` functions.
    pub hmac_key: Option<Secret>,
    /// What stands for what is masked, in place of four asterisks.
    pub masking_string: String,
    pub url_sanitizer: UrlSanitizerConfig,
    pub summary: Summary,
}

impl RedactionConfig {
    /// Refuses patterns that are none, and keys that are missing.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Rules::new(self).map(drop)
    }
}

struct Rules {
    allow_all: bool,
    allowed: HashSet<String>,
    ignored: HashSet<String>,
    ignored_patterns: Vec<Regex>,
    blocked_keys: Vec<Regex>,
    blocked: Vec<Regex>,
    allowed_values: Vec<Regex>,
    all_types: bool,
    masking: Masking,
    url: UrlSanitizerConfig,
    summary: Summary,
}

impl Rules {
    fn new(config: &RedactionConfig) -> Result<Self, ConfigError> {
        let patterns = |key: &str, patterns: &[String]| {
            let one = |(index, pattern): (usize, &String)| {
                pattern::compile(pattern)
                    .map_err(|problem| ConfigError::setting(format!("{key}[{index}]"), problem))
            };
            patterns
                .iter()
                .enumerate()
                .map(one)
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            allow_all: config.allow_all_keys,
            allowed: config.allowed_keys.iter().cloned().collect(),
            ignored: config.ignored_keys.iter().cloned().collect(),
            ignored_patterns: patterns("ignored_key_patterns", &config.ignored_key_patterns)?,
            blocked_keys: patterns("blocked_key_patterns", &config.blocked_key_patterns)?,
            blocked: patterns("blocked_values", &config.blocked_values)?,
            allowed_values: patterns("allowed_values", &config.allowed_values)?,
            all_types: config.redact_all_types,
            masking: Masking::new(
                config.hash_function,
                config.hmac_key.as_ref(),
                &config.masking_string,
            )?,
            url: config.url_sanitizer.clone(),
            summary: config.summary,
        })
    }

    fn ignores(&self, key: &str) -> bool {
        self.ignored.contains(key) || any(&self.ignored_patterns, key)
    }

    fn redacts(&self, key: &str) -> bool {
        !self.allow_all && !self.ignores(key) && !self.allowed.contains(key)
    }

    fn attributes(&self, map: &mut Map<'_>) -> u64 {
        let mut found = Found::new(self.summary);
        let Ok(()) = map.edit_values(|key, value| {
            Ok::<_, Infallible>(if is_of_summary(key) {
                // Of an earlier redaction: added to, or taken away by one that is silent.
                if self.summary == Summary::Silent && self.redacts(key) {
                    found.note(REDACTED, key);
                }
                None
            } else if self.ignores(key) {
                found.note(IGNORED, key);
                None
            } else if self.redacts(key) {
                found.note(REDACTED, key);
                None
            } else {
                self.value(key, &value, &mut found)
            })
        });
        if found.has(REDACTED) {
            let keeps_summary = self.summary != Summary::Silent;
            map.retain(|key| !self.redacts(key) || (keeps_summary && is_of_summary(key)));
        }
        self.summary.write(map, found, &SUMMARIES[0])
    }

    /// What takes the place of an attribute's value, if anything does.
    fn value(&self, key: &str, value: &Value<'_>, found: &mut Found) -> Option<Value<'static>> {
        let seen = self.all_types || matches!(value, Value::String(_));
        let blocked_key = any(&self.blocked_keys, key);
        if !seen && !blocked_key {
            return None;
        }
        let plain = text(value);
        if seen && any(&self.allowed_values, &plain) {
            found.note(ALLOWED, key);
            return None;
        }
        let masked = match blocked_key {
            true => Some(self.masking.whole(&plain)),
            false => {
                let is_url = self.url.enabled && self.url.attributes.iter().any(|known| known == key);
                self.cleaned(&plain, is_url)
            }
        }?;
        found.note(MASKED, key);
        Some(Value::from(masked))
    }

    /// A text without what is blocked and, if it is one, without what differs from URL to URL; `None` if that is all of it.
    fn cleaned(&self, text: &str, is_url: bool) -> Option<String> {
        let masked = self.masking.parts(text, &self.blocked);
        if !is_url {
            return masked;
        }
        let url = url::sanitized(masked.as_deref().unwrap_or(text));
        (url != text).then_some(url)
    }

    /// Changes the name of a span.
    fn span_name(&self, span: &mut Message<'_>) {
        if !self.url.enabled
            || !self.url.sanitize_span_name.unwrap_or(true)
            || any(&self.allowed_values, &span.text(5))
        {
            return;
        }
        if let Some(name) = url::span_name(span) {
            span.set_text(5, name.into());
        }
    }

    /// Changes a body; the summary goes among the attributes of its record.
    fn body(&self, record: &mut Message<'_>) -> u64 {
        let Some(body) = record.value(5) else { return 0 };
        let mut found = Found::new(self.summary);
        let path = if matches!(body, Value::Map(_) | Value::Array(_)) {
            ""
        } else {
            "body"
        };
        if let Some(body) = self.within_body(path, body, &mut found) {
            record.set_value(5, body);
        }
        if found.is_empty() && self.summary == Summary::Silent {
            return 0;
        }
        let attributes = record.map_mut(6);
        if found.is_empty() && !attributes.iter().any(|(key, _)| is_of_summary(&key)) {
            return 0;
        }
        self.summary.write(attributes, found, &SUMMARIES[1])
    }

    /// What takes the place of a body, or of something in it, if anything does.
    fn within_body<'a>(&self, path: &str, value: Value<'a>, found: &mut Found) -> Option<Value<'a>> {
        let names_keys = found.names_keys();
        let below = |key: &str| match path {
            _ if !names_keys => String::new(),
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        match value {
            Value::Map(mut map) => {
                let mut changed = false;
                let Ok(()) = map.edit_values(|key, value| {
                    let path = below(key);
                    let edited = if self.ignores(key) {
                        found.note(IGNORED, &path);
                        None
                    } else if self.redacts(key) {
                        found.note(REDACTED, &path);
                        changed = true;
                        None
                    } else if any(&self.blocked_keys, key) {
                        found.note(MASKED, &path);
                        Some(Value::from(self.masking.whole(&text(&value))))
                    } else {
                        self.within_body(&path, value, found)
                    };
                    changed |= edited.is_some();
                    Ok::<_, Infallible>(edited)
                });
                map.retain(|key| !self.redacts(key));
                changed.then_some(Value::Map(map))
            }
            Value::Array(mut array) => {
                let mut changed = false;
                for index in 0..array.len() {
                    let Some(element) = array.get(index) else { continue };
                    if let Some(element) = self.within_body(&below(&format!("[{index}]")), element, found) {
                        changed |= array.set(index, element);
                    }
                }
                changed.then_some(Value::Array(array))
            }
            value => {
                let plain = text(&value);
                if any(&self.allowed_values, &plain) {
                    found.note(ALLOWED, path);
                    return None;
                }
                let masked = self.cleaned(&plain, self.url.enabled)?;
                found.note(MASKED, path);
                Some(Value::from(masked))
            }
        }
    }
}

fn any(patterns: &[Regex], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.is_match(text))
}

struct Work<'r> {
    rules: &'r Rules,
    signal: Signal,
    done: u64,
}

impl<'a> Editor<'a> for Work<'_> {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        match self.signal {
            Signal::Logs => Level::Item,
            Signal::Traces | Signal::Metrics => Level::Part,
        }
    }

    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Infallible> {
        let rules = self.rules;
        self.done += match (level, self.signal) {
            (Level::Resource, _) => within(&mut place.resource, 1, rules),
            (Level::Scope, _) => within(&mut place.scope, 3, rules),
            (Level::Item, Signal::Logs) => {
                rules.attributes(place.item.map_mut(6)) + rules.body(&mut place.item)
            }
            (Level::Item, Signal::Traces) => {
                let done = rules.attributes(place.item.map_mut(9));
                rules.span_name(&mut place.item);
                done
            }
            (Level::Part, Signal::Traces) => rules.attributes(place.part.map_mut(3)),
            (Level::Part, _) => rules.attributes(place.part.map_mut(match place.metric_kind() {
                Some(MetricKind::Histogram) => 9,
                Some(MetricKind::ExponentialHistogram) => 1,
                _ => 7,
            })),
            (Level::Item, Signal::Metrics) => 0,
        };
        Ok(Verdict::Keep)
    }
}

/// Works on the attributes of a resource or scope, if there are any.
fn within(envelope: &mut Message<'_>, number: u32, rules: &Rules) -> u64 {
    match envelope.with_message(1, |head| head.map(number).is_empty()) {
        true => 0,
        false => rules.attributes(envelope.message_mut(1).map_mut(number)),
    }
}

/// Redaction in front of a sink.
pub struct Redaction {
    rules: Rules,
    next: Arc<dyn Sink>,
    done: Mutex<u64>,
}

impl Redaction {
    pub fn new(config: &RedactionConfig, next: Arc<dyn Sink>) -> Result<Self, ConfigError> {
        Ok(Self {
            rules: Rules::new(config)?,
            next,
            done: Mutex::new(0),
        })
    }

    /// The batch without what must not be seen; it loses no item.
    pub fn process(&self, batch: Batch) -> Batch {
        let mut work = Work {
            rules: &self.rules,
            signal: batch.signal(),
            done: 0,
        };
        let Ok(edited) = edit(&batch, &mut work);
        *self.done.lock() += work.done;
        // Nothing is dropped, so that something is always left.
        edited.unwrap_or(batch)
    }
}

#[async_trait]
impl Sink for Redaction {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.next.send(self.process(batch)).await
    }
}

#[async_trait]
impl Component for Redaction {
    fn collect(&self, samples: &mut Vec<Sample>) {
        samples.push(Sample::count(
            "otelcol_processor_redaction_values",
            "Values that were masked or removed.",
            *self.done.lock(),
        ));
    }
}
