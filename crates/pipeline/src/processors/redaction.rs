//! The redaction processor: removes attributes that are not allowed and masks values that must not be seen.
//!
//! Attributes of resources, scopes, spans, their events, log records and data points, and the bodies of records. Keys that
//! are ignored are left alone; then keys that are not allowed go; then values that are allowed stay; then values of
//! blocked keys are masked as a whole, and blocked parts of other values where they stand.
//!
//! Stateless: the sender has the answer of the next sink.
//! <https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/redactionprocessor>

mod masking;

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
use super::ConfigError;

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
    pub summary: Summary,
}

/// Attributes that say what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Summary {
    /// Which keys, and how many.
    Debug,
    /// How many.
    Info,
    #[default]
    #[serde(alias = "")]
    Silent,
}

impl RedactionConfig {
    /// Refuses patterns that are none, and keys that are missing.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Rules::new(self).map(drop)
    }
}

/// Names of the attributes that say what was done: the keys, and their number.
struct SummaryNames {
    keys: &'static str,
    count: &'static str,
}

macro_rules! summary_names {
    ($what:literal) => {
        SummaryNames {
            keys: concat!("redaction.", $what, ".keys"),
            count: concat!("redaction.", $what, ".count"),
        }
    };
}

/// Of attributes, then of bodies: redacted, masked, allowed, ignored.
const SUMMARIES: [[SummaryNames; 4]; 2] = [
    [
        summary_names!("redacted"),
        summary_names!("masked"),
        summary_names!("allowed"),
        summary_names!("ignored"),
    ],
    [
        summary_names!("body.redacted"),
        summary_names!("body.masked"),
        summary_names!("body.allowed"),
        summary_names!("body.ignored"),
    ],
];
const REDACTED: usize = 0;
const MASKED: usize = 1;
const ALLOWED: usize = 2;
const IGNORED: usize = 3;

/// Keys by what was done with them.
#[derive(Default)]
struct Found([Vec<String>; 4]);

impl Found {
    fn note(&mut self, what: usize, key: String) {
        self.0[what].push(key);
    }

    fn has(&self, what: usize) -> bool {
        !self.0[what].is_empty()
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
    summary: Summary,
}

impl Rules {
    fn new(config: &RedactionConfig) -> Result<Self, ConfigError> {
        let patterns = |key: &str, patterns: &[String]| {
            let one = |(index, pattern): (usize, &String)| {
                Regex::new(pattern)
                    .map_err(|error| ConfigError::setting(format!("{key}[{index}]"), error.to_string()))
            };
            patterns
                .iter()
                .enumerate()
                .map(one)
                .collect::<Result<Vec<_>, _>>()
        };
        let names = SUMMARIES
            .iter()
            .flatten()
            .flat_map(|names| [names.keys, names.count]);
        let allowed = config.allowed_keys.iter().cloned();
        Ok(Self {
            allow_all: config.allow_all_keys,
            // What says what an earlier redaction did stays.
            allowed: allowed.chain(names.map(str::to_owned)).collect(),
            ignored: config.ignored_keys.iter().cloned().collect(),
            ignored_patterns: patterns("ignored_key_patterns", &config.ignored_key_patterns)?,
            blocked_keys: patterns("blocked_key_patterns", &config.blocked_key_patterns)?,
            blocked: patterns("blocked_values", &config.blocked_values)?,
            allowed_values: patterns("allowed_values", &config.allowed_values)?,
            all_types: config.redact_all_types,
            masking: Masking::new(config.hash_function, config.hmac_key.as_ref())?,
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
        let mut found = Found::default();
        let Ok(()) = map.edit_values(|key, value| {
            Ok::<_, Infallible>(if self.ignores(key) {
                found.note(IGNORED, key.to_owned());
                None
            } else if self.redacts(key) {
                found.note(REDACTED, key.to_owned());
                None
            } else {
                self.value(key, &value, &mut found)
            })
        });
        if found.has(REDACTED) {
            map.retain(|key| !self.redacts(key));
        }
        self.summarise(map, found, &SUMMARIES[0])
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
            found.note(ALLOWED, key.to_owned());
            return None;
        }
        let masked = match blocked_key {
            true => self.masking.whole(&plain),
            false => self.masking.parts(&plain, &self.blocked)?,
        };
        found.note(MASKED, key.to_owned());
        Some(Value::from(masked))
    }

    /// Changes a body; the summary goes among the attributes of its record.
    fn body(&self, record: &mut Message<'_>) -> u64 {
        let Some(body) = record.value(5) else { return 0 };
        let mut found = Found::default();
        let path = if matches!(body, Value::Map(_) | Value::Array(_)) {
            ""
        } else {
            "body"
        };
        if let Some(body) = self.within_body(path, body, &mut found) {
            record.set_value(5, body);
        }
        if found.0.iter().all(Vec::is_empty) {
            return 0;
        }
        self.summarise(record.map_mut(6), found, &SUMMARIES[1])
    }

    /// What takes the place of a body, or of something in it, if anything does.
    fn within_body<'a>(&self, path: &str, value: Value<'a>, found: &mut Found) -> Option<Value<'a>> {
        let below = |key: &str| {
            if path.is_empty() {
                key.to_owned()
            } else {
                format!("{path}.{key}")
            }
        };
        match value {
            Value::Map(mut map) => {
                let mut changed = false;
                let Ok(()) = map.edit_values(|key, value| {
                    let path = below(key);
                    let edited = if self.ignores(key) {
                        found.note(IGNORED, path);
                        None
                    } else if self.redacts(key) {
                        found.note(REDACTED, path);
                        changed = true;
                        None
                    } else if any(&self.blocked_keys, key) {
                        found.note(MASKED, path);
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
                    // As in the Collector, a body that is no structure says nothing of that.
                    if path != "body" {
                        found.note(ALLOWED, path.to_owned());
                    }
                    return None;
                }
                let masked = self.masking.parts(&plain, &self.blocked)?;
                found.note(MASKED, path.to_owned());
                Some(Value::from(masked))
            }
        }
    }

    /// Says among the attributes what was done; how many values were masked or removed.
    fn summarise(&self, map: &mut Map<'_>, found: Found, names: &[SummaryNames; 4]) -> u64 {
        let done = (found.0[REDACTED].len() + found.0[MASKED].len()) as u64;
        if self.summary == Summary::Silent {
            return done;
        }
        for (what, (mut keys, names)) in found.0.into_iter().zip(names).enumerate() {
            let mut count = keys.len() as i64;
            if count == 0 {
                continue;
            }
            if self.summary == Summary::Debug && what != IGNORED {
                if let Some(Value::String(before)) = map.get(names.keys) {
                    keys.extend(before.split(',').filter(|key| !key.is_empty()).map(str::to_owned));
                }
                keys.sort();
                map.set(names.keys.into(), Value::from(keys.join(",")));
            }
            if let Some(Value::Int(before)) = map.get(names.count) {
                count = count.saturating_add(before);
            }
            map.set(names.count.into(), Value::Int(count));
        }
        done
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
            (Level::Item, Signal::Traces) => rules.attributes(place.item.map_mut(9)),
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
