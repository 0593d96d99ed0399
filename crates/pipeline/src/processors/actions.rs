//! Actions on attributes, as the attributes and the resource processor have them.

use std::borrow::Cow;

use cupola_telemetry::Batch;
use cupola_telemetry::edit::{Array, Map, Value};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::origin::OriginKey;
use super::statements::ConfigError;

/// One action, as it is configured.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionConfig {
    pub action: ActionKind,
    #[serde(default)]
    pub key: String,
    /// What is set; or [`from_attribute`](Self::from_attribute), or [`from_context`](Self::from_context).
    pub value: Option<Json>,
    /// The attribute whose value is set.
    pub from_attribute: Option<String>,
    /// `metadata.NAME`, a header of who sent it; `auth.NAME`, what the authenticator says; `client.address`.
    pub from_context: Option<String>,
    /// Of `extract`: named groups become attributes. Of `delete` and `hash`: further keys.
    pub pattern: Option<String>,
    pub converted_type: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// Sets what is not there.
    Insert,
    /// Sets what is there.
    Update,
    Upsert,
    Delete,
    /// Replaces a value by its SHA-256 in hex.
    Hash,
    Extract,
    Convert,
}

#[derive(Debug)]
enum Source {
    Value(Json),
    Attribute(String),
    Context(OriginKey),
}

#[derive(Clone, Copy, Debug)]
enum Converted {
    Int,
    Double,
    String,
}

#[derive(Debug)]
enum Action {
    Set {
        key: String,
        source: Source,
        insert: bool,
        update: bool,
    },
    /// Upserts an attribute from another and deletes that one.
    Move {
        from: String,
        to: String,
    },
    Delete {
        key: String,
        pattern: Option<Regex>,
    },
    Hash {
        key: String,
        pattern: Option<Regex>,
    },
    Extract {
        key: String,
        pattern: Regex,
    },
    Convert {
        key: String,
        to: Converted,
    },
}

/// Actions in their order.
#[derive(Debug)]
pub(super) struct Actions(Vec<Action>);

impl Actions {
    /// `key` is where they stand in configuration.
    pub(super) fn new(configs: &[ActionConfig], key: &str) -> Result<Self, ConfigError> {
        if configs.is_empty() {
            return Err(ConfigError::setting(key, "there is no action"));
        }
        let mut actions: Vec<Action> = Vec::with_capacity(configs.len());
        for (index, config) in configs.iter().enumerate() {
            let action = Action::new(config, &format!("{key}[{index}]"))?;
            match actions
                .last_mut()
                .and_then(|last| Some((last.moving(&action)?, last)))
            {
                Some((moving, last)) => *last = moving,
                None => actions.push(action),
            }
        }
        Ok(Self(actions))
    }

    /// On attributes of a batch.
    pub(super) fn run<'a>(&'a self, map: &mut Map<'a>, batch: &Batch) {
        self.0.iter().for_each(|action| action.run(map, batch));
    }
}

impl Action {
    fn new(config: &ActionConfig, at: &str) -> Result<Self, ConfigError> {
        let refuse = |field: &str, problem: &str| Err(ConfigError::setting(format!("{at}.{field}"), problem));
        let pattern = match &config.pattern {
            None => None,
            Some(pattern) => match Regex::new(pattern) {
                Ok(pattern) => Some(pattern),
                Err(error) => return refuse("pattern", &error.to_string()),
            },
        };
        let by_pattern = matches!(config.action, ActionKind::Delete | ActionKind::Hash) && pattern.is_some();
        if config.key.is_empty() && !by_pattern {
            return refuse("key", "it is missing");
        }
        let key = config.key.clone();
        let sets = matches!(
            config.action,
            ActionKind::Insert | ActionKind::Update | ActionKind::Upsert
        );
        if !sets
            && (config.value.is_some() || config.from_attribute.is_some() || config.from_context.is_some())
        {
            return refuse("value", "the action sets no value");
        }
        if config.converted_type.is_some() && config.action != ActionKind::Convert {
            return refuse("converted_type", "the action converts nothing");
        }
        Ok(match config.action {
            ActionKind::Insert | ActionKind::Update | ActionKind::Upsert => {
                if pattern.is_some() {
                    return refuse("pattern", "the action has no pattern");
                }
                let source = match (&config.value, &config.from_attribute, &config.from_context) {
                    (Some(value), None, None) if !value.is_null() => Source::Value(value.clone()),
                    (None, Some(name), None) => Source::Attribute(name.clone()),
                    (None, None, Some(key)) => Source::Context(OriginKey::parse(key)),
                    _ => {
                        let problem = "exactly one of value, from_attribute and from_context is needed";
                        return refuse("value", problem);
                    }
                };
                Action::Set {
                    key,
                    source,
                    insert: config.action != ActionKind::Update,
                    update: config.action != ActionKind::Insert,
                }
            }
            ActionKind::Delete => Action::Delete { key, pattern },
            ActionKind::Hash => Action::Hash { key, pattern },
            ActionKind::Extract => match pattern {
                Some(pattern)
                    if pattern.capture_names().skip(1).all(|name| name.is_some())
                        && pattern.captures_len() > 1 =>
                {
                    Action::Extract { key, pattern }
                }
                Some(_) => return refuse("pattern", "all groups need a name, and there must be one"),
                None => return refuse("pattern", "it is missing"),
            },
            ActionKind::Convert => Action::Convert {
                key,
                to: match config.converted_type.as_deref() {
                    Some("int") => Converted::Int,
                    Some("double") => Converted::Double,
                    Some("string") => Converted::String,
                    _ => return refuse("converted_type", "there are int, double and string"),
                },
            },
        })
    }

    /// What this one and `next` come to, if that is to give an attribute another name.
    fn moving(&self, next: &Action) -> Option<Action> {
        match (self, next) {
            (
                Action::Set {
                    key: to,
                    source: Source::Attribute(from),
                    insert: true,
                    update: true,
                },
                Action::Delete { key, pattern: None },
            ) if key == from => Some(Action::Move {
                from: from.clone(),
                to: to.clone(),
            }),
            _ => None,
        }
    }

    fn run<'a>(&'a self, map: &mut Map<'a>, batch: &Batch) {
        match self {
            Action::Move { from, to } => map.move_value(from, Cow::Borrowed(to)),
            Action::Set {
                key,
                source,
                insert,
                update,
            } => {
                let there = map.contains_key(key);
                if !(if there { *update } else { *insert }) {
                    return;
                }
                let value = match source {
                    Source::Value(value) => Some(telemetry(value)),
                    Source::Attribute(name) => map.get(name),
                    Source::Context(key) => key.value(batch).map(Value::from),
                };
                if let Some(value) = value {
                    map.set(Cow::Borrowed(key), value);
                }
            }
            Action::Delete { key, pattern: None } => {
                map.remove(key);
            }
            Action::Delete {
                key,
                pattern: Some(pattern),
            } => {
                map.retain(|name| name != key && !pattern.is_match(name));
            }
            Action::Hash { key, pattern } => {
                let chosen = |name: &str| name == key || pattern.as_ref().is_some_and(|p| p.is_match(name));
                let Ok(()) = map.edit_values(|name, value| {
                    Ok::<_, std::convert::Infallible>(chosen(name).then(|| hash(&value)))
                });
            }
            Action::Extract { key, pattern } => {
                let Some(Value::String(text)) = map.get(key) else {
                    return;
                };
                let Some(captures) = pattern.captures(&text) else {
                    return;
                };
                for name in pattern.capture_names().flatten() {
                    let found = captures.name(name).map_or("", |found| found.as_str());
                    map.set(Cow::Borrowed(name), Value::from(found.to_owned()));
                }
            }
            Action::Convert { key, to } => {
                if let Some(value) = map.get(key).and_then(|value| convert(&value, *to)) {
                    map.set(Cow::Borrowed(key), value);
                }
            }
        }
    }
}

/// A value of configuration as telemetry.
pub(super) fn telemetry(value: &Json) -> Value<'_> {
    match value {
        Json::Null => Value::Empty,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::Array(items.iter().map(telemetry).collect::<Array<'_>>()),
        Json::Object(pairs) => {
            let pairs = pairs
                .iter()
                .map(|(key, value)| (Cow::Borrowed(key.as_str()), telemetry(value)));
            Value::Map(pairs.collect())
        }
    }
}

/// The hash of a value as the Collector has it: of a text's bytes, of eight bytes of a number, of one of a bool.
fn hash(value: &Value<'_>) -> Value<'static> {
    let digest = match value {
        Value::String(text) => Sha256::digest(text.as_bytes()),
        Value::Bool(value) => Sha256::digest([u8::from(*value)]),
        Value::Int(value) => Sha256::digest(value.to_le_bytes()),
        Value::Double(value) => Sha256::digest(value.to_bits().to_le_bytes()),
        Value::Empty => return Value::Empty,
        other => Sha256::digest(other.encode()),
    };
    Value::from(hex::encode(digest))
}

/// The converted value; `None` where there is none.
fn convert(value: &Value<'_>, to: Converted) -> Option<Value<'static>> {
    Some(match (to, value) {
        (Converted::Int, Value::Double(value)) => Value::Int(*value as i64),
        (Converted::Int, Value::Bool(value)) => Value::Int(i64::from(*value)),
        (Converted::Int, Value::String(text)) => Value::Int(text.parse().ok()?),
        (Converted::Double, Value::Int(value)) => Value::Double(*value as f64),
        (Converted::Double, Value::Bool(value)) => Value::Double(f64::from(u8::from(*value))),
        (Converted::Double, Value::String(text)) => Value::Double(text.parse().ok()?),
        (Converted::String, Value::Int(value)) => Value::from(value.to_string()),
        (Converted::String, Value::Double(value)) => Value::from(value.to_string()),
        (Converted::String, Value::Bool(value)) => Value::from(value.to_string()),
        _ => return None,
    })
}
